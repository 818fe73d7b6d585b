package nbd

import (
	"fmt"
	"io"
	"testing"

	"scstuser/nbd/nbdtest"
)

// newLeanIn is newLean for a client of a mode.
func newLeanIn(b testing.TB, r *rig, m nbdtest.Mode, typ uint16, depth int, length uint32) *lean {
	if m == nbdtest.Simple {
		return newLean(b, r, typ, depth, length)
	}
	c := r.netDial()
	b.Cleanup(func() { c.Close() })
	h := nbdtest.NewConn(b, c)
	h.Hello()
	h.Negotiate(m)
	h.Go("")
	l := &lean{c: c, depth: depth, length: length}
	for i := range depth {
		req := nbdtest.Request{Type: typ, Cookie: uint64(i), Offset: uint64(i) * uint64(length), Length: length}
		if typ == cmdWrite {
			req.Payload = make([]byte, length)
		}
		l.reqs = append(l.reqs, h.Encode(req)...)
	}
	n := map[nbdtest.Mode]int{nbdtest.Structured: simpleReplySize, nbdtest.Extended: extendedReplySize}[m]
	if typ == cmdRead {
		n = map[nbdtest.Mode]int{nbdtest.Structured: structuredReplySize, nbdtest.Extended: extendedReplySize}[m] + 8 + int(length)
	}
	l.reply = make([]byte, depth*n)
	return l
}

// round1 is round for a mode whose reply has its error elsewhere: an error would
// be of another length, and the next round would hang.
func (l *lean) round1(tb testing.TB) {
	if _, err := l.c.Write(l.reqs); err != nil {
		tb.Fatal(err)
	}
	if _, err := io.ReadFull(l.c, l.reply); err != nil {
		tb.Fatal(err)
	}
}

// A dense image, in each mode.
func BenchmarkModes(b *testing.B) {
	for _, p := range benchPoints[:6] {
		for _, m := range nbdtest.Modes {
			b.Run(fmt.Sprintf("%s/depth%d/%v", p.name, p.depth, m), func(b *testing.B) {
				cfg := oneDisk()
				cfg.size = 64 << 20
				r := newRig(b, cfg)
				fill(b, r)
				l := newLeanIn(b, r, m, p.typ, p.depth, p.length)
				l.round1(b)
				b.ReportAllocs()
				b.SetBytes(int64(p.length))
				b.ResetTimer()
				for n := 0; n < b.N; n += p.depth {
					l.round1(b)
				}
			})
		}
	}
}

// TestNoAllocationPerRequest in the other modes: reads without holes and writes.
func TestNoAllocationPerRequestInModes(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools allocate; make test runs this without it too")
	}
	inModes(t, func(t *testing.T, m nbdtest.Mode) {
		for _, p := range benchPoints[:6] {
			t.Run(fmt.Sprintf("%s/depth%d", p.name, p.depth), func(t *testing.T) {
				r := newRig(t, oneDisk())
				fill(t, r)
				l := newLeanIn(t, r, m, p.typ, p.depth, p.length)
				for range 200 {
					l.round1(t)
				}
				if per := allocationsPerRequest(func() { l.round1(t) }, p.depth); per > 0.01 {
					t.Errorf("%.3f allocations per request", per)
				}
			})
		}
	})
}
