package target

import (
	"fmt"
	"testing"

	"scstuser/scsi"
)

const (
	simple = scsi.QueueSimple
	order  = scsi.QueueOrdered
	head   = scsi.QueueHeadOfQueue
)

// TestTaskAttributes: who may execute beside whom (SAM-5 8.6, fact 22). The
// commands come in this order and stay at exec; started says which got there.
func TestTaskAttributes(t *testing.T) {
	for _, k := range []struct {
		name    string
		queue   []scsi.QueueType
		started []int
		own     bool
	}{
		{"simple beside simple", []scsi.QueueType{simple, simple, simple}, []int{1, 2, 3}, false},
		{"untagged and ACA are simple", []scsi.QueueType{scsi.QueueUntagged, scsi.QueueACA, simple}, []int{1, 2, 3}, false},
		{"ordered waits for older", []scsi.QueueType{simple, order}, []int{1}, false},
		{"simple waits for older ordered", []scsi.QueueType{order, simple}, []int{1}, false},
		{"ordered waits for ordered", []scsi.QueueType{order, order}, []int{1}, false},
		{"all wait for head of queue", []scsi.QueueType{head, simple, order}, []int{1}, false},
		{"head of queue waits for nobody", []scsi.QueueType{simple, order, head, head}, []int{1, 3, 4}, false},
		{"simple does not pass a waiting ordered", []scsi.QueueType{simple, order, simple}, []int{1}, false},
		{"the handler's own order", []scsi.QueueType{simple, order, head, simple}, []int{1, 2, 3, 4}, true},
	} {
		t.Run(k.name, func(t *testing.T) {
			r := newRig(t, Options{OwnOrder: k.own})
			r.h.setKeep(true)
			var cmds []*Cmd
			for i, q := range k.queue {
				cmds = append(cmds, r.submitAs(uint64(i+1), cdbNone, q))
			}
			var want []string
			for i := range k.queue {
				want = append(want, fmt.Sprint("parse ", i+1))
				for _, n := range k.started {
					if n == i+1 {
						want = append(want, fmt.Sprint("exec ", n))
					}
				}
			}
			r.took(want...)
			r.h.release()
			for _, c := range cmds {
				ended(t, c, scsi.Good)
			}
		})
	}
}

// TestOrderedRunsOneByOne: each command that ends lets the next one go, after
// its own response is on its way.
func TestOrderedRunsOneByOne(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	for i := uint64(1); i <= 3; i++ {
		r.submitAs(i, cdbNone, order)
	}
	r.submit(4, cdbNone)
	r.took("parse 1", "exec 1", "parse 2", "parse 3", "parse 4")
	r.h.release()
	r.took("free 1", "exec 2", "free 2", "exec 3", "free 3", "exec 4", "free 4")
	r.responses(1, 2, 3, 4)
}

// TestOrderedWaitsForDataOfOlder: also for one whose data is still to come.
func TestOrderedWaitsForDataOfOlder(t *testing.T) {
	r := newRig(t, Options{})
	r.f.rdy = func(*Cmd) Verdict { return Stop }
	w := r.submit(1, cdbWrite)
	o := r.submitAs(2, cdbNone, order)
	r.took("parse 1", "parse 2")
	w.DataReceived()
	ended(t, w, scsi.Good)
	ended(t, o, scsi.Good)
	r.took("exec 1", "free 1", "exec 2", "free 2")
}

// TestFact22ImplicitHeadOfQueue: parse makes TEST UNIT READY HEAD OF QUEUE; it
// holds back SIMPLE commands that came before it and are not begun.
func TestFact22ImplicitHeadOfQueue(t *testing.T) {
	r := newRig(t, Options{})
	var slow *Cmd
	r.h.alloc = func(c *Cmd) Verdict {
		c.Buf = make([]byte, c.BufLen)
		slow = c
		if r.h.alloc = nil; true {
			return Stop
		}
		return Continue
	}
	read := r.submit(1, cdbRead)
	r.h.setKeep(true)
	unit := r.submit(2, cdbUnitOK)
	slow.AllocDone()
	r.took("parse 1", "parse 2", "exec 2")
	r.h.release()
	ended(t, unit, scsi.Good)
	ended(t, read, scsi.Good)
}

