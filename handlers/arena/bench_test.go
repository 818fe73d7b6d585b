package arena

import (
	"fmt"
	"testing"
)

func BenchmarkAllocFree(b *testing.B) {
	for _, n := range []int{4 << 10, 64 << 10, 1 << 20, 8 << 20} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := New(Options{})
			b.ReportAllocs()
			for b.Loop() {
				addr, err := a.Alloc(n)
				if err != nil {
					b.Fatal(err)
				}
				if err := a.Free(addr); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkMap looks one of 4096 live buffers up, as the host does once per
// command that comes with a buffer of its own.
func BenchmarkMap(b *testing.B) {
	a := New(Options{})
	var addrs []uint64
	for range 4096 {
		addr, err := a.Alloc(4096)
		if err != nil {
			b.Fatal(err)
		}
		addrs = append(addrs, addr)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if _, err := a.Map(addrs[i&4095], 4096); err != nil {
			b.Fatal(err)
		}
		i++
	}
}
