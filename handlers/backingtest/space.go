package backingtest

import (
	"errors"
	"testing"

	"scstuser/handlers"
)

// testSpace punches and zeroes ranges: they read as zeroes, to the byte.
func (s *suite) testSpace(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	for name, op := range rangeOperations(b) {
		if name == "Prefetch" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			for _, at := range s.places() {
				want := pattern(mediumSize, 3)
				mustWrite(t, b, want, 0)
				want = s.expected(want)
				err := op(int64(at.off), int64(at.n))
				if errors.Is(err, handlers.ErrNotSupported) {
					mustHold(t, b, want, 0) // then it has done nothing
					t.Skipf("%s is not supported by this medium", name)
				}
				if err != nil {
					t.Fatalf("%s(%d, %d): %v", name, at.off, at.n, err)
				}
				clear(want[at.off : at.off+at.n])
				mustHold(t, b, want, 0)
				checkMap(t, b)
				if b.Size() != mediumSize {
					t.Fatalf("Size() = %d", b.Size())
				}
			}
		})
	}
}

// testMap maps a medium that nobody has written to, then one with an island.
func (s *suite) testMap(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	checkMap(t, b)
	if !b.ReadOnly() {
		mustWrite(t, b, pattern(4096, 8), mediumSize/2)
		checkMap(t, b)
	}
}

// checkMap walks the extents: they tile the medium, and holes are zeroes. Data
// may be zeroes too. The medium is not changed meanwhile.
func checkMap(t tester, b handlers.Backing) {
	t.Helper()
	m, ok := b.(handlers.Mapper)
	if !ok {
		return
	}
	for off := int64(0); off < b.Size(); {
		e, err := m.NextExtent(off)
		if err != nil {
			t.Fatalf("NextExtent(%d): %v", off, err)
		}
		if e.Off != off || e.Len <= 0 || e.Len > b.Size()-off {
			t.Fatalf("NextExtent(%d) = %+v: not a run from there inside %d bytes", off, e, b.Size())
		}
		if e.Hole {
			mustHold(t, b, make([]byte, e.Len), off)
		}
		off += e.Len
	}
	// From the middle of a run as well.
	if e, err := m.NextExtent(b.Size() - 1); err != nil || e.Off != b.Size()-1 || e.Len != 1 {
		t.Fatalf("NextExtent of the last byte: %+v, %v", e, err)
	}
}
