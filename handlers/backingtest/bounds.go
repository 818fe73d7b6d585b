package backingtest

import (
	"fmt"
	"math"
	"testing"

	"scstuser/handlers"
)

// testAttributes checks what the Backing says of itself.
func (s *suite) testAttributes(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	if a, ok := b.(handlers.Aligned); ok {
		if n := a.Alignment(); n < 1 || n&(n-1) != 0 {
			t.Errorf("Alignment() = %d, want a power of two", n)
		}
	}
	if d, ok := b.(handlers.Described); ok && d.Describe() == "" {
		t.Error("Describe() is empty")
	}
	if p, ok := b.(handlers.Puncher); ok && p.PunchGranularity() < 1 {
		t.Errorf("PunchGranularity() = %d", p.PunchGranularity())
	}
	if r, ok := b.(handlers.Resizer); ok {
		if n, err := r.Refresh(); err != nil || n != mediumSize || b.Size() != mediumSize {
			t.Errorf("Refresh() = %d, %v; Size() = %d; want %d", n, err, b.Size(), int64(mediumSize))
		}
	}
}

// testBounds asks for what isn't there, in every way.
func (s *suite) testBounds(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	grain := int64(s.o.Grain)
	last := pattern(s.o.Grain, 1)
	if !b.ReadOnly() {
		mustWrite(t, b, last, mediumSize-grain)
	} else {
		clear(last)
	}
	for _, r := range []struct{ off, n int64 }{
		{-grain, grain}, {-grain, 2 * grain}, {math.MinInt64, grain},
		{mediumSize, grain}, {mediumSize - grain, 2 * grain}, {mediumSize + grain, grain},
		{0, mediumSize + grain}, {math.MaxInt64 - grain + 1, grain}, {math.MaxInt64, grain},
	} {
		p := buffer(int(r.n), 0)
		for name, op := range operations(b) {
			if err := op(p, r.off); err == nil {
				t.Errorf("%s of %d bytes at %d succeeded, the medium has %d", name, r.n, r.off, int64(mediumSize))
			}
		}
	}
	for _, r := range []struct{ off, n int64 }{
		{0, -1}, {grain, math.MinInt64}, {0, math.MaxInt64}, {grain, math.MaxInt64}, {mediumSize, math.MaxInt64},
	} {
		for name, op := range rangeOperations(b) {
			if err := op(r.off, r.n); err == nil {
				t.Errorf("%s of %d bytes at %d succeeded", name, r.n, r.off)
			}
		}
	}
	if m, ok := b.(handlers.Mapper); ok {
		for _, off := range []int64{-1, mediumSize, math.MaxInt64, math.MinInt64} {
			if e, err := m.NextExtent(off); err == nil {
				t.Errorf("NextExtent(%d) = %+v", off, e)
			}
		}
	}
	// It is as it was, and as large.
	mustHold(t, b, make([]byte, mediumSize-grain), 0)
	mustHold(t, b, s.expected(last), mediumSize-grain)
	if r, ok := b.(handlers.Resizer); ok {
		if n, err := r.Refresh(); n != mediumSize || err != nil {
			t.Errorf("the size became %d (%v)", n, err)
		}
	}
}

// operations are the ways to move bytes that b has.
func operations(b handlers.Backing) map[string]func(p []byte, off int64) error {
	counted := func(op func([]byte, int64) (int, error)) func([]byte, int64) error {
		return func(p []byte, off int64) error {
			n, err := op(p, off)
			if err == nil && n != len(p) {
				return nil // short without an error: as bad as success
			}
			if n < 0 || n > len(p) {
				panic(fmt.Sprintf("moved %d of %d bytes", n, len(p)))
			}
			return err
		}
	}
	ops := map[string]func([]byte, int64) error{
		"ReadAt":  counted(b.ReadAt),
		"WriteAt": counted(b.WriteAt),
	}
	if x, ok := b.(handlers.NonBlocker); ok {
		ops["TryReadAt"], ops["TryWriteAt"] = x.TryReadAt, x.TryWriteAt
	}
	if x, ok := b.(handlers.DurableWriter); ok {
		ops["WriteAtDurable"] = counted(x.WriteAtDurable)
	}
	for name, op := range rangeOperations(b) {
		ops[name] = func(p []byte, off int64) error { return op(off, int64(len(p))) }
	}
	return ops
}

// rangeOperations are those without bytes.
func rangeOperations(b handlers.Backing) map[string]func(off, n int64) error {
	ops := map[string]func(int64, int64) error{}
	if x, ok := b.(handlers.Puncher); ok {
		ops["Punch"] = x.Punch
	}
	if x, ok := b.(handlers.Zeroer); ok {
		ops["Zero"] = x.Zero
	}
	if x, ok := b.(handlers.Prefetcher); ok {
		ops["Prefetch"] = x.Prefetch
	}
	return ops
}

// testEmptyRequests asks for nothing, which succeeds (NBD has it, and SCSI).
func (s *suite) testEmptyRequests(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	changing := map[string]bool{"WriteAt": true, "TryWriteAt": true, "WriteAtDurable": true, "Punch": true, "Zero": true}
	for name, op := range operations(b) {
		if b.ReadOnly() && changing[name] {
			continue
		}
		for _, off := range []int64{0, int64(s.o.Grain), mediumSize} {
			if err := op(nil, off); err != nil && !acceptable(err) {
				t.Errorf("%s of nothing at %d: %v", name, off, err)
			}
		}
	}
	mustHold(t, b, make([]byte, mediumSize), 0)
}

// testReadOnly tries to change a read-only medium.
func (s *suite) testReadOnly(t *testing.T) {
	b := s.start(t)
	defer s.stop(t, b)
	p := pattern(s.o.Grain, 1)
	ops := operations(b)
	for _, name := range []string{"WriteAt", "TryWriteAt", "WriteAtDurable", "Punch", "Zero"} {
		if op := ops[name]; op != nil && op(p, 0) == nil {
			t.Errorf("%s succeeded", name)
		}
	}
	if x, ok := b.(handlers.Syncer); ok {
		if err := x.Sync(); err != nil {
			t.Errorf("Sync, which has nothing to do: %v", err)
		}
	}
	mustHold(t, b, make([]byte, mediumSize), 0)
}
