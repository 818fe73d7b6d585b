package sgv

import (
	"testing"
	"testing/synctest"
	"time"
)

// Rule R63: after one to two intervals of idleness. All that is checked once
// per interval, from when the first object became idle.
func TestR63PurgeBetweenOneAndTwoIntervals(t *testing.T) {
	var j journal
	c := &clock{}
	p := New(Options{PurgeInterval: time.Minute, AfterFunc: c.after})
	if c.due() != 0 {
		t.Error("a timer runs for an empty pool")
	}
	park(t, p, page, j.owner("first"))
	if c.due() != 1 || c.timers[0].d != time.Minute {
		t.Fatalf("timers: %+v", c.timers)
	}
	park(t, p, 2*page, j.owner("second"))
	if c.due() != 1 {
		t.Errorf("%d timers for two objects", c.due())
	}
	c.tick() // both have been idle for one interval at most
	j.expect(t)
	park(t, p, page, j.owner("third"))
	c.tick() // the first two for more than one
	j.expect(t, "first", "second")
	c.tick()
	j.expect(t, "third")
	if c.due() != 0 {
		t.Error("a timer runs though nothing is idle")
	}
	park(t, p, page, j.owner("fourth"))
	c.tick()
	j.expect(t)
	c.tick()
	j.expect(t, "fourth")
}

// What is used is not idle: its time starts again.
func TestR63UseStartsTheIntervalAgain(t *testing.T) {
	var j journal
	c := &clock{}
	p := New(Options{AfterFunc: c.after})
	park(t, p, page, j.owner("unused"), j.owner("used"))
	c.tick()
	o, hit := p.Get(page, true)
	if !hit || o.Owner.(*owner).name != "used" {
		t.Fatal("no hit")
	}
	p.Put(o, true)
	c.tick()
	j.expect(t, "unused")
	c.tick()
	j.expect(t, "used")
}

// A buffer in use when the timer runs out is nothing to the purge, and a timer is
// there again when it is put back.
func TestPurgeWhileInUse(t *testing.T) {
	var j journal
	c := &clock{}
	p := New(Options{AfterFunc: c.after})
	park(t, p, page, j.owner("w"))
	o, _ := p.Get(page, true)
	c.tick()
	if c.due() != 0 {
		t.Error("a timer runs though nothing is idle")
	}
	p.Put(o, true)
	if c.due() != 1 {
		t.Error("no timer runs for the idle object")
	}
	c.tick()
	c.tick()
	j.expect(t, "w")
}

// A negative interval disables the purge (rule R63).
func TestR63NegativeIntervalNeverPurges(t *testing.T) {
	c := &clock{}
	p := New(Options{PurgeInterval: -1, AfterFunc: c.after})
	w := &owner{name: "w"}
	park(t, p, page, w)
	if len(c.timers) != 0 {
		t.Error("a timer was started")
	}
	w.expect(t, 1, 0)
}

// The same with the real timer, in the time of a bubble.
func TestR63Defaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Options{})
		w := &owner{name: "w"}
		park(t, p, page, w)
		time.Sleep(DefaultPurgeInterval - 1)
		w.expect(t, 1, 0)
		time.Sleep(DefaultPurgeInterval + 2)
		synctest.Wait()
		w.expect(t, 1, 1)

		stopped := &owner{name: "stopped"}
		park(t, p, page, stopped)
		p.Close() // or the timer would outlive the bubble
		stopped.expect(t, 1, 1)
	})
}
