package sgv

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

// model is what a pool should be: slices and sums.
type model struct {
	opt    Options
	idle   []*modelObject // by age, the oldest first
	used   []*modelObject
	now    int // purges so far
	closed bool
	told   map[string]int // owner -> +1 for mapped, -1 for destroyed
}

type modelObject struct {
	o      *Object
	owner  *modelOwner // nil: empty
	class  int
	pages  int
	idleAt int
}

// modelOwner tells the model.
type modelOwner struct {
	m    *model
	name string
}

func (w *modelOwner) SGVMapped()    { w.m.told[w.name]++ }
func (w *modelOwner) SGVDestroyed() { w.m.told[w.name]-- }

func (m *model) pages(os []*modelObject) int {
	n := 0
	for _, o := range os {
		if o.owner != nil {
			n += o.pages
		}
	}
	return n
}

// hit is the object that a Get of a class gets: the newest idle one.
func (m *model) hit(class int) int {
	for i := len(m.idle) - 1; i >= 0; i-- {
		if m.idle[i].class == class {
			return i
		}
	}
	return -1
}

// alive are the owners whose memory the pool has.
func (m *model) alive() map[string]int {
	l := map[string]int{}
	for _, o := range append(append([]*modelObject(nil), m.idle...), m.used...) {
		if o.owner != nil {
			l[o.owner.name] = 1
		}
	}
	return l
}

// The pool does what the model does, whatever comes: no object is handed out
// twice, owners are told once each, limits hold and the counters agree.
func TestModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := &clock{}
		m := &model{told: map[string]int{}, opt: Options{
			SinglePages:   rapid.SampledFrom([]int{0, 0, 3}).Draw(t, "single pages"),
			MaxPages:      rapid.SampledFrom([]int{0, 12, 40}).Draw(t, "max pages"),
			MaxIdlePages:  rapid.SampledFrom([]int{0, 5, 16}).Draw(t, "max idle pages"),
			PurgeInterval: 1, AfterFunc: c.after,
		}}
		p := New(m.opt)
		fills := 0

		length := rapid.IntRange(0, 9*PageSize)
		get := func(t *rapid.T, cached, empty bool) {
			n := length.Draw(t, "bytes")
			class, pages := p.classOf(n)
			if !cached {
				class, pages = oneUse, pagesOf(n)
			}
			want := -1
			if !empty && class != oneUse {
				want = m.hit(class)
			}
			var o *Object
			hit := false
			if empty {
				o = p.GetEmpty(n)
			} else {
				o, hit = p.Get(n, cached)
			}
			if hit != (want >= 0) {
				t.Fatalf("hit %v, the model has %d", hit, want)
			}
			for _, x := range m.used {
				if x.o == o {
					t.Fatal("an object was handed out twice")
				}
			}
			if !hit {
				if o.Owner != nil || o.Data != nil {
					t.Fatal("an object that is no hit has memory")
				}
				m.used = append(m.used, &modelObject{o: o, class: class, pages: pages})
				return
			}
			x := m.idle[want]
			if x.o != o || o.Owner != x.owner {
				t.Fatalf("got %v's object, want %s's, used last", o.Owner, x.owner.name)
			}
			m.idle = append(m.idle[:want], m.idle[want+1:]...)
			m.used = append(m.used, x)
		}
		evict := func(n int) { m.idle = m.idle[n:] }
		pick := func(t *rapid.T) int {
			if len(m.used) == 0 {
				t.Skip("nothing is in use")
			}
			return rapid.IntRange(0, len(m.used)-1).Draw(t, "object")
		}

		t.Repeat(map[string]func(*rapid.T){
			"get":      func(t *rapid.T) { get(t, true, false) },
			"uncached": func(t *rapid.T) { get(t, false, false) },
			"prealloc": func(t *rapid.T) { get(t, true, true) },
			"fill": func(t *rapid.T) {
				x := m.used[pick(t)]
				if x.owner != nil {
					t.Skip("it has memory")
				}
				fills++
				w := &modelOwner{m: m, name: fmt.Sprint("fill ", fills)}
				fits := m.opt.MaxPages == 0 || m.pages(m.used)+x.pages <= m.opt.MaxPages
				err := p.Fill(x.o, w, nil)
				if (err == nil) != fits || err != nil && !errors.Is(err, ErrNoMemory) {
					t.Fatalf("Fill: %v; fits: %v", err, fits)
				}
				if err != nil {
					return
				}
				x.owner = w
				for m.opt.MaxPages > 0 && m.pages(m.used)+m.pages(m.idle) > m.opt.MaxPages {
					evict(1)
				}
			},
			"put": func(t *rapid.T) {
				i := pick(t)
				x := m.used[i]
				m.used = append(m.used[:i], m.used[i+1:]...)
				keep := rapid.Bool().Draw(t, "keep")
				p.Put(x.o, keep)
				limit := m.opt.MaxIdlePages
				if x.owner == nil || !keep || m.closed || x.class == oneUse || limit > 0 && x.pages > limit {
					return
				}
				x.idleAt = m.now
				m.idle = append(m.idle, x)
				for limit > 0 && m.pages(m.idle) > limit {
					evict(1)
				}
			},
			"flush": func(t *rapid.T) {
				if n := p.Flush(); n != len(m.idle) {
					t.Fatalf("Flush = %d, want %d", n, len(m.idle))
				}
				m.idle = nil
			},
			"time passes": func(*rapid.T) {
				if c.due() == 0 {
					return
				}
				c.tick()
				n := 0
				for n < len(m.idle) && m.idle[n].idleAt < m.now {
					n++
				}
				evict(n)
				m.now++
			},
			"close": func(t *rapid.T) {
				if rapid.IntRange(0, 9).Draw(t, "one in ten") == 0 {
					p.Close()
					m.idle, m.closed = nil, true
				}
			},
			"": func(t *rapid.T) {
				for name, n := range m.told {
					if n != m.alive()[name] {
						t.Fatalf("owner %s: mapped and destroyed differ by %d, want %d", name, n, m.alive()[name])
					}
				}
				checkStats(t, p, m)
				if due, want := c.due() == 1, len(m.idle) > 0; want && !due {
					t.Fatal("objects are idle and no timer runs")
				}
			},
		})
	})
}

