package target

import (
	"fmt"
	"sync"
	"testing"

	"scstuser/scsi"
)

// tm starts a function on the rig's session.
func (r *rig) tm(fn TMFunc, tag uint64) *MgmtCmd {
	m := &MgmtCmd{Fn: fn, Tag: tag}
	r.sess.TaskMgmt(m)
	return m
}

// over checks that a function is over, with this result.
func (r *rig) over(m *MgmtCmd, result int32) {
	r.t.Helper()
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	n := 0
	for _, x := range r.f.tms {
		if x == m {
			n++
		}
	}
	if n != 1 || m.Result != result {
		r.t.Fatalf("function %d: TMDone came %d times, result %d; want once, %d", m.Fn, n, m.Result, result)
	}
}

// notOver checks that TMDone has not come.
func (r *rig) notOver(m *MgmtCmd) {
	r.t.Helper()
	r.f.mu.Lock()
	defer r.f.mu.Unlock()
	for _, x := range r.f.tms {
		if x == m {
			r.t.Fatalf("function %d is over", m.Fn)
		}
	}
}

// TestR67Functions: what each function aborts, and whom it tells. Sessions 1
// (which sends it) and 2 have two commands each, with the tags 1, 2 and 3, 4.
func TestR67Functions(t *testing.T) {
	const (
		none    = ""
		reset   = "reset"
		cleared = "cleared"
		loss    = "loss"
	)
	names := map[scsi.Sense]string{
		scsi.SensePowerOnReset: reset, scsi.SenseCommandsClearedByOther: cleared, scsi.SenseNexusLoss: loss,
	}
	for _, k := range []struct {
		fn       TMFunc
		aborted  string // of the tags 1 to 4
		told     [2]string
		toldTAS  [2]string // with TAS set
		reserved bool      // a reservation of session 1 survives
	}{
		{AbortTask, "1", [2]string{}, [2]string{}, true},
		{AbortTaskSet, "12", [2]string{}, [2]string{}, true},
		{ClearACA, "", [2]string{}, [2]string{}, true},
		{ClearTaskSet, "1234", [2]string{none, cleared}, [2]string{}, true},
		{LUNReset, "1234", [2]string{reset, reset}, [2]string{reset, reset}, false},
		{TargetReset, "1234", [2]string{reset, reset}, [2]string{reset, reset}, false},
		{NexusLossSess, "12", [2]string{loss, none}, [2]string{loss, none}, false},
		{AbortAllTasksSess, "12", [2]string{}, [2]string{}, true},
		{NexusLoss, "1234", [2]string{loss, loss}, [2]string{loss, loss}, false},
		{AbortAllTasks, "1234", [2]string{none, cleared}, [2]string{}, true},
	} {
		for _, tas := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d/tas=%v", k.fn, tas), func(t *testing.T) {
				r := newRig(t, Options{TAS: tas})
				f2 := newFront(t)
				s2 := r.attach(f2)
				ended(t, r.submit(9, scsi.CDB{Bytes: [16]byte{byte(scsi.OpReserve6)}, Len: 6}), scsi.Good)
				var told [2]string
				r.f.aen = func(ua UnitAttention) bool { told[0] += names[ua]; return true }
				f2.aen = func(ua UnitAttention) bool { told[1] += names[ua]; return true }
				r.h.setKeep(true)
				cmds := []*Cmd{r.submit(1, cdbNone), r.submit(2, cdbNone)}
				for tag := uint64(3); tag <= 4; tag++ {
					c := command(tag, cdbNone, simple)
					s2.Submit(c)
					cmds = append(cmds, c)
				}
				r.h.took()
				m := r.tm(k.fn, 1)
				if len(k.aborted) > 0 {
					r.notOver(m) // rule R68: the handler has them
					r.took(fmt.Sprint("received ", k.fn))
				}
				if k.fn == AbortTask && m.TargetTag != cmds[0].DevTag.Load() {
					t.Errorf("target tag %d", m.TargetTag)
				}
				if got := r.dev.reservedBy.Load() != nil; got != k.reserved {
					t.Errorf("reserved: %v, want %v", got, k.reserved)
				}
				r.dev.reservedBy.Store(nil)
				r.h.release()
				r.over(m, TMSuccess)
				got := ""
				for _, c := range cmds {
					switch {
					case !c.Aborted():
						ended(t, c, scsi.Good)
						continue
					case tas:
						ended(t, c, scsi.TaskAborted)
					default:
						endedWith(t, c, scsi.SenseAbortedInternalFailure)
					}
					if c.Delivery != DeliveryAborted {
						t.Errorf("command %d: delivery %d", c.Tag, c.Delivery)
					}
					got += fmt.Sprint(c.Tag)
				}
				if got != k.aborted {
					t.Errorf("aborted %q, want %q", got, k.aborted)
				}
				want := k.told
				if tas {
					want = k.toldTAS
				}
				if told != want {
					t.Errorf("told %q, want %q", told, want)
				}
			})
		}
	}
}

