package sgv

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// owner counts what it is told.
type owner struct {
	name              string
	mapped, destroyed atomic.Int32
	// onDestroyed, if set, is called from SGVDestroyed.
	onDestroyed func()
}

func (w *owner) SGVMapped() { w.mapped.Add(1) }

func (w *owner) SGVDestroyed() {
	w.destroyed.Add(1)
	if w.onDestroyed != nil {
		w.onDestroyed()
	}
}

// expect checks how often the owner was told each.
func (w *owner) expect(t *testing.T, mapped, destroyed int32) {
	t.Helper()
	if m, d := w.mapped.Load(), w.destroyed.Load(); m != mapped || d != destroyed {
		t.Errorf("owner %s: mapped %d times, destroyed %d times, want %d and %d", w.name, m, d, mapped, destroyed)
	}
}

// journal names owners in the order in which they lose their objects.
type journal []string

func (j *journal) owner(name string) *owner {
	return &owner{name: name, onDestroyed: func() { *j = append(*j, name) }}
}

func (j *journal) expect(t *testing.T, want ...string) {
	t.Helper()
	if fmt.Sprint([]string(*j)) != fmt.Sprint(want) {
		t.Errorf("destroyed %v, want %v", *j, want)
	}
	*j = nil
}

// filled gets an empty object for n bytes and fills it.
func filled(t testing.TB, p *Pool, n int, w *owner) *Object {
	t.Helper()
	o := p.GetEmpty(n)
	if err := p.Fill(o, w, make([]byte, p.AllocLen(n))); err != nil {
		t.Fatalf("Fill of %d bytes: %v", n, err)
	}
	return o
}

// park makes idle objects, one for each owner, the first one the oldest.
func park(t testing.TB, p *Pool, n int, owners ...*owner) {
	t.Helper()
	var os []*Object
	for _, w := range owners {
		os = append(os, filled(t, p, n, w))
	}
	for _, o := range os {
		p.Put(o, true)
	}
}

// expectStats compares the counters, but for the classes' own.
func expectStats(t *testing.T, p *Pool, want Stats) {
	t.Helper()
	got := p.Stats()
	got.Classes = nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("stats are\n%+v, want\n%+v", got, want)
	}
}

// clock is an AfterFunc whose time passes when the test says so.
type clock struct {
	timers []*timer
}

type timer struct {
	d       time.Duration
	f       func()
	stopped bool
}

func (c *clock) after(d time.Duration, f func()) func() bool {
	x := &timer{d: d, f: f}
	c.timers = append(c.timers, x)
	return func() bool {
		was := !x.stopped
		x.stopped = true
		return was
	}
}

// tick lets the timers that are set run out.
func (c *clock) tick() {
	now := c.timers
	c.timers = nil
	for _, x := range now {
		if !x.stopped {
			x.f()
		}
	}
}

// due is how many timers are set.
func (c *clock) due() int {
	n := 0
	for _, x := range c.timers {
		if !x.stopped {
			n++
		}
	}
	return n
}

const (
	page  = PageSize
	pages = PageSize // "4 * pages" reads better
)