// checkStats compares the counters with the model and with each other.
func checkStats(t *rapid.T, p *Pool, m *model) {
	s := p.Stats()
	idle, idlePages := 0, 0
	for _, c := range s.Classes {
		idle += c.Idle
		idlePages += c.Idle * c.Pages
	}
	live := int(s.Filled - s.Destroyed)
	switch {
	case s.IdleObjects != len(m.idle) || s.IdlePages != m.pages(m.idle):
		t.Fatalf("%d objects, %d pages are idle, want %d, %d", s.IdleObjects, s.IdlePages, len(m.idle), m.pages(m.idle))
	case idle != s.IdleObjects || idlePages != s.IdlePages:
		t.Fatalf("the classes have %d objects, %d pages idle, the pool %d, %d", idle, idlePages, s.IdleObjects, s.IdlePages)
	case s.TotalPages != m.pages(m.idle)+m.pages(m.used):
		t.Fatalf("%d pages, want %d", s.TotalPages, m.pages(m.idle)+m.pages(m.used))
	case live != len(m.alive()):
		t.Fatalf("%d objects have memory, want %d", live, len(m.alive()))
	case s.Leaving != 0:
		t.Fatalf("%d objects are leaving", s.Leaving)
	case m.opt.MaxPages > 0 && s.TotalPages > m.opt.MaxPages, m.opt.MaxIdlePages > 0 && s.IdlePages > m.opt.MaxIdlePages:
		t.Fatalf("a limit does not hold: %+v", s)
	}
}
