package arena

import (
	"encoding/binary"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

// model is what the live allocations should be: start address to size.
type model struct {
	a     *Arena
	max   uint64
	order []uint64
	size  map[uint64]uint64
	sum   uint64
}

func newModel(limit int64) *model {
	return &model{a: New(Options{MaxBytes: limit}), max: uint64(limit), size: map[uint64]uint64{}}
}

// fataler is what the property and the fuzz test have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func (m *model) alloc(t fataler, n int) {
	t.Helper()
	addr, err := m.a.Alloc(n)
	whole := (uint64(n) + page - 1) / page * page
	if n <= 0 {
		if err == nil {
			t.Fatalf("Alloc(%d) succeeded", n)
		}
		return
	}
	if m.sum+whole > m.max {
		if !errors.Is(err, ErrNoMemory) {
			t.Fatalf("Alloc(%d) over the limit: %v", n, err)
		}
		return
	}
	if err != nil {
		t.Fatalf("Alloc(%d): %v", n, err)
	}
	if addr == 0 || addr%page != 0 {
		t.Fatalf("Alloc(%d) = %#x: not page aligned", n, addr)
	}
	for start, size := range m.size {
		if addr < start+size && start < addr+whole {
			t.Fatalf("%#x+%d overlaps the live %#x+%d", addr, whole, start, size)
		}
	}
	m.order = append(m.order, addr)
	m.size[addr] = whole
	m.sum += whole
	// Each allocation carries its own name at both ends.
	b := m.a.Bytes(addr, int(whole))
	binary.NativeEndian.PutUint64(b, addr)
	binary.NativeEndian.PutUint64(b[whole-8:], addr)
}

func (m *model) free(t fataler, i int) {
	t.Helper()
	addr := m.order[i]
	whole := m.size[addr]
	b := m.a.Bytes(addr, int(whole))
	if binary.NativeEndian.Uint64(b) != addr || binary.NativeEndian.Uint64(b[whole-8:]) != addr {
		t.Fatalf("%#x+%d was overwritten", addr, whole)
	}
	if err := m.a.Free(addr); err != nil {
		t.Fatalf("Free: %v", err)
	}
	m.order[i] = m.order[len(m.order)-1]
	m.order = m.order[:len(m.order)-1]
	delete(m.size, addr)
	m.sum -= whole
}

func (m *model) freeWrong(t fataler, addr uint64) {
	t.Helper()
	if _, live := m.size[addr]; live {
		return
	}
	if err := m.a.Free(addr); !errors.Is(err, ErrNotAllocated) {
		t.Fatalf("Free(%#x), which isn't live: %v", addr, err)
	}
}

func (m *model) mapRange(t fataler, addr uint64, n int) {
	t.Helper()
	want := false
	for start, size := range m.size {
		if addr >= start && addr-start < size && n >= 0 && uint64(n) <= size-(addr-start) {
			want = true
		}
	}
	b, err := m.a.Map(addr, n)
	switch {
	case want && (err != nil || len(b) != n):
		t.Fatalf("Map(%#x, %d): %d bytes, %v", addr, n, len(b), err)
	case !want && !errors.Is(err, ErrFault):
		t.Fatalf("Map(%#x, %d): %v, want ErrFault", addr, n, err)
	}
}

func (m *model) check(t fataler) {
	t.Helper()
	st := m.a.Stats()
	if st.Live != int64(len(m.order)) || st.LiveBytes != int64(m.sum) {
		t.Fatalf("%+v, want %d live of %d bytes", st, len(m.order), m.sum)
	}
	if st.MappedBytes < st.LiveBytes+st.SpareBytes || st.PeakBytes < st.LiveBytes {
		t.Fatalf("stats contradict themselves: %+v", st)
	}
}

func (m *model) close(t fataler) {
	t.Helper()
	for len(m.order) > 0 {
		m.free(t, len(m.order)-1)
		m.check(t)
	}
	if err := m.a.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if st := m.a.Stats(); st != (Stats{PeakBytes: st.PeakBytes}) {
		t.Fatalf("not all was given back: %+v", st)
	}
}

func sizes() *rapid.Generator[int] {
	return rapid.OneOf(
		rapid.IntRange(-1, 3*page),
		rapid.IntRange(1, 300*page),
		rapid.IntRange(slabSize-page, slabSize+2*page),
		rapid.SampledFrom([]int{page, 2 * page, 1 << 20, 2 << 20, 2<<20 + 1, slabSize, 9 << 20}),
	)
}

func TestArenaMatchesModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newModel(32 << 20)
		t.Repeat(map[string]func(*rapid.T){
			"alloc": func(t *rapid.T) { m.alloc(t, sizes().Draw(t, "n")) },
			"allocMany": func(t *rapid.T) {
				n := sizes().Draw(t, "n")
				for range rapid.IntRange(1, 40).Draw(t, "times") {
					m.alloc(t, n)
				}
			},
			"free": func(t *rapid.T) {
				if len(m.order) == 0 {
					t.Skip("nothing is live")
				}
				m.free(t, rapid.IntRange(0, len(m.order)-1).Draw(t, "which"))
			},
			"freeWrong": func(t *rapid.T) { m.freeWrong(t, m.address(t)) },
			"map": func(t *rapid.T) {
				m.mapRange(t, m.address(t), rapid.IntRange(-1, 3*page).Draw(t, "n"))
			},
			"": func(t *rapid.T) { m.check(t) },
		})
		m.close(t)
	})
}

// address draws one near a live allocation, or anything.
func (m *model) address(t *rapid.T) uint64 {
	if len(m.order) == 0 || rapid.IntRange(0, 9).Draw(t, "wild") == 0 {
		return rapid.Uint64().Draw(t, "addr")
	}
	start := rapid.SampledFrom(m.order).Draw(t, "base")
	size := int64(m.size[start])
	off := rapid.OneOf(
		rapid.Int64Range(-2*page, size+2*page),
		rapid.SampledFrom([]int64{-1, 0, 1, size - 1, size, size + page}),
	).Draw(t, "off")
	return start + uint64(off)
}

// FuzzArena runs a program of 9-byte instructions: what, then an operand.
func FuzzArena(f *testing.F) {
	f.Add([]byte("\x00\x00\x10\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00"))
	f.Add([]byte("\x00\x00\x00\x50\x00\x00\x00\x00\x00\x03\x01\x00\x00\x00\x00\x00\x00\x00\x02\xff\xff\xff\xff\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, program []byte) {
		m := newModel(24 << 20)
		for len(program) >= 9 {
			op, arg := program[0], binary.LittleEndian.Uint64(program[1:])
			program = program[9:]
			near := arg
			if len(m.order) > 0 && op&0x80 != 0 {
				near = m.order[arg%uint64(len(m.order))] + arg>>8
			}
			switch op % 4 {
			case 0:
				m.alloc(t, int(int32(arg)))
			case 1:
				if len(m.order) > 0 {
					m.free(t, int(arg%uint64(len(m.order))))
				}
			case 2:
				m.freeWrong(t, near)
			case 3:
				m.mapRange(t, near, int(int32(arg>>32)))
			}
			m.check(t)
		}
		m.close(t)
	})
}
