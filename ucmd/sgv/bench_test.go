package sgv

import "testing"

// nobody is an owner that does nothing.
type nobody struct{}

func (*nobody) SGVMapped()    {}
func (*nobody) SGVDestroyed() {}

// BenchmarkHit is what a command costs whose buffer is there.
func BenchmarkHit(b *testing.B) {
	p := New(Options{PurgeInterval: -1})
	park(b, p, page, &owner{name: "w"})
	b.ReportAllocs()
	for b.Loop() {
		o, hit := p.Get(page, true)
		if !hit {
			b.Fatal("no hit")
		}
		p.Put(o, true)
	}
}

// BenchmarkHitParallel is the same from every processor at once.
func BenchmarkHitParallel(b *testing.B) {
	p := New(Options{PurgeInterval: -1})
	var ws []*owner
	for range 64 {
		ws = append(ws, &owner{name: "w"})
	}
	park(b, p, page, ws...)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			o, _ := p.Get(page, true)
			p.Put(o, true)
		}
	})
}

// BenchmarkUncached is what a command costs whose buffer is not kept.
func BenchmarkUncached(b *testing.B) {
	p := New(Options{})
	data := make([]byte, page)
	w := &nobody{}
	b.ReportAllocs()
	for b.Loop() {
		o, _ := p.Get(page, false)
		if err := p.Fill(o, w, data); err != nil {
			b.Fatal(err)
		}
		p.Put(o, false)
	}
}

// BenchmarkEvict is a cached command whose buffer drives out another.
func BenchmarkEvict(b *testing.B) {
	p := New(Options{MaxIdlePages: 1, PurgeInterval: -1})
	data := make([]byte, page)
	w := &nobody{}
	b.ReportAllocs()
	for b.Loop() {
		o := p.GetEmpty(page)
		if err := p.Fill(o, w, data); err != nil {
			b.Fatal(err)
		}
		p.Put(o, true)
	}
}

// In steady state nothing is allocated, cached and uncached.
func TestNoAllocations(t *testing.T) {
	p := New(Options{PurgeInterval: -1})
	data := make([]byte, page)
	w := &nobody{}
	for _, tc := range []struct {
		name string
		do   func()
	}{
		{"hit", func() {
			o, _ := p.Get(page, true)
			if o.Owner == nil {
				_ = p.Fill(o, w, data)
			}
			p.Put(o, true)
		}},
		{"miss, fill and destroy", func() {
			o, _ := p.Get(8*page, true)
			_ = p.Fill(o, w, data)
			p.Put(o, false)
		}},
		{"uncached", func() {
			o, _ := p.Get(page, false)
			_ = p.Fill(o, w, data)
			p.Put(o, false)
		}},
		{"flush", func() {
			o, _ := p.Get(page, true)
			if o.Owner == nil {
				_ = p.Fill(o, w, data)
			}
			p.Put(o, true)
			p.Flush()
		}},
	} {
		if n := testing.AllocsPerRun(100, tc.do); n != 0 {
			t.Errorf("%s: %v allocations", tc.name, n)
		}
	}
}
