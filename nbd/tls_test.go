package nbd

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
)

// tlsOptions returns the settings of a server with a certificate, and a
// client's that trusts it.
func tlsOptions(t testing.TB, mode TLSMode) (TLSOptions, *tls.Config) {
	ca := nbdtest.NewAuthority(t, "authority")
	server := &tls.Config{
		Certificates: []tls.Certificate{ca.Issue("server", nil).TLS()}, DynamicRecordSizingDisabled: true,
		SessionTicketsDisabled: true,
	}
	return TLSOptions{Mode: mode, Config: server}, &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
}

// startSecurable is startNegotiation on a connection that TLS can be put on.
func startSecurable(t *testing.T, opt TLSOptions) *haggle {
	t.Helper()
	client, server := nbdtest.Socketpair(t)
	h := &haggle{Conn: client, t: t, done: make(chan outcome, 1)}
	go func() {
		got, err := negotiate(newLink(server, &opt), twoExports(), Limits{})
		if err != nil {
			server.Close()
		}
		h.done <- outcome{got, err}
	}()
	return h
}

func TestRow09TLSRequired(t *testing.T) {
	opt, client := tlsOptions(t, TLSRequire)
	name := []byte("\x00\x00\x00\x01a\x00\x00")
	for _, tc := range []struct {
		id   uint32
		data []byte
	}{
		{optList, nil}, {optInfo, name}, {optGo, name}, {optStructuredReply, nil}, {optExtendedHeaders, nil},
		{optListMetaContext, name}, {optSetMetaContext, name}, {optPeekExport, name}, {77, []byte("whatever")},
		{optList, []byte("not even valid")}, {optInfo, make([]byte, 80_000)},
	} {
		h := startSecurable(t, opt)
		h.Hello()
		for range 2 { // haggling goes on
			h.SendOption(tc.id, tc.data)
			if r := h.ReadOptionReply(); r.ID != tc.id || r.Type != nbdtest.RepErrTLSReqd || len(r.Data) == 0 {
				t.Errorf("option %d: reply %#x to %d", tc.id, r.Type, r.ID)
			}
		}
		h.StartTLS(client)
		h.Go("a")
		h.expectTransmission("a")
	}
	t.Run("EXPORT_NAME closes", func(t *testing.T) {
		h := startSecurable(t, opt)
		h.Hello()
		h.SendOption(optExportName, []byte("a"))
		h.ExpectClosed()
		h.expectError(errRefused)
	})
	t.Run("ABORT", func(t *testing.T) {
		h := startSecurable(t, opt)
		h.Hello()
		h.Abort()
		h.expectError(errAborted)
	})
}

func TestRow09StartTLS(t *testing.T) {
	for _, mode := range []TLSMode{TLSOn, TLSRequire} {
		opt, client := tlsOptions(t, mode)
		h := startSecurable(t, opt)
		h.Hello()
		h.SendOption(optStartTLS, []byte("data"))
		if r := h.ReadOptionReply(); r.Type != nbdtest.RepErrInvalid {
			t.Errorf("STARTTLS with data: %#x", r.Type)
		}
		h.StartTLS(client)
		h.SendOption(optStartTLS, nil)
		if r := h.ReadOptionReply(); r.Type != nbdtest.RepErrInvalid {
			t.Errorf("second STARTTLS: %#x", r.Type)
		}
		if l := h.List(); len(l) != 2 {
			t.Errorf("LIST: %v", l)
		}
		h.ExportName("a")
		if n := h.expectTransmission("a"); !n.noZeroes {
			t.Error("the client's flags were forgotten")
		}
	}
}

func TestRow09TLSOffered(t *testing.T) {
	opt, _ := tlsOptions(t, TLSOn)
	h := startSecurable(t, opt)
	h.Hello()
	h.Go("a")
	h.expectTransmission("a")

	h = startSecurable(t, TLSOptions{})
	h.Hello()
	h.SendOption(optStartTLS, nil)
	if r := h.ReadOptionReply(); r.Type != nbdtest.RepErrUnsup {
		t.Errorf("STARTTLS without TLS: %#x", r.Type)
	}
	h.Go("a")
	h.expectTransmission("a")
}

