package target

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"scstuser/scsi"
)

// successor is another handler for the rig's device.
func (r *rig) successor() *fakeHandler {
	h := &fakeHandler{t: r.t, parsed: map[*Cmd]bool{}}
	r.t.Cleanup(func() {
		if len(h.parsed) != 0 {
			r.t.Errorf("I1: the successor owes OnFree for %d commands", len(h.parsed))
		}
	})
	return h
}

// die makes the rig's handler one that is gone: it gives back what it kept,
// newest first, and what still comes.
func (r *rig) die() {
	r.t.Helper()
	r.dev.HandlerGone(r.h)
	r.h.mu.Lock()
	kept := r.h.kept
	r.h.keep, r.h.kept = false, nil
	r.h.exec = (*Cmd).Retry
	r.h.attach = func(*Session) error { return ErrHandlerGone }
	r.h.mu.Unlock()
	slices.Reverse(kept)
	for _, c := range kept {
		c.Retry()
	}
}

func (r *rig) adopt(h *fakeHandler) {
	r.t.Helper()
	if err := r.dev.Adopt(soon(r.t), h); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) held(want int) {
	r.t.Helper()
	if n, waits := r.dev.Held(); n != want || !waits {
		r.t.Fatalf("%d commands are held (waits %v), want %d", n, waits, want)
	}
}

func logged(t *testing.T, h *fakeHandler, want ...string) {
	t.Helper()
	if got := h.took(); !slices.Equal(got, want) {
		t.Fatalf("the successor was called for\n%q, want\n%q", got, want)
	}
}

// Commands that a handler had run again in the order of their submission,
// and nothing newer comes before them.
func TestHeldCommandsRunInTheirOrder(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	first := r.submit(1, cdbNone)
	second := r.submit(2, cdbRead)
	r.die()
	third := r.submit(3, cdbNone)
	r.held(3)
	r.responses()
	r.took("parse 1", "exec 1", "parse 2", "exec 2", "free 2", "free 1")

	h := r.successor()
	r.adopt(h)
	logged(t, h, "attach 1", "parse 1", "exec 1", "free 1", "parse 2", "exec 2", "free 2", "parse 3", "exec 3", "free 3")
	for _, c := range []*Cmd{first, second, third} {
		ended(t, c, scsi.Good)
	}
	r.took()
	if _, waits := r.dev.Held(); waits {
		t.Error("the device still waits")
	}
}

// The initiator's data survives the buffer that it was received into, and the
// front end is asked for it once.
func TestPayloadIsKept(t *testing.T) {
	for _, x := range []struct {
		name string
		dir  scsi.Dir
	}{{"WRITE", scsi.DirWrite}, {"BIDI", scsi.DirBidi}} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, Options{})
			parse := func(c *Cmd) Verdict {
				c.Dir, c.BufLen = x.dir, 512
				if x.dir == scsi.DirBidi {
					c.OutBufLen = 512
				}
				return Continue
			}
			asked := 0
			r.f.rdy = func(c *Cmd) Verdict {
				asked++
				copy(c.outData(), bytes.Repeat([]byte{0xA5}, 512))
				return Continue
			}
			var old []byte
			r.h.parse = parse
			r.h.onFree = func(c *Cmd) { clear(c.outData()); old = c.outData() }
			r.h.setKeep(true)
			c := r.submit(1, cdbWrite)
			r.die()

			var got []byte
			h := r.successor()
			h.parse = parse
			h.exec = func(c *Cmd) { got = bytes.Clone(c.outData()); finish(c) }
			r.adopt(h)
			ended(t, c, scsi.Good)
			if asked != 1 || !bytes.Equal(got, bytes.Repeat([]byte{0xA5}, 512)) {
				t.Errorf("front end asked %d times, the successor got % x", asked, got[:8])
			}
			if old == nil {
				t.Error("the old buffer was not given back")
			}
		})
	}
}

// A successor that wants more data than the initiator was asked for can't have
// it.
func TestPayloadTooShortForTheSuccessor(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	c := r.submit(1, cdbWrite)
	r.die()
	h := r.successor()
	h.parse = func(c *Cmd) Verdict { c.Dir, c.BufLen = scsi.DirWrite, 1024; return Continue }
	r.adopt(h)
	endedWith(t, c, scsi.SenseHardwareInternalFailure)
}

