package backingtest

import (
	"errors"
	"fmt"
	"testing"

	"scstuser/handlers"
)

// acceptable says whether an error only means that there is another way.
func acceptable(err error) bool {
	return errors.Is(err, handlers.ErrWouldBlock) || errors.Is(err, handlers.ErrNotSupported)
}

func (s *suite) testZeroes(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	mustHold(t, b, make([]byte, mediumSize), 0)
}

// places are ranges with all kinds of edges.
func (s *suite) places() []struct{ off, n int } {
	all := []struct{ off, n int }{
		{0, 512}, {512, 512}, {4096, 4096}, {8192 + 512, 4096}, {mediumSize - 512, 512},
		{1, 1}, {511, 2}, {4095, 2}, {20000, 10001}, {40960, 65536}, {110001, 70007},
		{0, mediumSize},
	}
	var fit []struct{ off, n int }
	for _, p := range all {
		if p.off%s.o.Grain == 0 && p.n%s.o.Grain == 0 {
			fit = append(fit, p)
		}
	}
	return fit
}

// testWrittenIsRead writes in each way and reads in each way.
func (s *suite) testWrittenIsRead(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	want := make([]byte, mediumSize)
	writers := map[string]func([]byte, int64) error{
		"WriteAt": func(p []byte, off int64) error { mustWrite(t, b, p, off); return nil },
	}
	if x, ok := b.(handlers.DurableWriter); ok {
		writers["WriteAtDurable"] = func(p []byte, off int64) error {
			n, err := x.WriteAtDurable(p, off)
			if err == nil && n != len(p) {
				return fmt.Errorf("%d bytes without an error", n)
			}
			return err
		}
	}
	if _, ok := b.(handlers.NonBlocker); ok {
		writers["TryWriteAt"] = func(p []byte, off int64) error { return tryWrite(b, p, off) }
	}
	seed := uint64(1)
	for name, write := range writers {
		for _, at := range s.places() {
			seed++
			p := pattern(at.n, seed)
			if err := write(p, int64(at.off)); err != nil {
				t.Fatalf("%s(%d bytes, %d): %v", name, at.n, at.off, err)
			}
			copy(want[at.off:], s.expected(p))
			mustHold(t, b, want, 0)
			if _, ok := b.(handlers.NonBlocker); ok {
				got := pattern(at.n, 77)
				if err := tryRead(b, got, int64(at.off)); err != nil {
					t.Fatalf("TryReadAt(%d bytes, %d): %v", at.n, at.off, err)
				}
				if i := firstDifference(want[at.off:at.off+at.n], got); i >= 0 {
					t.Fatalf("TryReadAt: byte %d is wrong", at.off+i)
				}
			}
		}
	}
	if b.Size() != mediumSize {
		t.Errorf("Size() = %d after writing", b.Size())
	}
}

// testReopen checks that what was written and synced is on the medium.
func (s *suite) testReopen(t *testing.T) {
	if s.o.Reopen == nil {
		t.Skip("this medium can't be opened again")
	}
	b := s.start(t)
	p := pattern(mediumSize, 5)
	mustWrite(t, b, p, 0)
	if x, ok := b.(handlers.Syncer); ok {
		if err := x.Sync(); err != nil {
			t.Fatalf("Sync: %v", err)
		}
	}
	b = s.o.Reopen(t, b)
	defer s.stop(t, b)
	if b.Size() != mediumSize {
		t.Errorf("Size() = %d after reopening", b.Size())
	}
	mustHold(t, b, s.expected(p), 0)
}

// testAllocs checks the hot path for Go allocations.
func (s *suite) testAllocs(t *testing.T) {
	if !s.o.NoAllocs {
		t.Skip("not asked for")
	}
	b := s.start(t)
	defer s.stop(t, b)
	p := pattern(4096, 1)
	mustWrite(t, b, p, 8192) // so that it is in memory
	for name, op := range operations(b) {
		if name == "Punch" || name == "Zero" || name == "Prefetch" {
			continue
		}
		if n := testing.AllocsPerRun(20, func() {
			if err := op(p, 8192); err != nil && !acceptable(err) {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s makes %v allocations", name, n)
		}
	}
}