// TestR48QueueTypeChanges: what waited for an attribute goes on when parse
// takes that attribute away. A HEAD OF QUEUE command that becomes ORDERED
// waits for the very commands that waited for it.
func TestR48QueueTypeChanges(t *testing.T) {
	for _, to := range []scsi.QueueType{simple, order} {
		t.Run(to.String(), func(t *testing.T) {
			r := newRig(t, Options{})
			var inParse *Cmd
			r.h.parse = func(c *Cmd) Verdict {
				parseSBC(c)
				if c.Tag == 1 {
					inParse = c
					return Stop
				}
				return Continue
			}
			h := r.submitAs(1, cdbNone, head)
			r.h.setKeep(true)
			s := r.submit(2, cdbNone)
			r.took("parse 1", "parse 2")
			inParse.SetQueueType(to)
			if to == order {
				r.took() // 1 is older and ORDERED now: 2 waits on
				inParse.ParseDone()
				r.took("exec 1")
			} else {
				r.took("exec 2")
				inParse.ParseDone()
				r.took("exec 1")
			}
			r.h.release()
			ended(t, h, scsi.Good)
			ended(t, s, scsi.Good)
		})
	}
	t.Run("older one waits", func(t *testing.T) {
		r := newRig(t, Options{})
		stopped := map[uint64]*Cmd{}
		r.h.parse = func(c *Cmd) Verdict {
			parseSBC(c)
			stopped[c.Tag] = c
			return Stop
		}
		s := r.submit(1, cdbNone)
		h := r.submitAs(2, cdbNone, head)
		stopped[1].ParseDone() // waits for 2
		r.took("parse 1", "parse 2")
		stopped[2].SetQueueType(order) // and now 2 waits for 1
		stopped[2].ParseDone()
		ended(t, s, scsi.Good)
		ended(t, h, scsi.Good)
	})
	t.Run("to the same", func(t *testing.T) {
		r := newRig(t, Options{})
		r.h.parse = func(c *Cmd) Verdict {
			c.SetQueueType(c.QueueType)
			c.SetQueueType(order)
			c.SetQueueType(head)
			c.SetQueueType(simple)
			return Continue
		}
		ended(t, r.submitAs(1, cdbNone, head), scsi.Good)
		if n := r.sess.special.Load(); n != 0 {
			t.Errorf("%d special commands are counted", n)
		}
	})
}

// TestInternalCommandsHaveTheirParentsTurn: whatever attribute a handler's
// parse gives them: an ORDERED parent is older than its own children.
func TestInternalCommandsHaveTheirParentsTurn(t *testing.T) {
	for _, q := range []scsi.QueueType{simple, order, head} {
		r := newRig(t, Options{})
		r.h.parse = func(c *Cmd) Verdict {
			parseSBC(c)
			if c.internal {
				c.SetQueueType(q)
			}
			return Continue
		}
		r.h.exec = func(c *Cmd) {
			if c.Op() == scsi.OpWriteSame16 {
				c.WriteSame([]Range{{0, 10}})
				return
			}
			finish(c)
		}
		ended(t, r.submitAs(1, writeSame16(0, 10), order), scsi.Good)
		if n := r.sess.special.Load(); n != 0 {
			t.Errorf("%d special commands are counted", n)
		}
	}
}

// TestInternalCommandsHoldUpNobody: they are HEAD OF QUEUE by name only.
func TestInternalCommandsHoldUpNobody(t *testing.T) {
	r := newRig(t, Options{})
	var child, stopped *Cmd
	r.h.parse = func(c *Cmd) Verdict {
		parseSBC(c)
		if c.Tag == 2 {
			stopped = c
			return Stop
		}
		return Continue
	}
	r.h.exec = func(c *Cmd) {
		switch {
		case c.internal:
			child = c
		case c.Op() == scsi.OpWriteSame16:
			c.WriteSame([]Range{{0, 1}})
		default:
			finish(c)
		}
	}
	parent := r.submit(1, writeSame16(0, 1))
	s := r.submit(2, cdbNone)
	o := r.submitAs(3, cdbNone, order) // makes the others look
	stopped.ParseDone()
	ended(t, s, scsi.Good)
	finish(child)
	ended(t, parent, scsi.Good)
	ended(t, o, scsi.Good)
}