// A command whose data is being received when the handler goes keeps its
// buffer until that is over, before or after there is a successor.
func TestPayloadInFlight(t *testing.T) {
	for _, x := range []struct {
		name  string
		late  bool
		end   func(*Cmd)
		check func(*testing.T, *Cmd)
	}{
		{"received while nobody is there", false, (*Cmd).DataReceived, func(t *testing.T, c *Cmd) { ended(t, c, scsi.Good) }},
		{"received when the successor is there", true, (*Cmd).DataReceived, func(t *testing.T, c *Cmd) { ended(t, c, scsi.Good) }},
		{"failed while nobody is there", false, (*Cmd).DataFailed, func(t *testing.T, c *Cmd) { endedWith(t, c, scsi.SenseAbortedInternalFailure) }},
		{"failed when the successor is there", true, (*Cmd).DataFailed, func(t *testing.T, c *Cmd) { endedWith(t, c, scsi.SenseAbortedInternalFailure) }},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, Options{})
			r.f.rdy = func(*Cmd) Verdict { return Stop }
			c := r.submit(1, cdbWrite)
			buf := c.Buf
			r.die()
			r.took("parse 1")
			var got []byte
			h := r.successor()
			h.exec = func(c *Cmd) { got = bytes.Clone(c.Buf); finish(c) }
			if x.late {
				r.adopt(h)
			}
			copy(buf, "payload")
			x.end(c)
			r.took("free 1")
			if !x.late {
				r.adopt(h)
			}
			r.freed(c)
			x.check(t, c)
			if c.Status == scsi.Good && !bytes.HasPrefix(got, []byte("payload")) {
				t.Errorf("the successor got % x", got[:8])
			}
		})
	}
}

// Commands that wait for their turn have buffers of the handler's; they are
// given back, and the task attributes hold when they run again.
func TestBlockedCommandsAreHeld(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	r.submit(1, cdbWrite)
	r.submitAs(2, cdbWrite, scsi.QueueOrdered)
	r.submit(3, cdbWrite)
	r.took("parse 1", "exec 1", "parse 2", "parse 3")
	r.die()
	r.held(3)
	h := r.successor()
	h.keep = true
	r.adopt(h)
	logged(t, h, "attach 1", "parse 1", "exec 1", "parse 2", "parse 3")
	h.setKeep(false)
	for _, c := range h.kept {
		finish(c)
	}
	logged(t, h, "free 1", "exec 2", "free 2", "exec 3", "free 3")
	r.responses(1, 2, 3)
}

// A command that parse made HEAD OF QUEUE, or shortened, is parsed again as it
// was submitted.
func TestRetryUndoesParse(t *testing.T) {
	r := newRig(t, Options{})
	r.h.parse = func(c *Cmd) Verdict {
		parseSBC(c)
		c.SetCDBLen(4)
		return Continue
	}
	r.h.setKeep(true)
	c := r.submit(1, cdbInquiry)
	if c.QueueType != scsi.QueueHeadOfQueue {
		t.Fatal("the test is wrong: INQUIRY is not HEAD OF QUEUE")
	}
	r.die()
	h := r.successor()
	h.parse = func(c *Cmd) Verdict {
		if c.QueueType != scsi.QueueSimple || len(c.CDB()) != 6 || c.DataLen != 0 || c.BufLen != 0 {
			t.Errorf("the successor parses %+v with CDB % x", c.QueueType, c.CDB())
		}
		parseSBC(c)
		return Continue
	}
	r.adopt(h)
	ended(t, c, scsi.Good)
	if n := r.sess.special.Load(); n != 0 {
		t.Errorf("special is %d", n)
	}
}

// Task management while there is no handler: held commands end at once as
// aborted, and nobody is asked.
func TestTaskMgmtOfHeldCommands(t *testing.T) {
	for _, x := range []struct {
		fn   TMFunc
		left int
	}{{AbortTask, 1}, {AbortTaskSet, 0}, {LUNReset, 0}} {
		r := newRig(t, Options{TAS: true})
		r.h.setKeep(true)
		c := r.submit(1, cdbWrite)
		r.die()
		r.submit(2, cdbWrite)
		r.sess.TaskMgmt(&MgmtCmd{Fn: x.fn, Tag: 1})
		ended(t, c, scsi.TaskAborted)
		r.held(x.left)
		if len(r.f.tms) != 1 || r.f.tms[0].Result != TMSuccess {
			t.Errorf("fn %d: %+v", x.fn, r.f.tms)
		}
		h := r.successor()
		r.adopt(h)
		if x.left == 1 {
			logged(t, h, "attach 1", "parse 2", "exec 2", "free 2")
		} else {
			logged(t, h, "attach 1")
		}
	}
}

// A command that is aborted while its handler has it ends when it is given
// back.
func TestAbortedCommandIsNotHeld(t *testing.T) {
	r := newRig(t, Options{TAS: true})
	r.h.setKeep(true)
	c := r.submit(1, cdbWrite)
	r.sess.TaskMgmt(&MgmtCmd{Fn: AbortTask, Tag: 1})
	r.die()
	ended(t, c, scsi.TaskAborted)
	r.held(0)
	r.adopt(r.successor())
}

