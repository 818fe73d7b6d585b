package backingtest

import (
	"errors"
	"testing"

	"scstuser/handlers"

	"pgregory.net/rapid"
)

// testModel does random operations on the medium and on a slice of bytes.
func (s *suite) testModel(t *testing.T) {
	b := s.start(t)
	defer func() { s.stop(t, b) }()
	rapid.Check(t, func(rt *rapid.T) {
		m := &model{suite: s, b: b, want: make([]byte, mediumSize)}
		// All runs use one medium: opening one may be slow.
		mustWrite(rt, b, make([]byte, mediumSize), 0)
		rt.Repeat(m.actions())
		mustHold(rt, b, m.want, 0)
		checkMap(rt, b)
		if b.Size() != mediumSize {
			rt.Fatalf("Size() = %d", b.Size())
		}
	})
	if s.o.Reopen != nil {
		b = s.o.Reopen(t, b)
	}
}

type model struct {
	*suite
	b    handlers.Backing
	want []byte
}

// actions are the operations that the Backing has.
func (m *model) actions() map[string]func(*rapid.T) {
	a := map[string]func(*rapid.T){
		"read": m.read,
		"write": func(t *rapid.T) {
			m.write(t, func(p []byte, off int64) error { mustWrite(t, m.b, p, off); return nil })
		},
	}
	if _, ok := m.b.(handlers.NonBlocker); ok {
		a["tryRead"] = m.tryRead
		a["tryWrite"] = func(t *rapid.T) {
			m.write(t, func(p []byte, off int64) error { return tryWrite(m.b, p, off) })
		}
	}
	if x, ok := m.b.(handlers.DurableWriter); ok {
		a["writeDurable"] = func(t *rapid.T) {
			m.write(t, func(p []byte, off int64) error { _, err := x.WriteAtDurable(p, off); return err })
		}
	}
	for name, op := range rangeOperations(m.b) {
		a[name] = func(t *rapid.T) { m.clear(t, name, op) }
	}
	if _, ok := m.b.(handlers.Mapper); ok {
		a["map"] = func(t *rapid.T) { checkMap(t, m.b) }
	}
	if x, ok := m.b.(handlers.Syncer); ok {
		a["sync"] = func(t *rapid.T) {
			if err := x.Sync(); err != nil {
				t.Fatalf("Sync: %v", err)
			}
		}
	}
	return a
}

// place draws a range, often with edges where media have theirs.
func (m *model) place(t *rapid.T) (off int64, n int) {
	grain := m.o.Grain
	lengths := rapid.OneOf(rapid.IntRange(0, 20000), rapid.SampledFrom([]int{1, 512, 4096, 8192, 65536, 100000}))
	n = lengths.Draw(t, "n") / grain * grain
	o := rapid.OneOf(
		rapid.IntRange(0, mediumSize-n),
		rapid.Map(rapid.IntRange(0, (mediumSize-n)/512), func(i int) int { return i * 512 }),
		rapid.Map(rapid.IntRange(0, (mediumSize-n)/4096), func(i int) int { return i * 4096 }),
		rapid.Just(mediumSize-n),
	).Draw(t, "off")
	return int64(o / grain * grain), n
}

// memory is a buffer, unaligned if the Backing takes those.
func (m *model) memory(t *rapid.T, n int) []byte {
	skew := 0
	if m.o.Grain == 1 {
		skew = rapid.SampledFrom([]int{0, 0, 1, 512}).Draw(t, "skew")
	}
	p := buffer(n, skew)
	fill(p, rapid.Uint64Range(0, 1000).Draw(t, "seed"))
	return p
}

func (m *model) write(t *rapid.T, op func([]byte, int64) error) {
	off, n := m.place(t)
	p := m.memory(t, n)
	if err := op(p, off); err != nil {
		t.Fatalf("write of %d bytes at %d: %v", n, off, err)
	}
	copy(m.want[off:], m.expected(p))
}

func (m *model) read(t *rapid.T) {
	off, n := m.place(t)
	p := m.memory(t, n)
	if got, err := m.b.ReadAt(p, off); err != nil || got != n {
		t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", n, off, got, err)
	}
	m.compare(t, p, off)
}

func (m *model) tryRead(t *rapid.T) {
	off, n := m.place(t)
	p := m.memory(t, n)
	if err := tryRead(m.b, p, off); err != nil {
		t.Fatalf("TryReadAt(%d bytes, %d): %v", n, off, err)
	}
	m.compare(t, p, off)
}

func (m *model) compare(t *rapid.T, p []byte, off int64) {
	if i := firstDifference(p, m.want[off:off+int64(len(p))]); i >= 0 {
		t.Fatalf("byte %d is %#02x, want %#02x", off+int64(i), p[i], m.want[off+int64(i)])
	}
}

// clear does Punch, Zero or Prefetch, the last of which changes nothing.
func (m *model) clear(t *rapid.T, name string, op func(off, n int64) error) {
	off, n := m.place(t)
	err := op(off, int64(n))
	switch {
	case errors.Is(err, handlers.ErrNotSupported):
	case err != nil:
		t.Fatalf("%s(%d, %d): %v", name, off, n, err)
	case name != "Prefetch":
		clear(m.want[off : off+int64(n)])
	}
}
