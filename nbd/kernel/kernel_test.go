package kernel

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"scstuser/nbd/nbdtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestParseURI(t *testing.T) {
	for s, want := range map[string]Target{
		"nbd://localhost":                   {Network: "tcp", Address: "localhost:10809", ServerName: "localhost"},
		"nbd://192.0.2.1:99/disk":           {Network: "tcp", Address: "192.0.2.1:99", Export: "disk", ServerName: "192.0.2.1"},
		"nbd://[::1]/a%2Fb":                 {Network: "tcp", Address: "[::1]:10809", Export: "a/b", ServerName: "::1"},
		"nbds://host/disk":                  {Network: "tcp", Address: "host:10809", Export: "disk", TLS: true, ServerName: "host"},
		"nbd+unix:///disk?socket=/run/s":    {Network: "unix", Address: "/run/s", Export: "disk", ServerName: "localhost"},
		"nbds+unix:///?socket=/run/my%20s":  {Network: "unix", Address: "/run/my s", TLS: true, ServerName: "localhost"},
		"nbd+tcp://host":                    {Network: "tcp", Address: "host:10809", ServerName: "host"},
		"nbd+unix:////disk?socket=relative": {Network: "unix", Address: "relative", Export: "/disk", ServerName: "localhost"},
	} {
		if got, err := ParseURI(s); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", s, got, err, want)
		}
	}
	for s, want := range map[string]string{
		"":                       "no NBD URI",
		"http://host":            "no NBD URI",
		"nbd:host:10809":         "no NBD URI",
		"nbd:///disk":            "names no host",
		"nbd+unix:///disk":       "names no socket",
		"nbd+unix://h/?socket=s": "names no socket",
		"nbd+vsock://3/disk":     "can't be connected by vsock",
		"nbd://[/":               "no URI",
	} {
		if _, err := ParseURI(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", s, err, want)
		}
	}
}