// NewSession waits for the next handler, as long as its context lasts.
func TestNewSessionWaitsForAHandler(t *testing.T) {
	r := newRig(t, Options{})
	r.die()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := r.dev.NewSession(ctx, r.f, SessionInfo{}); !errors.Is(err, ErrBusy) {
		t.Fatalf("%v, want %v", err, ErrBusy)
	}
	got := make(chan error, 1)
	go func() {
		_, err := r.dev.NewSession(soon(t), r.f, SessionInfo{})
		got <- err
	}()
	select {
	case err := <-got:
		t.Fatalf("attached to nobody: %v", err)
	case <-time.After(5 * time.Millisecond):
	}
	h := r.successor()
	r.adopt(h)
	if err := await(t, "attach", got); err != nil {
		t.Fatal(err)
	}
	if log := h.took(); len(log) != 2 {
		t.Errorf("the successor was called for %q", log)
	}
}

// A handler that dies while it is asked about a session is not an answer.
func TestNewSessionOutlivesTheHandlerItAsked(t *testing.T) {
	r := newRig(t, Options{})
	r.h.attach = func(*Session) error {
		r.dev.HandlerGone(r.h)
		return ErrHandlerGone
	}
	got := make(chan error, 1)
	go func() {
		_, err := r.dev.NewSession(soon(t), r.f, SessionInfo{})
		got <- err
	}()
	r.eventually("the handler is gone", func() bool { _, waits := r.dev.Held(); return waits })
	h := r.successor()
	r.adopt(h)
	if err := await(t, "attach", got); err != nil {
		t.Fatal(err)
	}
}

// Unregister ends the wait: what is held fails, whoever attaches is refused.
func TestUnregisterEndsTheWait(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	c := r.submit(1, cdbWrite)
	r.die()
	got := make(chan error, 1)
	go func() {
		_, err := r.dev.NewSession(soon(t), r.f, SessionInfo{})
		got <- err
	}()
	if err := r.dev.Unregister(soon(t)); err != nil {
		t.Fatal(err)
	}
	endedWith(t, c, scsi.SenseLUNotSupported)
	if err := await(t, "attach", got); !errors.Is(err, ErrReleased) {
		t.Errorf("%v, want %v", err, ErrReleased)
	}
	if r.f.gone != 1 {
		t.Errorf("the front end was told %d times", r.f.gone)
	}
	if err := r.dev.Adopt(soon(t), r.successor()); !errors.Is(err, ErrReleased) {
		t.Errorf("Adopt: %v, want %v", err, ErrReleased)
	}
}

// A session without commands is detached at once; one with commands when
// these have run.
func TestCloseWithoutHandler(t *testing.T) {
	r := newRig(t, Options{})
	other := r.attach(r.f)
	r.h.setKeep(true)
	c := r.submit(1, cdbWrite)
	r.die()
	if err := other.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	if err := r.sess.Close(ctx); err == nil {
		t.Fatal("closed with a command that is held")
	}
	h := r.successor()
	r.adopt(h)
	if err := r.sess.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	ended(t, c, scsi.Good)
	logged(t, h, "attach 1", "parse 1", "exec 1", "free 1", "detach 1")
}

// A session that the successor refuses goes; the others go on.
func TestSuccessorRefusesASession(t *testing.T) {
	r := newRig(t, Options{})
	f := newFront(t)
	other := r.attach(f)
	r.h.setKeep(true)
	c := r.submit(1, cdbWrite)
	lost := command(2, cdbWrite, scsi.QueueSimple)
	other.Submit(lost)
	r.die()
	h := r.successor()
	h.attach = func(s *Session) error {
		if s == other {
			return errRefused
		}
		return nil
	}
	r.adopt(h)
	ended(t, c, scsi.Good)
	endedWith(t, lost, scsi.SenseLUNotSupported)
	if err := other.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	if f.gone != 1 || len(r.dev.Sessions()) != 1 {
		t.Errorf("told %d times, %d sessions", f.gone, len(r.dev.Sessions()))
	}
	if log := h.took(); slices.Contains(log, "detach 2") {
		t.Errorf("the successor heard of a session that it refused: %q", log)
	}
}

// A successor that dies while it takes over changes nothing; nor does one that
// died before.
func TestSecondDeathDuringAdoption(t *testing.T) {
	for _, before := range []bool{false, true} {
		r := newRig(t, Options{})
		r.attach(r.f)
		r.h.setKeep(true)
		c := r.submit(1, cdbWrite)
		r.die()
		second := r.successor()
		second.attach = func(s *Session) error {
			r.dev.HandlerGone(second)
			if s == r.sess {
				return nil // it had answered
			}
			return ErrHandlerGone
		}
		if before {
			r.dev.HandlerGone(second)
		}
		if err := r.dev.Adopt(soon(t), second); !errors.Is(err, ErrHandlerGone) {
			t.Fatalf("%v, want %v", err, ErrHandlerGone)
		}
		r.held(1)
		third := r.successor()
		r.adopt(third)
		ended(t, c, scsi.Good)
		if slices.Contains(second.took(), "parse 1") {
			t.Error("a command ran with a handler that was gone")
		}
	}
}

