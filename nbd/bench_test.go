package nbd

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"sync"
	"testing"

	"scstuser/nbd/nbdtest"
)

// lean is a client that costs little: it sends a whole queue depth with one
// write and reads the replies with few reads.
type lean struct {
	c      net.Conn
	reqs   []byte
	reply  []byte
	depth  int
	length uint32
}

func newLean(b testing.TB, r *rig, typ uint16, depth int, length uint32) *lean {
	c := r.netDial()
	b.Cleanup(func() { c.Close() })
	h := nbdtest.NewConn(b, c)
	h.Greet()
	h.SendClientFlags(3)
	h.Go("")
	l := newLeanRequests(typ, depth, length)
	l.c = c
	return l
}

// newLeanRequests is newLean without a connection.
func newLeanRequests(typ uint16, depth int, length uint32) *lean {
	l := &lean{depth: depth, length: length}
	for i := range depth {
		req := make([]byte, requestSize)
		putRequest(req, requestHeader{typ: typ, cookie: uint64(i), offset: uint64(i) * uint64(length), length: uint64(length)})
		l.reqs = append(l.reqs, req...)
		if typ == cmdWrite {
			l.reqs = append(l.reqs, make([]byte, length)...)
		}
	}
	n := simpleReplySize
	if typ == cmdRead {
		n += int(length)
	}
	l.reply = make([]byte, depth*n)
	return l
}

// round does one whole queue depth.
func (l *lean) round(tb testing.TB) {
	if _, err := l.c.Write(l.reqs); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(l.c, l.reply); err != nil {
		tb.Fatal(err)
	}
	if e := binary.BigEndian.Uint32(l.reply[4:]); e != 0 {
		tb.Fatalf("error %d", e)
	}
}

var benchPoints = []struct {
	name   string
	typ    uint16
	depth  int
	length uint32
}{
	{"read4k", cmdRead, 1, 4096}, {"read4k", cmdRead, 16, 4096}, {"read4k", cmdRead, 64, 4096},
	{"write4k", cmdWrite, 1, 4096}, {"write4k", cmdWrite, 16, 4096},
	{"read64k", cmdRead, 8, 64 << 10}, {"write64k", cmdWrite, 8, 64 << 10},
	{"read1m", cmdRead, 1, 1 << 20}, {"read1m", cmdRead, 4, 1 << 20},
}

func BenchmarkServer(b *testing.B) {
	for _, p := range benchPoints {
		b.Run(fmt.Sprintf("%s/depth%d", p.name, p.depth), func(b *testing.B) {
			cfg := oneDisk()
			cfg.size = 64 << 20
			r := newRig(b, cfg)
			fill(b, r)
			l := newLean(b, r, p.typ, p.depth, p.length)
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

// Several clients at a time.
func BenchmarkConnections(b *testing.B) {
	for _, p := range benchPoints[:2] {
		b.Run(fmt.Sprintf("%s/depth%d", p.name, p.depth), func(b *testing.B) {
			cfg := oneDisk()
			cfg.size = 64 << 20
			r := newRig(b, cfg)
			fill(b, r)
			var clients []*lean
			for range 4 {
				clients = append(clients, newLean(b, r, p.typ, p.depth, p.length))
			}
			b.ReportAllocs()
			b.SetBytes(int64(p.length))
			b.ResetTimer()
			var wg sync.WaitGroup
			for _, l := range clients {
				wg.Go(func() {
					for n := 0; n < b.N/len(clients); n += p.depth {
						l.round(b)
					}
				})
			}
			wg.Wait()
		})
	}
}

// fill writes the image, so that it is in the page cache and has no holes.
func fill(tb testing.TB, r *rig) {
	c := r.open(tb)
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i * 7)
	}
	for off := uint64(0); off < r.disks[0].export.Size(); off += uint64(len(data)) {
		if e := c.Write(off, data, 0); e != nbdtest.OK {
			tb.Fatal(e)
		}
	}
	c.Close()
}

// allocationsPerRequest is how many a round of so many requests makes. What else
// the process does now and then is counted too, so it is the least of several
// samples: what allocates for requests does so every time.
func allocationsPerRequest(round func(), requests int) float64 {
	const rounds = 500
	least := math.Inf(1)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		for range rounds {
			round()
		}
		runtime.ReadMemStats(&after)
		least = min(least, float64(after.Mallocs-before.Mallocs)/float64(rounds*requests))
	}
	return least
}

// No allocation per request in steady state, through the whole stack.
func TestNoAllocationPerRequest(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate; make test runs this without it too")
	}
	for _, p := range benchPoints[:5] {
		t.Run(fmt.Sprintf("%s/depth%d", p.name, p.depth), func(t *testing.T) {
			r := newRig(t, oneDisk())
			fill(t, r)
			l := newLean(t, r, p.typ, p.depth, p.length)
			for range 200 {
				l.round(t)
			}
			per := allocationsPerRequest(func() { l.round(t) }, p.depth)
			if per > 0.01 {
				t.Errorf("%.3f allocations per request", per)
			}
		})
	}
}