func TestDeviceNames(t *testing.T) {
	for s, want := range map[string]uint32{"/dev/nbd0": 0, "nbd15": 15, "/dev/nbd300": 300} {
		if got, err := indexOf(s); err != nil || got != want {
			t.Errorf("%s: %d, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "0", "/dev/sda", "/dev/nbd", "/dev/nbd0p1", "/dev/nbd-1", "/dev/nbd99999", "x/dev/nbd0"} {
		if err := CheckDevice(s); err == nil || !strings.Contains(err.Error(), "/dev/nbd0") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

// golden compares bytes on a little-endian machine, as they were worked out by
// hand from linux/netlink.h, genetlink.h and nbd-netlink.h.
func golden(t *testing.T, what string, got []byte, want string) {
	t.Helper()
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the golden bytes are little-endian")
	}
	w, err := hex.DecodeString(strings.Join(strings.Fields(want), ""))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, w) {
		t.Errorf("%s:\n%x, want\n%x", what, got, w)
	}
}

func TestGoldenMessages(t *testing.T) {
	d := disk{index: 3, size: 1 << 20, blockSize: 512, flags: 0x010d, timeout: 1500 * time.Millisecond, deadConn: time.Minute}
	m := message{typ: 0x1c, flags: unix.NLM_F_REQUEST | unix.NLM_F_ACK, seq: 7, payload: command(cmdConnect, familyVersion, d.connectAttrs([]int{5, 6}))}
	golden(t, "NBD_CMD_CONNECT", m.append(nil), `
		74000000 1c00 0500 07000000 00000000
		01 01 0000
		0800 0100 03000000
		0c00 0200 0000100000000000
		0c00 0300 0002000000000000
		0c00 0500 0d01000000000000
		0c00 0400 0200000000000000
		0c00 0800 3c00000000000000
		1c00 0780
		  0c00 0180 0800 0100 05000000
		  0c00 0180 0800 0100 06000000`)
	golden(t, "NBD_CMD_RECONFIGURE", command(cmdReconfigure, familyVersion, appendSockets(appendU32(nil, attrIndex, 3), []int{5})), `
		03 01 0000  0800 0100 03000000  1000 0780 0c00 0180 0800 0100 05000000`)
	golden(t, "NBD_CMD_DISCONNECT", command(cmdDisconnect, familyVersion, appendU32(nil, attrIndex, 3)), `02 01 0000 0800 0100 03000000`)
	golden(t, "CTRL_CMD_GETFAMILY", command(unix.CTRL_CMD_GETFAMILY, 1, appendString(nil, unix.CTRL_ATTR_FAMILY_NAME, familyName)), `
		03 01 0000  0800 0200 6e626400`)
	golden(t, "padding", appendString(nil, 1, "abcd"), `0900 0100 6162636400 000000`)
}

// scripted is a kernel: it hears requests and answers as told.
type scripted struct {
	t *testing.T
	// device is whether the device is attached; errno is what connect says.
	device bool
	errno  unix.Errno
	none   bool // there is no such family
	heard  []uint8
	fds    []int // that it was given
	out    chan []byte
	closed bool
	until  time.Time
}

const scriptedFamily = 0x1c

func newScripted(t *testing.T) *scripted { return &scripted{t: t, out: make(chan []byte, 100)} }

func (s *scripted) Write(b []byte) (int, error) {
	m, rest, err := nextMessage(b)
	if err != nil || len(rest) > 0 || m.flags != unix.NLM_F_REQUEST|unix.NLM_F_ACK {
		s.t.Errorf("request %x: %v", b, err)
	}
	cmd, attrs, err := parseCommand(m.payload)
	if err != nil {
		s.t.Error(err)
	}
	if m.typ == scriptedFamily {
		s.heard = append(s.heard, cmd)
	}
	var errno unix.Errno
	say := func(payload []byte) {
		s.out <- message{typ: m.typ, seq: m.seq, payload: payload}.append(nil)
	}
	switch {
	case m.typ == unix.GENL_ID_CTRL && s.none:
		errno = unix.ENOENT
	case m.typ == unix.GENL_ID_CTRL:
		group := appendU32(appendString(nil, unix.CTRL_ATTR_MCAST_GRP_NAME, groupName), unix.CTRL_ATTR_MCAST_GRP_ID, 9)
		say(command(1, 2, appendNested(appendAttr(appendString(nil, unix.CTRL_ATTR_FAMILY_NAME, familyName),
			unix.CTRL_ATTR_FAMILY_ID, order.AppendUint16(nil, scriptedFamily)), unix.CTRL_ATTR_MCAST_GROUPS, appendNested(nil, 1, group))))
	case m.typ != scriptedFamily:
		errno = unix.EOPNOTSUPP
	case cmd == cmdStatus:
		on := []byte{0}
		if s.device {
			on[0] = 1
		}
		device := appendAttr(appendU32(nil, deviceIndex, 3), deviceConnected, on)
		say(command(cmdStatus, 1, appendNested(nil, attrDeviceList, appendNested(nil, deviceItem, device))))
	case cmd == cmdConnect || cmd == cmdReconfigure:
		if errno = s.errno; errno == 0 {
			s.device = true
			s.take(attrs)
		}
	case cmd == cmdDisconnect:
		s.device = false
	}
	// An answer to an older question comes in between.
	s.out <- message{typ: unix.NLMSG_ERROR, seq: m.seq - 1, payload: order.AppendUint32(nil, ^uint32(0))}.append(nil)
	s.out <- message{typ: unix.NLMSG_ERROR, seq: m.seq, payload: append(order.AppendUint32(nil, uint32(-int32(errno))), b[:16]...)}.append(nil)
	return len(b), nil
}

// take keeps the sockets, as the kernel does.
func (s *scripted) take(attrs []byte) {
	err := eachAttr(attrs, func(typ uint16, list []byte) error {
		if typ != attrSockets {
			return nil
		}
		return eachAttr(list, func(_ uint16, item []byte) error {
			return eachAttr(item, func(_ uint16, fd []byte) error {
				n, err := u32(fd)
				if err != nil {
					return err
				}
				kept, err := unix.Dup(int(n))
				s.fds = append(s.fds, kept)
				return err
			})
		})
	})
	if err != nil {
		s.t.Error(err)
	}
}

func (s *scripted) Read(b []byte) (int, error) {
	select {
	case m := <-s.out:
		return copy(b, m), nil
	default:
	}
	select {
	case m := <-s.out:
		return copy(b, m), nil
	case <-time.After(min(time.Until(s.until), 20*time.Millisecond)):
		return 0, os.ErrDeadlineExceeded
	}
}

func (s *scripted) SetReadDeadline(t time.Time) error {
	s.until = t
	return nil
}

func (s *scripted) Close() error {
	s.closed = true
	for _, fd := range s.fds {
		unix.Close(fd)
	}
	s.fds = nil
	return nil
}

// server answers on one end of a connection: the greeting, perhaps TLS, and an
// echo of everything afterwards.
type server struct {
	size   uint64
	flags  uint16
	block  uint32
	tls    *tls.Config
	refuse uint32 // reply to GO
}

func (s server) serve(t *testing.T, c net.Conn) {
	defer func() { c.Close() }()
	buf := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(c, b); err != nil {
			return nil
		}
		return b
	}
	reply := func(id, typ uint32, data []byte) {
		b := binary.BigEndian.AppendUint64(nil, 0x3e889045565a9)
		b = binary.BigEndian.AppendUint32(b, id)
		b = binary.BigEndian.AppendUint32(b, typ)
		b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
		c.Write(append(b, data...))
	}
	c.Write([]byte("NBDMAGICIHAVEOPT\x00\x03"))
	if flags := buf(4); !bytes.Equal(flags, []byte{0, 0, 0, 3}) {
		return
	}
	for {
		h := buf(16)
		if h == nil {
			return
		}
		id := binary.BigEndian.Uint32(h[8:])
		buf(int(binary.BigEndian.Uint32(h[12:])))
		switch {
		case id == optStartTLS && s.tls != nil:
			reply(id, 1, nil)
			c = tls.Server(c, s.tls)
		case id == optStartTLS:
			reply(id, 1<<31|1, []byte("no TLS here"))
		case s.refuse != 0:
			reply(id, s.refuse, []byte("no"))
			return
		default:
			info := binary.BigEndian.AppendUint64([]byte{0, 0}, s.size)
			reply(id, 3, binary.BigEndian.AppendUint16(info, s.flags))
			reply(id, 3, []byte{0, 77, 1}) // unknown information
			if s.block != 0 {
				b := binary.BigEndian.AppendUint32([]byte{0, 3}, s.block)
				reply(id, 3, binary.BigEndian.AppendUint64(b, 1<<42))
			}
			reply(id, 1, nil)
			io.Copy(c, c)
			return
		}
	}
}

// dialTo returns a dialer of such a server.
func dialTo(t *testing.T, s *server) dialer {
	return func(context.Context) (net.Conn, error) {
		ours, file, err := socketPair()
		if err != nil {
			return nil, err
		}
		client, err := net.FileConn(file)
		file.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			s.serve(t, ours)
		}()
		t.Cleanup(func() { ours.Close(); <-done })
		return client, err
	}
}

