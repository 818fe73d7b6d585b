package sgv

import (
	"errors"
	"testing"
	"time"
)

// Fact 33: most recently used first, in each class.
func TestFact33LastInFirstOut(t *testing.T) {
	p := New(Options{})
	a, b, c := &owner{name: "a"}, &owner{name: "b"}, &owner{name: "c"}
	other := &owner{name: "other class"}
	park(t, p, page, a, b)
	park(t, p, 8*page, other)
	park(t, p, page, c)
	for _, want := range []*owner{c, b, a} {
		o, hit := p.Get(page, true)
		if !hit || o.Owner != want {
			t.Fatalf("got %v (hit %v), want %s", o.Owner, hit, want.name)
		}
	}
	if _, hit := p.Get(page, true); hit {
		t.Error("a fourth hit")
	}
	o, _ := p.Get(8*page, true)
	if o.Owner != other {
		t.Error("the other class's object is not where it was")
	}
}

// An object that nobody filled leaves no trace: its owner-to-be failed.
func TestPutEmpty(t *testing.T) {
	p := New(Options{})
	for _, o := range []*Object{p.GetEmpty(page), func() *Object { o, _ := p.Get(page, true); return o }()} {
		p.Put(o, true)
	}
	if _, hit := p.Get(page, true); hit {
		t.Error("an empty object was kept")
	}
	expectStats(t, p, Stats{})
}

// GetEmpty does not take an idle object: PREALLOC_BUFFER adds to them.
func TestR38GetEmptyLeavesIdleObjectsAlone(t *testing.T) {
	p := New(Options{})
	a, b := &owner{name: "a"}, &owner{name: "b"}
	park(t, p, page, a)
	park(t, p, page, b)
	expectStats(t, p, Stats{IdleObjects: 2, IdlePages: 2, TotalPages: 2, Filled: 2})
	p.Close()
	a.expect(t, 1, 1)
	b.expect(t, 1, 1)
}

// Rule R38: a prealloc buffer above the limit is not cached and goes back at once.
func TestR38BigPreallocIsNotKept(t *testing.T) {
	p := New(Options{})
	w := &owner{name: "w"}
	park(t, p, 16<<20, w)
	w.expect(t, 1, 1)
	expectStats(t, p, Stats{Big: 1, Filled: 1, Destroyed: 1})
}

// keep=false is for buffers whose owner is going away.
func TestPutNotKept(t *testing.T) {
	p := New(Options{})
	w := &owner{name: "w"}
	p.Put(filled(t, p, page, w), false)
	w.expect(t, 1, 1)
	expectStats(t, p, Stats{Filled: 1, Destroyed: 1})
}

func TestMaxPages(t *testing.T) {
	var j journal
	p := New(Options{MaxPages: 8})
	a, b, c := j.owner("a"), j.owner("b"), j.owner("c")
	park(t, p, 2*page, a, b)
	park(t, p, 2*page, c)

	// 6 pages idle, 2 free: 4 more need one victim, the oldest.
	d := j.owner("d")
	o := filled(t, p, 4*page, d)
	j.expect(t, "a")
	expectStats(t, p, Stats{IdleObjects: 2, IdlePages: 4, TotalPages: 8, Filled: 4, Destroyed: 1})

	// 8 do not fit even if all that is idle went: nothing goes.
	e := j.owner("e")
	empty := p.GetEmpty(8 * page)
	if err := p.Fill(empty, e, nil); !errors.Is(err, ErrNoMemory) {
		t.Fatalf("got %v, want ErrNoMemory", err)
	}
	if empty.Owner != nil || empty.Data != nil {
		t.Error("the refused object is not empty")
	}
	e.expect(t, 0, 0)
	j.expect(t)
	expectStats(t, p, Stats{IdleObjects: 2, IdlePages: 4, TotalPages: 8, Filled: 4, Destroyed: 1, Refused: 1})

	// Once the 4 pages are back all that is idle makes room, the oldest first.
	p.Put(o, true)
	if err := p.Fill(empty, e, nil); err != nil {
		t.Fatal(err)
	}
	j.expect(t, "b", "c", "d")
	expectStats(t, p, Stats{TotalPages: 8, Filled: 5, Destroyed: 4, Refused: 1})
	p.Put(empty, true)
	p.Close()
	j.expect(t, "e")
}

