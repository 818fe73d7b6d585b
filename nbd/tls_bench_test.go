package nbd

import (
	"crypto/tls"
	"encoding/binary"
	"fmt"
	"io"
	"runtime"
	"testing"

	"scstuser/nbd/nbdtest"
)

// newLeanTLS is newLean under TLS.
func newLeanTLS(b testing.TB, r *rig, cfg *tls.Config, typ uint16, depth int, length uint32) *lean {
	c := r.netDial()
	b.Cleanup(func() { c.Close() })
	plain := newLeanRequests(typ, depth, length)
	send := func(p []byte) {
		if _, err := c.Write(p); err != nil {
			b.Fatal(err)
		}
	}
	receive := func(n int) []byte {
		p := make([]byte, n)
		if _, err := io.ReadFull(c, p); err != nil {
			b.Fatal(err)
		}
		return p
	}
	receive(18)
	send([]byte{0, 0, 0, 3})
	send(nbdtest.OptionBytes(optStartTLS, nil))
	receive(20)
	c = tls.Client(c, cfg)
	send(nbdtest.OptionBytes(optGo, make([]byte, 6)))
	for {
		head := receive(20)
		receive(int(binary.BigEndian.Uint32(head[16:])))
		if typ := binary.BigEndian.Uint32(head[12:]); typ == repAck {
			break
		}
	}
	plain.c = c
	return plain
}

// BenchmarkTLS is BenchmarkServer under TLS 1.3; the client's half of the work
// is in it too.
func BenchmarkTLS(b *testing.B) {
	for _, p := range benchPoints {
		b.Run(fmt.Sprintf("%s/depth%d", p.name, p.depth), func(b *testing.B) {
			cfg := oneDisk()
			cfg.size = 64 << 20
			opt, client := tlsOptions(b, TLSOn)
			client.DynamicRecordSizingDisabled = true
			cfg.server.TLS = opt
			r := newRig(b, cfg)
			fill(b, r)
			l := newLeanTLS(b, r, client, p.typ, p.depth, p.length)
			l.round(b)
			b.ReportAllocs()
			b.SetBytes(int64(p.length))
			b.ResetTimer()
			for n := 0; n < b.N; n += p.depth {
				l.round(b)
			}
		})
	}
}

// What an idle connection costs under TLS, the client's side included: package
// tls keeps a receive buffer on each, as large as the largest record was.
func TestIdleTLSConnectionsAreCheap(t *testing.T) {
	const n = 100
	opt, client := tlsOptions(t, TLSRequire)
	f := newFakeRig(t, fakeTraits{}, Options{TLS: opt})
	measure := func() uint64 {
		for range 3 { // pools are emptied in two steps
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := measure()
	var clients []*nbdtest.Conn
	for range n {
		c := f.dial(t)
		c.TLS = client
		c.Hello()
		c.Go("")
		var requests []nbdtest.Request
		for i := range uint64(16) {
			requests = append(requests, readOf(2*i, 0, 4096), writeOf(2*i+1, 0, pattern(1, 4096)))
		}
		c.Exchange(requests...)
		clients = append(clients, c)
	}
	per := (int64(measure()) - int64(before)) / n
	t.Logf("%d bytes per connection, the client's side included", per)
	if per > 160<<10 && !raceEnabled {
		t.Errorf("an idle connection costs %d bytes", per)
	}
	runtime.KeepAlive(clients)
}