// TestR67UnknownFunction: it aborts nothing, and the handler never hears of it.
func TestR67UnknownFunction(t *testing.T) {
	for _, fn := range []TMFunc{-1, 10, 11, 99} {
		r := newRig(t, Options{})
		r.h.setKeep(true)
		c := r.submit(1, cdbNone)
		r.over(r.tm(fn, 1), TMNotSupported)
		r.h.release()
		ended(t, c, scsi.Good)
		r.took("parse 1", "exec 1", "free 1")
	}
}

// TestClearedByOther: only a session that lost commands is told.
func TestClearedByOther(t *testing.T) {
	r := newRig(t, Options{})
	f2 := newFront(t)
	f2.aen = func(ua UnitAttention) bool { return ua == scsi.SensePowerOnReset }
	s2 := r.attach(f2)
	r.over(r.tm(ClearTaskSet, 0), TMSuccess)
	if s2.uaPending.Load() {
		t.Error("a session without commands was told")
	}
}

// TestR66Outcome: what the handler says counts, except that a command that is
// not there is no failure; what the target found counts as well.
func TestR66Outcome(t *testing.T) {
	for _, k := range []struct {
		found         bool
		handler, want int32
	}{
		{true, TMSuccess, TMSuccess},
		{true, TMTaskNotExist, TMSuccess},
		{true, TMLUNNotExist, TMLUNNotExist},
		{true, TMNotSupported, TMNotSupported},
		{true, TMRejected, TMRejected},
		{true, TMFailed, TMFailed},
		{false, TMSuccess, TMTaskNotExist},
		{false, TMTaskNotExist, TMTaskNotExist},
		{false, TMFailed, TMFailed},
	} {
		r := newRig(t, Options{})
		r.h.tmDone = func(m *MgmtCmd) { m.Done(k.handler) }
		r.h.setKeep(true)
		r.submit(1, cdbNone)
		tag := uint64(1)
		if !k.found {
			tag = 2
		}
		m := r.tm(AbortTask, tag)
		r.h.release()
		r.over(m, k.want)
	}
}

// TestR68AbortedBeforeFetchEndsAtOnce: what waits at the door or for its turn
// ends with the function; what a stage holds ends when the stage lets it go,
// and gets no further.
func TestR68AbortedBeforeFetchEndsAtOnce(t *testing.T) {
	t.Run("held", func(t *testing.T) {
		r := newRig(t, Options{})
		resume := r.suspend()
		c, other := r.submit(1, cdbNone), r.submit(2, cdbNone)
		r.over(r.tm(AbortTask, 1), TMSuccess)
		endedWith(t, c, scsi.SenseAbortedInternalFailure)
		r.took("received 0", "tmdone 0")
		resume()
		ended(t, other, scsi.Good)
	})
	t.Run("held with its data", func(t *testing.T) {
		r := newRig(t, Options{})
		r.f.rdy = func(*Cmd) Verdict { return Stop }
		c := r.submit(1, cdbWrite)
		resume := r.suspend()
		c.DataReceived()
		r.over(r.tm(AbortTaskSet, 0), TMSuccess)
		endedWith(t, c, scsi.SenseAbortedInternalFailure)
		r.took("parse 1", "free 1", "received 1", "tmdone 1")
		resume()
	})
	t.Run("blocked", func(t *testing.T) {
		r := newRig(t, Options{})
		r.h.setKeep(true)
		first := r.submitAs(1, cdbNone, order)
		c, third := r.submitAs(2, cdbNone, order), r.submitAs(3, cdbNone, order)
		r.over(r.tm(AbortTask, 2), TMSuccess)
		endedWith(t, c, scsi.SenseAbortedInternalFailure)
		r.h.release()
		ended(t, first, scsi.Good)
		ended(t, third, scsi.Good)
		r.took("parse 1", "exec 1", "parse 2", "parse 3", "free 2", "received 0", "tmdone 0",
			"free 1", "exec 3", "free 3")
	})
	t.Run("in parse", func(t *testing.T) {
		r := newRig(t, Options{})
		r.h.parse = func(c *Cmd) Verdict { parseSBC(c); return Stop }
		c := r.submit(1, cdbNone)
		m := r.tm(AbortTask, 1)
		r.notOver(m)
		c.ParseDone()
		r.over(m, TMSuccess)
		endedWith(t, c, scsi.SenseAbortedInternalFailure)
		r.took("parse 1", "received 0", "tmdone 0", "free 1")
	})
	t.Run("in alloc", func(t *testing.T) {
		r := newRig(t, Options{})
		again := false
		r.h.alloc = func(c *Cmd) Verdict {
			c.Buf = make([]byte, c.BufLen)
			if again {
				return Continue
			}
			again = true
			return Stop
		}
		r.f.rdy = func(*Cmd) Verdict { t.Error("asked for the data of an aborted command"); return Continue }
		c := r.submit(1, cdbWrite)
		m := r.tm(AbortTask, 1)
		c.AllocDone()
		r.over(m, TMSuccess)
		endedWith(t, c, scsi.SenseAbortedInternalFailure)
	})
	t.Run("in xfer", func(t *testing.T) {
		for _, suspended := range []bool{false, true} {
			r := newRig(t, Options{})
			r.f.rdy = func(*Cmd) Verdict { return Stop }
			c := r.submit(1, cdbWrite)
			resume := func() {}
			if suspended {
				resume = r.suspend()
			}
			m := r.tm(AbortTask, 1)
			r.notOver(m)
			c.DataReceived()
			r.over(m, TMSuccess)
			endedWith(t, c, scsi.SenseAbortedInternalFailure)
			r.took("parse 1", "received 0", "tmdone 0", "free 1")
			resume()
		}
	})
	t.Run("queued in the handler", func(t *testing.T) {
		r := newRig(t, Options{})
		r.h.setKeep(true)
		c := r.submit(1, cdbNone)
		m := r.tm(AbortTask, 1)
		r.h.release() // asks CheckLocalEvents
		r.over(m, TMSuccess)
		endedWith(t, c, scsi.SenseAbortedInternalFailure)
		// Fact 45: TM_DONE first, then ON_FREE.
		r.took("parse 1", "exec 1", "received 0", "tmdone 0", "free 1")
	})
	t.Run("done, not delivered", func(t *testing.T) {
		r := newRig(t, Options{})
		r.f.hold = true
		c := r.submit(1, cdbNone)
		r.over(r.tm(AbortTask, 1), TMTaskNotExist)
		r.f.deliver()
		ended(t, c, scsi.Good)
		if c.Delivery != Delivered {
			t.Errorf("delivery %d", c.Delivery)
		}
	})
}

