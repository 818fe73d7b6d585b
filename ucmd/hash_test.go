package ucmd

import (
	"fmt"
	"testing"
)

// bareDevice is one without anything but its hash.
func bareDevice() *Device { return &Device{hash: make([]*Ucmd, hashSize)} }

// Commands are found at any number of them: the hash grows, and no bucket has
// more than a few.
func TestHashGrows(t *testing.T) {
	d := bareDevice()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.nextH = 1<<32 - 5000 // it wraps
	var us []*Ucmd
	for i := range 10_000 {
		u := d.newUcmd(StateNew)
		us = append(us, u)
		if i%7 == 3 { // some go at once
			d.put(u, OwnerCreation)
			us = us[:len(us)-1]
		}
	}
	if d.count != len(us) || len(d.hash) < d.count {
		t.Fatalf("%d ucmds, want %d, in %d buckets", d.count, len(us), len(d.hash))
	}
	for _, u := range us {
		if d.find(u.h) != u {
			t.Fatalf("h=%d is not found", u.h)
		}
	}
	seen, longest := 0, 0
	for i := range d.hash {
		n := 0
		var prev *Ucmd
		for u := d.hash[i]; u != nil; prev, u = u, u.hashNext {
			if u.hashPrev != prev {
				t.Fatalf("h=%d: the one before it in bucket %d is another", u.h, i)
			}
			n++
		}
		seen, longest = seen+n, max(longest, n)
	}
	if seen != len(us) || longest > 4 {
		t.Errorf("%d ucmds in buckets, want %d; %d in one of them", seen, len(us), longest)
	}
	for _, u := range us {
		h := u.h
		d.put(u, OwnerCreation)
		if d.find(h) != nil {
			t.Fatalf("h=%d is still there", h)
		}
	}
}

// A walk over the buckets that lets go of the lock sees everybody who is there
// all the time, however much the hash grows meanwhile.
func TestHashGrowsDuringAWalk(t *testing.T) {
	d := bareDevice()
	d.mu.Lock()
	defer d.mu.Unlock()
	there := map[*Ucmd]bool{}
	for range hashSize {
		there[d.newUcmd(StateNew)] = true
	}
	for i := 0; i < len(d.hash); i++ {
		for u := d.hash[i]; u != nil; u = u.hashNext {
			delete(there, u)
		}
		if i%10 == 0 && len(d.hash) < 1024 {
			for range len(d.hash) {
				d.newUcmd(StateNew)
			}
		}
	}
	if len(there) != 0 {
		t.Errorf("%d of %d were missed", len(there), hashSize)
	}
}

// BenchmarkHash is what it costs to enter a command, to find it and to remove
// it among others.
func BenchmarkHash(b *testing.B) {
	for _, others := range []int{0, 1000, 60_000} {
		b.Run(fmt.Sprintf("others=%d", others), func(b *testing.B) {
			d := bareDevice()
			d.mu.Lock()
			defer d.mu.Unlock()
			for range others {
				d.newUcmd(StateNew)
			}
			b.ReportAllocs()
			for b.Loop() {
				u := d.newUcmd(StateNew)
				if d.find(u.h) != u {
					b.Fatal("not found")
				}
				d.put(u, OwnerCreation)
			}
		})
	}
}