// echoed requires that a server echoes on a socket that the kernel got.
func echoed(t *testing.T, fd int) {
	t.Helper()
	dup, err := unix.Dup(fd)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(dup), "socket")
	c, err := net.FileConn(f)
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(nbdtest.DefaultTimeout))
	if _, err := c.Write([]byte("request")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 7)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "request" {
		t.Errorf("%q, %v", b, err)
	}
}

func quiet() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

func mustFamily(t *testing.T, k *scripted) *family {
	t.Helper()
	f, err := openFamily(k, familyName)
	if err != nil {
		t.Fatal(err)
	}
	if f.id != scriptedFamily || f.groups[groupName] != 9 {
		t.Fatalf("family %+v", f)
	}
	return f
}

// attach is Attach on a family. It takes f over if it succeeds.
func attach(ctx context.Context, f *family, index uint32, export string, opt Options, dial dialer) (*Attachment, error) {
	a := &Attachment{f: f, opt: opt, export: export, dial: dial}
	if err := a.begin(ctx, index); err != nil {
		a.stopRelays()
		return nil, err
	}
	return a, nil
}

func TestAttach(t *testing.T) {
	ca := nbdtest.NewAuthority(t, "ca")
	serverTLS := &tls.Config{Certificates: []tls.Certificate{ca.Issue("server", nil).TLS()}}
	clientTLS := &tls.Config{RootCAs: ca.Pool(), ServerName: "localhost"}
	for _, tc := range []struct {
		name   string
		server server
		opt    Options
		conns  int
	}{
		{"one connection", server{size: 1 << 20, flags: 1}, Options{}, 1},
		{"several", server{size: 1 << 20, flags: 1 | transMultiConn, block: 4096}, Options{Connections: 4}, 4},
		{"several, and the server has one", server{size: 1 << 20, flags: 1}, Options{Connections: 4}, 1},
		{"TLS", server{size: 1 << 20, flags: 1 | transMultiConn, tls: serverTLS}, Options{Connections: 2, TLS: clientTLS}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newScripted(t)
			tc.opt.Log = quiet()
			a, err := attach(t.Context(), mustFamily(t, k), 3, "disk", tc.opt, dialTo(t, &tc.server))
			if err != nil {
				t.Fatal(err)
			}
			if a.Size() != 1<<20 || a.ReadOnly() || len(k.fds) != tc.conns || a.Resident() != (tc.opt.TLS != nil) {
				t.Errorf("size %d, %d connections, resident %v", a.Size(), len(k.fds), a.Resident())
			}
			for _, fd := range k.fds {
				echoed(t, fd)
			}
			if err := a.Detach(); err != nil || k.device || !k.closed {
				t.Errorf("detach: %v; attached %v", err, k.device)
			}
		})
	}
}