// One-use objects count for the limit while they are in use.
func TestMaxPagesCountsOneUse(t *testing.T) {
	p := New(Options{MaxPages: 3})
	w := &owner{name: "w"}
	o, _ := p.Get(3*page, false)
	if err := p.Fill(o, w, nil); err != nil {
		t.Fatal(err)
	}
	next, _ := p.Get(1, false)
	if err := p.Fill(next, w, nil); !errors.Is(err, ErrNoMemory) {
		t.Errorf("got %v, want ErrNoMemory", err)
	}
	p.Put(o, true)
	if err := p.Fill(next, w, nil); err != nil {
		t.Errorf("after the first was put back: %v", err)
	}
	p.Put(next, true)
	w.expect(t, 2, 2)
}

func TestMaxIdlePages(t *testing.T) {
	var j journal
	p := New(Options{MaxIdlePages: 4})
	park(t, p, page, j.owner("a"), j.owner("b"), j.owner("c"))
	j.expect(t)
	park(t, p, 2*page, j.owner("d")) // 5 pages: the oldest goes
	j.expect(t, "a")
	park(t, p, 4*page, j.owner("e")) // 8: all older ones go
	j.expect(t, "b", "c", "d")
	park(t, p, 8*page, j.owner("f")) // larger than the limit: the others stay
	j.expect(t, "f")
	expectStats(t, p, Stats{IdleObjects: 1, IdlePages: 4, TotalPages: 4, Filled: 6, Destroyed: 5})
	p.Close()
	j.expect(t, "e")
}

// Fact 35: a flush goes by ascending size class. It leaves buffers in use.
func TestFact35FlushInOrderOfClass(t *testing.T) {
	var j journal
	p := New(Options{})
	park(t, p, 16*page, j.owner("16"))
	park(t, p, page, j.owner("1a"), j.owner("1b"))
	park(t, p, 4<<20, j.owner("1024"))
	park(t, p, 2*page, j.owner("2"))
	used := filled(t, p, page, j.owner("in use"))
	if n := p.Flush(); n != 5 {
		t.Errorf("Flush = %d, want 5", n)
	}
	j.expect(t, "1b", "1a", "2", "16", "1024")
	expectStats(t, p, Stats{TotalPages: 1, Filled: 6, Destroyed: 5})
	if n := p.Flush(); n != 0 {
		t.Errorf("a second Flush = %d, want 0", n)
	}
	p.Put(used, true)
	if n := p.Flush(); n != 1 {
		t.Errorf("Flush of what was in use = %d, want 1", n)
	}
	j.expect(t, "in use")
}

// A flush is bounded: owners that bring new buffers for those they lose do not
// keep it going.
func TestFlushEndsWhileOwnersRefill(t *testing.T) {
	p := New(Options{})
	lost := 0
	var refill func()
	refill = func() {
		lost++
		park(t, p, page, &owner{name: "again", onDestroyed: refill})
	}
	park(t, p, page, &owner{name: "a", onDestroyed: refill}, &owner{name: "b", onDestroyed: refill})
	if n := p.Flush(); n != 2 || lost != 2 {
		t.Errorf("Flush = %d and %d owners told, want 2 and 2", n, lost)
	}
	expectStats(t, p, Stats{IdleObjects: 2, IdlePages: 2, TotalPages: 2, Filled: 4, Destroyed: 2})
}

// Owners are told without the lock: they may use the pool.
func TestOwnersMayCallThePool(t *testing.T) {
	for _, tc := range []struct {
		name string
		opt  Options
		do   func(p *Pool, c *clock)
	}{
		{"flush", Options{}, func(p *Pool, _ *clock) { p.Flush() }},
		{"close", Options{}, func(p *Pool, _ *clock) { p.Close() }},
		{"purge", Options{}, func(_ *Pool, c *clock) { c.tick(); c.tick() }},
		{"put, not kept", Options{}, func(p *Pool, _ *clock) {
			o, _ := p.Get(page, true)
			p.Put(o, false)
		}},
		{"put above the idle limit", Options{MaxIdlePages: 1}, func(p *Pool, _ *clock) {
			park(t, p, page, &owner{name: "new"})
		}},
		{"fill above the limit", Options{MaxPages: 1}, func(p *Pool, _ *clock) {
			p.Put(filled(t, p, page, &owner{name: "new"}), true)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := &clock{}
			tc.opt.AfterFunc = c.after
			p := New(tc.opt)
			w := &owner{name: "w", onDestroyed: func() {
				if s := p.Stats(); s.Leaving != 1 {
					t.Errorf("%d objects are leaving, want 1", s.Leaving)
				}
				o, _ := p.Get(page, true)
				p.Put(o, true)
				p.Flush()
			}}
			park(t, p, page, w)
			tc.do(p, c)
			w.expect(t, 1, 1)
			if s := p.Stats(); s.Leaving != 0 {
				t.Errorf("%d objects are still leaving", s.Leaving)
			}
		})
	}
}