// What is pipelined behind STARTTLS is in the clear, and could be anybody's: it
// is never answered (CVE-2021-3716 and the like).
func TestRow09InjectedPlaintextIsNotTaken(t *testing.T) {
	opt, client := tlsOptions(t, TLSOn)
	name := []byte("\x00\x00\x00\x01a\x00\x00")
	for what, injected := range map[string][]byte{
		"LIST":               nbdtest.OptionBytes(optList, nil),
		"GO":                 nbdtest.OptionBytes(optGo, name),
		"EXPORT_NAME":        nbdtest.OptionBytes(optExportName, []byte("a")),
		"STRUCTURED_REPLY":   nbdtest.OptionBytes(optStructuredReply, nil),
		"one byte":           {0},
		"a TLS record's own": {23, 3, 3, 0, 1, 0},
	} {
		t.Run(what, func(t *testing.T) {
			h := startSecurable(t, opt)
			h.Hello()
			h.Send(append(nbdtest.OptionBytes(optStartTLS, nil), injected...))
			if r := h.ReadOptionReply(); r.Type != nbdtest.RepAck {
				t.Fatalf("STARTTLS: %#x", r.Type)
			}
			seen := h.Secretly(client)
			if o := h.outcome(); !errors.Is(o.err, errTLS) && !errors.Is(o.err, errAborted) {
				t.Errorf("the server went on: %v", o.err)
			}
			if seen := <-seen; bytes.Contains(seen, []byte("\x00\x03\xe8\x89\x04\x55\x65\xa9")) {
				t.Errorf("the server answered an option: %x", seen)
			}
		})
	}
}

// Nothing that was agreed on in the clear survives: every field of a
// negotiation is as at its beginning, but for those that are listed here. Fields
// that are added later are looked at too.
func TestRow09StartTLSForgetsEverything(t *testing.T) {
	fresh := func() *negotiator {
		n := newNegotiator(fakeSecurable{Conn: closedConn(t)}, twoExports(), Limits{})
		n.w.Reset(io.Discard)
		return n
	}
	kept := map[string]bool{
		"conn": true, "w": true, "tbl": true, "lim": true, "fixed": true, "options": true, "bytesLeft": true,
		"out": true, "noZeroes": true, // out's fields are looked at one by one
		"scratch": true, // what is in it is written before it is read
	}
	n, begun := fresh(), fresh()
	n.options, n.bytesLeft = 7, 99
	for _, v := range []reflect.Value{reflect.ValueOf(n).Elem(), reflect.ValueOf(&n.out).Elem()} {
		eachField(v, func(name string, f reflect.Value) {
			if !kept[name] || f.Kind() == reflect.Bool {
				dirty(f)
			}
		})
	}
	if !n.out.viaGo || n.data == nil {
		t.Fatal("nothing was there to be forgotten")
	}
	if done, err := n.answerStartTLS(optStartTLS, nil); done || err != nil {
		t.Fatal(done, err)
	}
	if !n.fixed || n.options != 7 || n.bytesLeft != 99 || !n.out.noZeroes {
		t.Errorf("too much is forgotten: %+v", n)
	}
	for _, pair := range [][2]any{{n, begun}, {&n.out, &begun.out}} {
		want := map[string]any{}
		eachField(reflect.ValueOf(pair[1]).Elem(), func(name string, f reflect.Value) { want[name] = f.Interface() })
		eachField(reflect.ValueOf(pair[0]).Elem(), func(name string, f reflect.Value) {
			if !kept[name] && !reflect.DeepEqual(f.Interface(), want[name]) {
				t.Errorf("%s is kept: %v", name, f.Interface())
			}
		})
	}
}

// eachField calls f for each field of a struct, which it may change.
func eachField(v reflect.Value, f func(name string, field reflect.Value)) {
	for i := range v.NumField() {
		field := v.Field(i)
		f(v.Type().Field(i).Name, reflect.NewAt(field.Type(), field.Addr().UnsafePointer()).Elem())
	}
}