func TestAttachFails(t *testing.T) {
	good := server{size: 1 << 20, flags: 1}
	with := func(change func(*server)) server {
		s := good
		change(&s)
		return s
	}
	for _, tc := range []struct {
		name   string
		server server
		opt    Options
		errno  unix.Errno
		want   string
	}{
		{"no right", good, Options{}, unix.EPERM, "only root may"},
		{"in use", good, Options{}, unix.EBUSY, "/dev/nbd3 is attached already"},
		{"no such device", good, Options{}, unix.ENODEV, "nbds_max"},
		{"no TLS", good, Options{TLS: &tls.Config{}}, 0, `does not do TLS: refused with reply 0x80000001 (the server says "no TLS here")`},
		{"TLS required", with(func(s *server) { s.refuse = repErrTLSReqd }), Options{}, 0, "use nbds://"},
		{"no export", with(func(s *server) { s.refuse = 1<<31 | 6 }), Options{}, 0, `export "disk": there is no such export`},
		{"large blocks", with(func(s *server) { s.block = 65536 }), Options{}, 0, "blocks of 65536"},
		{"empty", with(func(s *server) { s.size = 511 }), Options{}, 0, "less than one block"},
		{"wrong authority", with(func(s *server) {
			ca := nbdtest.NewAuthority(t, "other")
			s.tls = &tls.Config{Certificates: []tls.Certificate{ca.Issue("server", nil).TLS()}}
		}), Options{TLS: &tls.Config{ServerName: "localhost"}}, 0, "TLS: tls: failed to verify certificate"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := newScripted(t)
			k.errno = tc.errno
			tc.opt.Log = quiet()
			f := mustFamily(t, k)
			_, err := attach(t.Context(), f, 3, "disk", tc.opt, dialTo(t, &tc.server))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
			f.Close()
		})
	}
	k := newScripted(t)
	k.none = true
	if _, err := openFamily(k, familyName); !errors.Is(err, errNoFamily) || !strings.Contains(err.Error(), "modprobe nbd") {
		t.Errorf("without the module: %v", err)
	}
}

// A connection that dies is made again, to the same disk only; when somebody
// detaches the device the watch ends.
func TestReconnect(t *testing.T) {
	k := newScripted(t)
	s := &server{size: 1 << 20, flags: 1}
	a, err := attach(t.Context(), mustFamily(t, k), 3, "disk", Options{Reconnect: time.Minute, Log: quiet()}, dialTo(t, s))
	if err != nil {
		t.Fatal(err)
	}
	if !a.Resident() {
		t.Error("nobody would make the connection again")
	}
	events := newScripted(t)
	dead := func(index uint32) {
		events.out <- message{typ: scriptedFamily, payload: command(cmdLinkDead, 1, appendU32(nil, attrIndex, index))}.append(nil)
	}
	dead(2) // another device's
	dead(3)
	done := make(chan error, 1)
	go func() { done <- a.watch(t.Context(), &detaching{scripted: events, kernel: k, after: 2}) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(nbdtest.DefaultTimeout):
		t.Fatal("the watch does not end")
	}
	n := 0
	for _, cmd := range k.heard {
		if cmd == cmdReconfigure {
			n++
		}
	}
	if n != 1 || !k.closed {
		t.Errorf("%d connections were made again, want 1", n)
	}

	a.info = exportInfo{size: 1 << 30}
	if _, _, err := a.connection(t.Context()); err == nil || !strings.Contains(err.Error(), "has changed") {
		t.Errorf("another disk under the same name: %v", err)
	}
}