// After Close nothing is kept, and objects in use find their way home.
func TestClose(t *testing.T) {
	c := &clock{}
	p := New(Options{Name: "disk1", AfterFunc: c.after})
	if p.Name() != "disk1" {
		t.Errorf("the name is %q", p.Name())
	}
	idle, used, late := &owner{name: "idle"}, &owner{name: "used"}, &owner{name: "late"}
	park(t, p, page, idle)
	o := filled(t, p, page, used)
	p.Close()
	idle.expect(t, 1, 1)
	used.expect(t, 1, 0)
	if n := c.due(); n != 0 {
		t.Errorf("%d timers after Close", n)
	}
	p.Put(o, true)
	used.expect(t, 1, 1)
	p.Put(filled(t, p, page, late), true)
	late.expect(t, 1, 1)
	if n := c.due(); n != 0 {
		t.Errorf("%d timers after Close and Put", n)
	}
	p.Close()
	expectStats(t, p, Stats{Name: "disk1", Filled: 3, Destroyed: 3})
}

// A timer that Close came too late to stop does nothing.
func TestPurgeAfterClose(t *testing.T) {
	var f func()
	p := New(Options{AfterFunc: func(_ time.Duration, g func()) func() bool {
		f = g
		return func() bool { return false }
	}})
	park(t, p, page, &owner{name: "w"})
	p.Close()
	f()
	expectStats(t, p, Stats{Filled: 1, Destroyed: 1})
}

// Who puts an object back twice would hand it to two commands (I3).
func TestI3MisuseIsStopped(t *testing.T) {
	p := New(Options{})
	for _, tc := range []struct {
		name string
		do   func()
	}{
		{"Put of an idle object", func() {
			o := filled(t, p, page, &owner{name: "w"})
			p.Put(o, true)
			p.Put(o, true)
		}},
		{"Put of a destroyed object", func() {
			o := filled(t, p, page, &owner{name: "w"})
			p.Put(o, false)
			p.Put(o, false)
		}},
		{"Put of an empty object, twice", func() {
			o := p.GetEmpty(page)
			p.Put(o, true)
			p.Put(o, true)
		}},
		{"Fill of an idle object", func() {
			o := filled(t, p, page, &owner{name: "w"})
			p.Put(o, true)
			_ = p.Fill(o, &owner{name: "x"}, nil)
		}},
		{"Fill of a full object", func() {
			_ = p.Fill(filled(t, p, page, &owner{name: "w"}), &owner{name: "x"}, nil)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p = New(Options{PurgeInterval: -1})
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			tc.do()
		})
	}
}

func TestStatsOfClasses(t *testing.T) {
	p := New(Options{})
	defer p.Close()
	w := &owner{name: "w"}
	park(t, p, 4*page, w) // an allocation
	for range 3 {
		o, _ := p.Get(4*page, true) // hits
		p.Put(o, true)
	}
	o, _ := p.Get(page, true) // an allocation, of another class
	p.Put(o, true)
	got := p.Stats().Classes
	want := []ClassStats{{Pages: 1, Allocs: 1}, {Pages: 4, Allocs: 1, Hits: 3, Idle: 1}}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %+v, want %+v", got, want)
	}
	single := New(Options{SinglePages: 5})
	single.Put(single.GetEmpty(1), false)
	if got := single.Stats().Classes; len(got) != 1 || got[0].Pages != 5 {
		t.Errorf("a single-size pool has the classes %+v", got)
	}
}
