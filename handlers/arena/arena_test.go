package arena

import (
	"errors"
	"math"
	"os"
	"sync"
	"testing"
)

const page = 4096

func TestMain(m *testing.M) {
	if os.Getpagesize() != page {
		// The arithmetic below is written out for this size.
		os.Stderr.WriteString("arena: tests skipped: they are written for 4 KiB pages\n")
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func alloc(t *testing.T, a *Arena, n int) uint64 {
	t.Helper()
	addr, err := a.Alloc(n)
	if err != nil {
		t.Fatalf("Alloc(%d): %v", n, err)
	}
	return addr
}

func free(t *testing.T, a *Arena, addr uint64) {
	t.Helper()
	if err := a.Free(addr); err != nil {
		t.Fatalf("Free: %v", err)
	}
}

func TestAllocIsPageAlignedAndWholePages(t *testing.T) {
	a := New(Options{})
	for _, tc := range []struct{ n, whole int }{
		{1, page}, {page, page}, {page + 1, 2 * page}, {3 * page, 3 * page},
		{1 << 20, 1 << 20}, {4 << 20, 4 << 20}, {4<<20 + 1, 4<<20 + page}, {9 << 20, 9 << 20},
	} {
		addr := alloc(t, a, tc.n)
		if addr%page != 0 {
			t.Errorf("Alloc(%d) = %#x: not page aligned", tc.n, addr)
		}
		if got := a.Stats().LiveBytes; got != int64(tc.whole) {
			t.Errorf("Alloc(%d): %d bytes live, want %d", tc.n, got, tc.whole)
		}
		b := a.Bytes(addr, tc.whole)
		b[0], b[len(b)-1] = 1, 1 // all of it is there
		if _, err := a.Map(addr, tc.whole); err != nil {
			t.Errorf("Map of all of Alloc(%d): %v", tc.n, err)
		}
		if _, err := a.Map(addr, tc.whole+1); !errors.Is(err, ErrFault) {
			t.Errorf("Map past the end of Alloc(%d): %v, want ErrFault", tc.n, err)
		}
		free(t, a, addr)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
}

func TestAllocRefusesSizes(t *testing.T) {
	a := New(Options{})
	for _, n := range []int{0, -1, math.MinInt, math.MaxInt, math.MaxInt - page} {
		if addr, err := a.Alloc(n); err == nil {
			t.Errorf("Alloc(%d) = %#x, want an error", n, addr)
		}
	}
	if st := a.Stats(); st != (Stats{}) {
		t.Errorf("after refusals: %+v", st)
	}
}

func TestMaxBytes(t *testing.T) {
	a := New(Options{MaxBytes: 3 * page})
	one := alloc(t, a, page)
	two := alloc(t, a, page+1)
	if _, err := a.Alloc(1); !errors.Is(err, ErrNoMemory) {
		t.Errorf("beyond the limit: %v, want ErrNoMemory", err)
	}
	free(t, a, two)
	if _, err := a.Alloc(3 * page); !errors.Is(err, ErrNoMemory) {
		t.Errorf("beyond the limit: %v, want ErrNoMemory", err)
	}
	two = alloc(t, a, 2*page)
	free(t, a, one)
	free(t, a, two)
	if st := a.Stats(); st.PeakBytes != 3*page || st.Live != 0 || st.LiveBytes != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

// A wrong Free is an error and leaves what is live alone.
func TestFreeRefusesWhatIsNotLive(t *testing.T) {
	a := New(Options{})
	small, large := alloc(t, a, 3*page), alloc(t, a, 8<<20)
	freed, freedLarge := alloc(t, a, page), alloc(t, a, 5<<20)
	free(t, a, freed)
	free(t, a, freedLarge)
	for name, addr := range map[string]uint64{
		"zero":                     0,
		"the last address":         math.MaxUint64,
		"inside, page aligned":     small + page,
		"inside, unaligned":        small + 1,
		"inside a large one":       large + page,
		"freed before":             freed,
		"large and freed before":   freedLarge,
		"a slot nobody asked for":  small + 4*page,
		"before the first mapping": min(small, large) - page,
	} {
		if err := a.Free(addr); !errors.Is(err, ErrNotAllocated) {
			t.Errorf("%s: %v, want ErrNotAllocated", name, err)
		}
	}
	if st := a.Stats(); st.Live != 2 {
		t.Fatalf("%d live, want 2", st.Live)
	}
	free(t, a, small)
	free(t, a, large)
	if err := a.Free(small); !errors.Is(err, ErrNotAllocated) {
		t.Errorf("double free: %v, want ErrNotAllocated", err)
	}
}

// Rule R52: what can't be mapped is EFAULT, whatever the peer sends.
func TestMapRefusesHostileRanges(t *testing.T) {
	a := New(Options{})
	p, next := alloc(t, a, 3*page), alloc(t, a, 3*page)
	if next != p+4*page {
		t.Fatalf("the test wants neighbours, got %#x and %#x", p, next)
	}
	for _, tc := range []struct {
		name string
		addr uint64
		n    int
		ok   bool
	}{
		{"all", p, 3 * page, true},
		{"inside", p + 5, 100, true},
		{"to the end", p + 2*page, page, true},
		{"nothing", p, 0, true},
		{"past the end", p, 3*page + 1, false},
		{"into the slot's slack", p + 3*page, 1, false},
		{"across two allocations", p, 5 * page, false},
		{"negative", p, -1, false},
		{"huge", p, math.MaxInt, false},
		{"wraps around", math.MaxUint64 - 10, 100, false},
		{"zero page", 0, page, false},
		{"the free rest of the slab", p + 8*page, page, false},
		{"nothing nowhere", 0, 0, false},
	} {
		b, err := a.Map(tc.addr, tc.n)
		if tc.ok && (err != nil || len(b) != tc.n) {
			t.Errorf("%s: %d bytes, %v", tc.name, len(b), err)
		}
		if !tc.ok && !errors.Is(err, ErrFault) {
			t.Errorf("%s: %v, want ErrFault", tc.name, err)
		}
	}
	copy(a.Bytes(p+5, 3), "abc")
	if b, _ := a.Map(p+5, 3); string(b) != "abc" {
		t.Errorf("Map and Bytes see different memory: %q", b)
	}
}

// Thousands of small buffers share few mappings, and give them back.
func TestSlabsAreSharedAndGivenBack(t *testing.T) {
	a := New(Options{})
	var addrs []uint64
	for range 4 * maxSlots {
		addrs = append(addrs, alloc(t, a, page))
	}
	if st := a.Stats(); st.Slabs != 4 || st.MappedBytes != 4*slabSize {
		t.Errorf("%d buffers of a page: %+v, want 4 slabs", len(addrs), st)
	}
	for _, addr := range addrs {
		free(t, a, addr)
	}
	st := a.Stats()
	if st.Slabs != 0 || st.SpareBytes != slabSize || st.MappedBytes != slabSize {
		t.Errorf("all freed: %+v, want one spare and nothing else", st)
	}
	// Another class takes the spare over.
	addr := alloc(t, a, 2<<20)
	if st := a.Stats(); st.SpareBytes != 0 || st.MappedBytes != slabSize {
		t.Errorf("the spare isn't used: %+v", st)
	}
	free(t, a, addr)
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if st := a.Stats(); st.MappedBytes != 0 {
		t.Errorf("mapped after Close: %+v", st)
	}
}

func TestFreedSlotIsReusedFirst(t *testing.T) {
	a := New(Options{})
	first := alloc(t, a, page)
	second := alloc(t, a, page)
	free(t, a, first)
	if again := alloc(t, a, page); again != first {
		t.Errorf("got %#x, want the lowest free slot %#x", again, first)
	}
	free(t, a, second)
}

// Close doesn't pull memory from under those who still use it.
func TestCloseLeavesLiveAllocations(t *testing.T) {
	a := New(Options{})
	small, large := alloc(t, a, page), alloc(t, a, 5<<20)
	if err := a.Close(); !errors.Is(err, ErrLive) {
		t.Fatalf("Close: %v, want ErrLive", err)
	}
	a.Bytes(small, 1)[0] = 1
	a.Bytes(large, 5<<20)[5<<20-1] = 1
	if _, err := a.Alloc(page); !errors.Is(err, ErrClosed) {
		t.Errorf("Alloc after Close: %v, want ErrClosed", err)
	}
	free(t, a, small)
	free(t, a, large)
	if st := a.Stats(); st.MappedBytes != 0 || st.Live != 0 {
		t.Errorf("after the last Free: %+v", st)
	}
	if err := a.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
}

func TestConcurrentUseNeverOverlaps(t *testing.T) {
	a := New(Options{})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			mine := byte(g + 1)
			for i := range 300 {
				n := page << (i % 5)
				if i%50 == 0 {
					n = 5 << 20
				}
				addr, err := a.Alloc(n)
				if err != nil {
					t.Error(err)
					return
				}
				b := a.Bytes(addr, n)
				for o := 0; o < n; o += page {
					b[o] = mine
				}
				m, err := a.Map(addr, n)
				if err != nil {
					t.Error(err)
				}
				for o := 0; o < n; o += page {
					if m[o] != mine {
						t.Errorf("goroutine %d sees the bytes of %d", g, m[o]-1)
						return
					}
				}
				if err := a.Free(addr); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	if st := a.Stats(); st.MappedBytes != 0 || st.LiveBytes != 0 {
		t.Errorf("at the end: %+v", st)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	a := New(Options{})
	keep := alloc(t, a, page)
	for _, n := range []int{page, 64 << 10, 4 << 20, 5 << 20} {
		if got := testing.AllocsPerRun(100, func() {
			addr, err := a.Alloc(n)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := a.Map(addr, n); err != nil {
				t.Fatal(err)
			}
			a.Bytes(addr, n)[0] = 1
			if err := a.Free(addr); err != nil {
				t.Fatal(err)
			}
		}); got > 0 {
			t.Errorf("%d bytes: %v Go allocations per Alloc, Map, Free", n, got)
		}
	}
	free(t, a, keep)
}