// detaching is the events' socket; when it has been asked often enough with
// nothing to say, somebody detaches the device.
type detaching struct {
	*scripted
	kernel *scripted
	after  int
}

func (d *detaching) Read(b []byte) (int, error) {
	n, err := d.scripted.Read(b)
	if err != nil {
		if d.after--; d.after == 0 {
			d.kernel.device = false
		}
	}
	return n, err
}

// A watch that is told to stop detaches the device.
func TestWatchStops(t *testing.T) {
	k := newScripted(t)
	s := &server{size: 1 << 20, flags: 1}
	a, err := attach(t.Context(), mustFamily(t, k), 3, "disk", Options{Reconnect: time.Minute, Log: quiet()}, dialTo(t, s))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.watch(ctx, newScripted(t)); err != nil || k.device || !k.closed {
		t.Errorf("%v; attached %v", err, k.device)
	}
}

// On this machine, whatever it has: an error says what to do.
func TestRealKernel(t *testing.T) {
	if _, err := os.Stat("/sys/module/nbd"); err == nil {
		t.Skip("there is an NBD client here")
	}
	for _, err := range []error{
		Detach("/dev/nbd0", Options{}),
		func() error {
			_, err := AttachLocal(t.Context(), nil, "", "/dev/nbd0", Options{})
			return err
		}(),
	} {
		if !errors.Is(err, errNoFamily) {
			t.Errorf("%v", err)
		}
	}
}

// nbdkit agrees with our client.
func TestNegotiateWithNbdkit(t *testing.T) {
	if _, err := exec.LookPath("nbdkit"); err != nil {
		t.Skip(err)
	}
	socket := filepath.Join(t.TempDir(), "s")
	cmd := exec.Command("nbdkit", "-f", "-U", socket, "memory", "1M")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}()
	var c net.Conn
	var err error
	for end := time.Now().Add(nbdtest.DefaultTimeout); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if c, err = net.Dial("unix", socket); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, info, err := negotiate(c, "", nil); err != nil || info.size != 1<<20 || info.flags&transMultiConn == 0 {
		t.Errorf("%+v, %v", info, err)
	}
}

// Nothing that the kernel could say makes us do more than return an error.
func FuzzNetlink(f *testing.F) {
	f.Add(message{typ: 1, payload: command(cmdLinkDead, 1, appendU32(nil, attrIndex, 3))}.append(nil))
	f.Add(message{typ: 2, payload: command(cmdStatus, 1, appendNested(nil, attrDeviceList, appendNested(nil, deviceItem, appendU32(nil, deviceIndex, 3))))}.append(nil))
	f.Add([]byte{4, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		for rest := b; len(rest) > 0; {
			m, next, err := nextMessage(rest)
			if err != nil {
				return
			}
			if len(next) >= len(rest) {
				t.Fatal("no progress")
			}
			rest = next
			_, attrs, err := parseCommand(m.payload)
			if err != nil {
				continue
			}
			fam := family{groups: map[string]uint32{}}
			_ = eachAttr(attrs, fam.learn)
			a := Attachment{f: &family{id: m.typ}}
			_, _ = a.deadLinks(b)
		}
	})
}

// Nothing that a server could say makes us do more than return an error.
func FuzzNegotiate(f *testing.F) {
	f.Add([]byte("NBDMAGICIHAVEOPT\x00\x03\x00\x03\xe8\x89\x04\x55\x65\xa9\x00\x00\x00\x07\x00\x00\x00\x01\x00\x00\x00\x00"))
	f.Add([]byte("NBDMAGICIHAVEOPT\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _, _ = negotiate(&fuzzConn{Reader: bytes.NewReader(b)}, "x", nil)
	})
}

type fuzzConn struct {
	net.Conn
	io.Reader
}

func (c *fuzzConn) Read(p []byte) (int, error)  { return c.Reader.Read(p) }
func (c *fuzzConn) Write(p []byte) (int, error) { return len(p), nil }