// dirty makes a value, or the first of its parts that can be, another one.
func dirty(v reflect.Value) {
	switch {
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(3)
	case v.CanUint():
		v.SetUint(3)
	case v.Kind() == reflect.String:
		v.SetString("something")
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
	case v.Kind() == reflect.Map:
		v.Set(reflect.MakeMap(v.Type()))
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
	case v.Kind() == reflect.Struct:
		eachField(v, func(_ string, f reflect.Value) { dirty(f) })
	case v.Kind() == reflect.Array && v.Len() > 0:
		dirty(v.Index(0))
	}
}

// fakeSecurable is put under TLS without more ado.
type fakeSecurable struct{ net.Conn }

func (fakeSecurable) tlsMode() TLSMode { return TLSOn }
func (fakeSecurable) secured() bool    { return false }
func (fakeSecurable) secure() error    { return nil }

// closedConn is a connection on which nothing can be done.
func closedConn(t *testing.T) net.Conn {
	a, b := net.Pipe()
	a.Close()
	b.Close()
	return a
}

func TestTLSHandshakeFails(t *testing.T) {
	opt, _ := tlsOptions(t, TLSRequire)
	other := nbdtest.NewAuthority(t, "other")
	verified := nbdtest.NewAuthority(t, "of clients")
	strict := opt
	strict.Config = opt.Config.Clone()
	strict.Config.ClientAuth, strict.Config.ClientCAs = tls.RequireAndVerifyClientCert, verified.Pool()
	insecure := func(change func(*tls.Config)) *tls.Config {
		cfg := &tls.Config{InsecureSkipVerify: true}
		if change != nil {
			change(cfg)
		}
		return cfg
	}
	show := func(c *nbdtest.Certificate) *tls.Config {
		return insecure(func(cfg *tls.Config) {
			// Even one that the server has not asked for.
			cfg.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				cert := c.TLS()
				return &cert, nil
			}
		})
	}
	for _, tc := range []struct {
		name   string
		opt    TLSOptions
		client *tls.Config
		want   string
	}{
		{"the client does not trust us", opt, &tls.Config{RootCAs: other.Pool(), ServerName: "localhost"}, "bad certificate"},
		{"TLS 1.1", opt, insecure(func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 }), "unsupported versions"},
		{"no client certificate", strict, insecure(nil), "didn't provide a certificate"},
		{"somebody else's certificate", strict, show(other.Issue("client", nil)), "unknown authority"},
		{"an expired one", strict, show(verified.Issue("client", nbdtest.Expired)), "expired"},
		{"one for servers only", strict, show(verified.Issue("client", func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})), "incompatible key usage"},
		{"a good one", strict, show(verified.Issue("client", nil)), ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			h := startSecurable(t, tc.opt)
			h.Hello()
			if h.TryStartTLS(tc.client) == nil && tc.want == "" {
				h.Go("a")
			}
			switch o := h.outcome(); {
			case tc.want == "" && o.err != nil:
				t.Error(o.err)
			case tc.want != "" && (!errors.Is(o.err, errTLS) || !strings.Contains(o.err.Error(), tc.want)):
				t.Errorf("%v, want %q", o.err, tc.want)
			}
		})
	}
}

// A client that stops in the middle of the TLS handshake is let go in time.
func TestTLSHandshakeTimeout(t *testing.T) {
	opt, _ := tlsOptions(t, TLSRequire)
	client, server := nbdtest.Socketpair(t)
	done := make(chan error, 1)
	go func() {
		_, err := negotiate(newLink(server, &opt), twoExports(), Limits{HandshakeTimeout: 50 * time.Millisecond})
		done <- err
	}()
	client.Hello()
	client.SendOption(optStartTLS, nil)
	client.ReadOptionReply()
	client.Send([]byte{22, 3, 1})
	within(t, "the negotiation", func() {
		if err := <-done; !errors.Is(err, errHandshakeTimeout) {
			t.Error(err)
		}
	})
}

