package arena

import "testing"

// A pinned allocation is not handed out again nor unmapped, whoever frees it,
// and its neighbours are free to go.
func TestPinnedIsNeverReused(t *testing.T) {
	for _, size := range []int{page, 2 * slabSize} {
		a := New(Options{})
		pinned, other := alloc(t, a, size), alloc(t, a, size)
		a.Pin(pinned)
		for range 2 {
			if err := a.Free(pinned); err != nil {
				t.Errorf("Free of a pinned allocation: %v", err)
			}
		}
		if err := a.Free(other); err != nil {
			t.Error(err)
		}
		seen := map[uint64]bool{}
		for range 3 * slabSize / page {
			addr := alloc(t, a, page)
			if addr >= pinned && addr < pinned+uint64(size) || seen[addr] {
				t.Fatalf("%#x is handed out again", addr)
			}
			seen[addr] = true
		}
		b, err := a.Map(pinned, size)
		if err != nil {
			t.Fatal(err)
		}
		b[0], b[size-1] = 1, 1 // still mapped
		if st := a.Stats(); st.Live != int64(1+len(seen)) {
			t.Errorf("%d live allocations, want %d", st.Live, 1+len(seen))
		}
	}
}

// What is not the start of a live allocation can't be pinned: it may become
// somebody's later.
func TestPinIgnoresWhatIsNotLive(t *testing.T) {
	a := New(Options{})
	addr, large := alloc(t, a, 2*page), alloc(t, a, 2*slabSize)
	a.Pin(addr + page)
	a.Pin(large + page)
	a.Pin(12345)
	if err := a.Free(addr); err != nil {
		t.Fatal(err)
	}
	a.Pin(addr)
	if again := alloc(t, a, 2*page); again != addr {
		t.Fatalf("got %#x, want the freed %#x", again, addr)
	}
	for _, x := range []uint64{addr, large} {
		if err := a.Free(x); err != nil {
			t.Error(err)
		}
	}
	if st := a.Stats(); st.Live != 0 {
		t.Errorf("%d live allocations", st.Live)
	}
}