// The death of a handler that was told of all sessions, right before the doors
// would open, keeps them shut.
func TestDeathAtTheEndOfAdoption(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	c := r.submit(1, cdbWrite)
	r.die()
	second := r.successor()
	second.attach = func(*Session) error { r.dev.HandlerGone(second); return nil }
	if err := r.dev.Adopt(soon(t), second); !errors.Is(err, ErrHandlerGone) {
		t.Fatalf("%v, want %v", err, ErrHandlerGone)
	}
	logged(t, second, "attach 1")
	r.adopt(r.successor())
	ended(t, c, scsi.Good)
}

// Commands of the target's own are not repeated, their parents are.
func TestInternalCommandsGoWithTheirParents(t *testing.T) {
	t.Run("WRITE SAME", func(t *testing.T) {
		r := newRig(t, Options{})
		var writes []*Cmd
		r.h.exec = func(c *Cmd) {
			if c.internal {
				writes = append(writes, c)
				return
			}
			c.WriteSame([]Range{{LBA: 0, Blocks: 8}})
		}
		c := r.submit(1, scsi.EncodeWriteSame16(0, 8, false, false))
		r.die()
		for _, w := range writes {
			w.Retry()
		}
		r.held(1)
		h := r.successor()
		r.adopt(h)
		logged(t, h, "attach 1", "parse 1", "exec 1", "free 1")
		ended(t, c, scsi.Good)
	})
	for _, x := range []struct {
		name string
		cdb  scsi.CDB
		kept bool
	}{
		{"REQUEST SENSE for a READ", cdbRead, true},
		{"REQUEST SENSE for a COMPARE AND WRITE", func() scsi.CDB {
			cdb := scsi.EncodeWrite16(0, 1, false)
			cdb.Slice()[0] = byte(scsi.OpCompareAndWrite)
			return cdb
		}(), false},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := newRig(t, Options{})
			var asked *Cmd
			r.h.parse = func(c *Cmd) Verdict { c.Dir, c.BufLen = scsi.DirRead, 512; return Continue }
			r.h.exec = func(c *Cmd) {
				if c.internal {
					asked = c
					return
				}
				c.SetStatus(scsi.CheckCondition)
				c.Done()
			}
			c := r.submit(1, x.cdb)
			r.die()
			asked.Retry()
			if !x.kept {
				endedWith(t, c, scsi.SenseHardwareInternalFailure)
				return
			}
			r.held(1)
			r.adopt(r.successor())
			ended(t, c, scsi.Good)
		})
	}
}

// A RESERVE that was looked at but never carried out does not keep the
// reservation while it is held.
func TestHeldReserveReservesNothing(t *testing.T) {
	r := newRig(t, Options{})
	r.h.exec = func(c *Cmd) {
		c.CheckLocalEvents()
		r.h.kept = append(r.h.kept, c)
	}
	r.h.parse = func(*Cmd) Verdict { return Continue }
	var reserve [6]byte
	reserve[0] = byte(scsi.OpReserve6)
	c := &Cmd{}
	c.Init(reserve[:], scsi.QueueSimple)
	r.sess.Submit(c)
	r.die()
	if r.dev.reservedBy.Load() != nil {
		t.Error("reserved")
	}
	h := r.successor()
	h.parse = r.h.parse
	r.adopt(h)
	ended(t, c, scsi.Good)
	if r.dev.reservedBy.Load() != r.sess {
		t.Error("not reserved")
	}
}

// Adopt waits for what the former handler has, but not for ever.
func TestAdoptWaitsForTheFormerHandler(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	c := r.submit(1, cdbWrite)
	r.dev.HandlerGone(r.h)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	h := r.successor()
	if err := r.dev.Adopt(ctx, h); !errors.Is(err, ErrBusy) {
		t.Fatalf("%v, want %v", err, ErrBusy)
	}
	r.die()
	r.adopt(h)
	ended(t, c, scsi.Good)
}

// A command that is on its way when its handler goes does not stop to wait for
// its turn, where nobody would find it: its handler gives it back.
func TestDeathBeforeACommandsTurn(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	r.submit(1, cdbWrite)
	r.h.parse = func(c *Cmd) Verdict {
		r.dev.HandlerGone(r.h)
		parseSBC(c)
		return Continue
	}
	r.submitAs(2, cdbNone, scsi.QueueOrdered)
	r.took("parse 1", "exec 1", "parse 2", "exec 2")
	r.die()
	r.held(2)
	r.adopt(r.successor())
	r.responses(1, 2)
}