// All rules hold under TLS as they do without.
func TestTLSConformance(t *testing.T) {
	cfg := oneDisk()
	cfg.size = 68 << 20
	want := nbdtest.Expect{
		Export: "disk", Size: uint64(cfg.size), Flags: usualFlags,
		Blocks: nbdtest.Blocks{Min: 512, Preferred: 4096, Max: 32 << 20}, Exports: cfg.names,
		Modes: nbdtest.Modes, Unaligned: true,
	}
	// Checks of clients that can't use TLS have to be let through.
	opt, client := tlsOptions(t, TLSOn)
	cfg.server.TLS = opt
	r := newRig(t, cfg)
	want.Flags |= r.fastZero(want.Flags)
	want.Sparse = r.sparse(t)
	nbdtest.Conformance(t, func(t testing.TB) *nbdtest.Conn {
		c := r.dial(t)
		c.TLS = client
		return c
	}, want)
}

func TestTLSConformanceShutdown(t *testing.T) {
	cfg := oneDisk()
	cfg.server.Grace = time.Second
	opt, client := tlsOptions(t, TLSOn)
	cfg.server.TLS = opt
	want := nbdtest.Expect{
		Export: "disk", Size: uint64(cfg.size), Flags: usualFlags,
		Blocks: nbdtest.Blocks{Min: 512, Preferred: 4096, Max: 32 << 20}, Exports: cfg.names,
	}
	nbdtest.ConformanceShutdown(t, func(t testing.TB) nbdtest.Running {
		r := newRig(t, cfg)
		return nbdtest.Running{
			Dial: func(t testing.TB) *nbdtest.Conn {
				c := r.dial(t)
				c.TLS = client
				return c
			},
			Stall: r.disks[0].stall.Stall,
			Shutdown: func() {
				go r.stop()
				<-r.srv.quit.Done()
			},
			Stopped: r.stopped, Socket: r.socket,
		}
	}, want)
}

// The limit of requests in flight holds under TLS too, where package tls could
// have received more of them.
func TestTLSMaxInflight(t *testing.T) {
	opt, client := tlsOptions(t, TLSRequire)
	f := newFakeRig(t, fakeTraits{}, Options{MaxInflight: 5, TLS: opt})
	got := f.hold(scsi.OpRead16, 20)
	c := f.dial(t)
	c.TLS = client
	c.Hello()
	c.Go("")
	var requests []nbdtest.Request
	for i := range uint64(20) {
		requests = append(requests, readOf(i, 0, 512))
	}
	c.SendRequests(requests...)
	for _, h := range inFlight(t, got, 5) {
		h.release()
	}
	for range 15 {
		(<-got).release()
	}
	c.Collect(requests...)
}

// What package tls has to say on its own is bounded.
func TestTLSWireIsBounded(t *testing.T) {
	client, server := net.Pipe()
	defer client.Close()
	w := newTLSWire(server)
	w.engine = true
	said := 0
	for {
		n, err := w.Write(make([]byte, 27))
		if said += n; err != nil {
			if !errors.Is(err, errWireFull) {
				t.Error(err)
			}
			break
		}
		if said > 1<<20 {
			t.Fatal("a megabyte is kept")
		}
	}
	server.Close()
}

// A client hears from the server's TLS that this is the end, and not from
// somebody who has cut the line.
func TestTLSCloseNotify(t *testing.T) {
	opt, client := tlsOptions(t, TLSRequire)
	f := newFakeRig(t, fakeTraits{}, Options{TLS: opt})
	raw, err := net.Dial("unix", f.socket)
	if err != nil {
		t.Fatal(err)
	}
	line := &counted{Conn: raw}
	c := nbdtest.NewConn(t, line)
	c.TLS = client
	c.Hello()
	c.Go("")
	reads(t, c, 0, make([]byte, 512))
	before := line.n
	c.Disc(0)
	c.ExpectClosed()
	if line.n == before {
		t.Error("the connection ends without close_notify")
	}
}

// counted counts what is received.
type counted struct {
	net.Conn
	n int
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.n += n
	return n, err
}