// TestTwoFunctionsOneCommand: both wait for it, both end.
func TestTwoFunctionsOneCommand(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	c := r.submit(1, cdbNone)
	a, b := r.tm(AbortTask, 1), r.tm(LUNReset, 0)
	r.notOver(a)
	r.notOver(b)
	r.h.release()
	r.over(a, TMSuccess)
	r.over(b, TMSuccess)
	endedWith(t, c, scsi.SenseAbortedInternalFailure)
}

// TestMgmtCmdIsReusable: nothing of the last function is left in the next.
func TestMgmtCmdIsReusable(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	r.submit(1, cdbNone)
	m := r.tm(AbortTask, 1)
	r.h.release()
	r.over(m, TMSuccess)
	r.f.tms = nil
	r.sess.TaskMgmt(m)
	r.over(m, TMTaskNotExist)
	if m.TargetTag != 0 {
		t.Errorf("target tag %d", m.TargetTag)
	}
}

// TestTaskMgmtDuringUnregister: every function ends, whichever comes first.
func TestTaskMgmtDuringUnregister(t *testing.T) {
	for range 200 {
		r := newRig(t, Options{})
		s2 := r.attach(newFront(t))
		r.h.setKeep(true)
		r.submit(1, cdbNone)
		c := command(2, cdbNone, simple)
		s2.Submit(c)
		var wg sync.WaitGroup
		m := &MgmtCmd{Fn: LUNReset}
		wg.Go(func() { r.sess.TaskMgmt(m) })
		wg.Go(func() { r.h.release() })
		wg.Go(func() {
			if err := r.dev.Unregister(soon(t)); err != nil {
				t.Error(err)
			}
		})
		wg.Wait()
		if m.Result != TMSuccess && m.Result != TMLUNNotExist {
			t.Fatalf("result %d", m.Result)
		}
		r.over(m, m.Result)
	}
}

// TestAbortTakesTheChildrenAlong: a parent that is aborted does not wait for
// commands of its own that the handler has not begun.
func TestAbortTakesTheChildrenAlong(t *testing.T) {
	for _, fn := range []TMFunc{AbortTask, LUNReset} {
		r := newRig(t, Options{})
		var child *Cmd
		r.h.exec = func(c *Cmd) {
			if c.internal {
				child = c // queued
				return
			}
			c.WriteSame([]Range{{0, 10000}})
		}
		c := r.submit(1, writeSame16(0, 10000))
		m := r.tm(fn, 1)
		if !child.Aborted() {
			t.Error("the child is not aborted")
		}
		if m.TargetTag != map[TMFunc]uint64{AbortTask: c.DevTag.Load()}[fn] {
			t.Errorf("target tag %d", m.TargetTag)
		}
		r.notOver(m)
		finish(child)
		r.over(m, TMSuccess)
		endedWith(t, c, scsi.SenseAbortedInternalFailure)
	}
}

// TestAbortTaskByTagSparesInternalCommands: they have no tag of their own.
func TestAbortTaskByTagSparesInternalCommands(t *testing.T) {
	r := newRig(t, Options{})
	var child *Cmd
	r.h.exec = func(c *Cmd) {
		if c.internal {
			child = c
			return
		}
		c.WriteSame([]Range{{0, 1}})
	}
	c := r.submit(1, writeSame16(0, 1))
	r.over(r.tm(AbortTask, 0), TMTaskNotExist)
	finish(child)
	ended(t, c, scsi.Good)
}
