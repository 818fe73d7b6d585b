package sgv

import (
	"math"
	"testing"
)

// Rule R50: whole pages of the size class, powers of two up to 1024 pages, or
// the one class of a single-size pool; above it, whole pages for one use.
func TestR50AllocLenIsTheClass(t *testing.T) {
	for _, tc := range []struct {
		name         string
		single       int
		n            int
		wantLen      int
		wantReusable bool
	}{
		{"nothing takes a page", 0, 0, 1 * pages, true},
		{"a negative length too", 0, -5000, 1 * pages, true},
		{"one byte", 0, 1, 1 * pages, true},
		{"a page", 0, page, 1 * pages, true},
		{"a byte more", 0, page + 1, 2 * pages, true},
		{"fact 31: 4608 is 8192", 0, 4608, 8192, true},
		{"fact 31: 12288 is 16384", 0, 12288, 16384, true},
		{"fact 31: 20480 is 32768", 0, 20480, 32768, true},
		{"fact 31: 36864 is 65536", 0, 36864, 65536, true},
		{"fact 31: 69632 is 131072", 0, 69632, 131072, true},
		{"fact 31: 135168 is 262144", 0, 135168, 262144, true},
		{"fact 31: 266240 is 524288", 0, 266240, 524288, true},
		{"the largest class", 0, 4 << 20, 4 << 20, true},
		{"just over half of it", 0, 2<<20 + 1, 4 << 20, true},
		{"above the largest class: whole pages", 0, 4<<20 + 1, 4<<20 + page, false},
		{"fact 34: 16 MiB", 0, 16 << 20, 16 << 20, false},
		{"a length that rounding up would overflow", 0, math.MaxInt - page, math.MaxInt - (page - 1), false},
		{"single size: a byte", 3, 1, 3 * pages, true},
		{"single size: all of it", 3, 3 * page, 3 * pages, true},
		{"single size: more", 3, 3*page + 1, 4 * pages, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := New(Options{SinglePages: tc.single})
			if got := p.AllocLen(tc.n); got != tc.wantLen {
				t.Errorf("AllocLen(%d) = %d, want %d", tc.n, got, tc.wantLen)
			}
			w := &owner{name: "w"}
			o, hit := p.Get(tc.n, true)
			if hit {
				t.Error("an empty pool has a hit")
			}
			if err := p.Fill(o, w, nil); err != nil {
				t.Fatal(err)
			}
			if got := p.Stats().TotalPages * PageSize; got != tc.wantLen {
				t.Errorf("%d bytes are accounted for, want %d", got, tc.wantLen)
			}
			p.Put(o, true)
			if got := p.Stats().IdleObjects == 1; got != tc.wantReusable {
				t.Errorf("kept: %v, want %v", got, tc.wantReusable)
			}
			p.Close()
			w.expect(t, 1, 1)
		})
	}
}

// Rule R50: with reuse off a buffer is exactly as long as the command's data;
// it is accounted for in whole pages, not in classes.
func TestR50UncachedTakesNoClass(t *testing.T) {
	p := New(Options{})
	w := &owner{name: "w"}
	o, hit := p.Get(2*page+1, false)
	if hit {
		t.Error("hit")
	}
	if err := p.Fill(o, w, make([]byte, 2*page+1)); err != nil {
		t.Fatal(err)
	}
	expectStats(t, p, Stats{Uncached: 1, Filled: 1, TotalPages: 3})
	p.Put(o, true)
	w.expect(t, 1, 1)
	expectStats(t, p, Stats{Uncached: 1, Filled: 1, Destroyed: 1})
	if len(p.Stats().Classes) != 0 {
		t.Error("an uncached buffer used a class")
	}
}

// Any buffer of a class serves smaller requests of the class (fact 31), and
// no other.
func TestR53AnIdleBufferServesItsClass(t *testing.T) {
	for _, tc := range []struct {
		name    string
		idle, n int
		hit     bool
	}{
		{"the same length", 3 * page, 3 * page, true},
		{"fact 31: 12288 in a buffer of 16384", 16384, 12288, true},
		{"the smallest of the class", 4 * page, 2*page + 1, true},
		{"the class below", 4 * page, 2 * page, false},
		{"the class above", 4 * page, 4*page + 1, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := New(Options{})
			defer p.Close()
			w := &owner{name: "w"}
			park(t, p, tc.idle, w)
			o, hit := p.Get(tc.n, true)
			defer p.Put(o, true)
			if hit != tc.hit {
				t.Fatalf("hit %v, want %v", hit, tc.hit)
			}
			if hit && (o.Owner != w || len(o.Data) != p.AllocLen(tc.idle)) {
				t.Errorf("the hit has %d bytes of %v", len(o.Data), o.Owner)
			}
		})
	}
}

// An uncached request takes no idle buffer: its own must be of the length it
// asked for, and go back with the command.
func TestUncachedRequestsHaveNoHits(t *testing.T) {
	p := New(Options{})
	park(t, p, page, &owner{name: "idle"})
	o, hit := p.Get(page, false)
	if hit || o.Owner != nil {
		t.Error("an uncached request was given an idle buffer")
	}
	p.Put(o, true)
	p.Close()
}
