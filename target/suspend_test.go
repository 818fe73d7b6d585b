package target

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scstuser/scsi"
)

// TestR39NothingExecutesDuringAttach: an attachment waits for the commands
// that execute, and what comes meanwhile waits for it.
func TestR39NothingExecutesDuringAttach(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	first := r.submit(1, cdbNone)

	inAttach, answer := make(chan struct{}), make(chan struct{})
	r.h.attach = func(*Session) error {
		close(inAttach)
		<-answer
		return nil
	}
	attached := make(chan *Session, 1)
	go func() { attached <- r.attach(newFront(t)) }()
	r.eventually("the door is shut", func() bool {
		r.sess.mu.Lock()
		defer r.sess.mu.Unlock()
		return r.sess.suspended
	})
	select {
	case <-inAttach:
		t.Fatal("ATTACH while a command executes")
	case <-time.After(10 * time.Millisecond):
	}
	r.h.release()
	await(t, "ATTACH", inAttach)
	// Not active once it is done: its response may be on its way still.
	r.freed(first)
	ended(t, first, scsi.Good)
	if got := slices.Sorted(slices.Values(r.h.took())); !slices.Equal(got, []string{"attach 2", "exec 1", "free 1", "parse 1"}) {
		t.Fatalf("handler was called for %q", got)
	}

	second, third := r.submit(2, cdbNone), r.submit(3, cdbRead)
	r.took()
	close(answer)
	await(t, "the session", attached)
	ended(t, second, scsi.Good)
	ended(t, third, scsi.Good)
	r.took("parse 2", "exec 2", "free 2", "parse 3", "exec 3", "free 3")
}

// TestR39NothingExecutesDuringDetach: the device stays suspended until DETACH
// is answered.
func TestR39NothingExecutesDuringDetach(t *testing.T) {
	r := newRig(t, Options{})
	other := r.attach(newFront(t))
	r.h.took()
	answers := make(chan func(), 1)
	r.h.detach = func(_ *Session, answered func()) { answers <- answered }
	closed := make(chan error, 1)
	go func() { closed <- other.Close(soon(t)) }()
	answered := await(t, "DETACH", answers)
	c := r.submit(1, cdbNone)
	r.took("detach 2")
	r.h.detach = nil
	answered()
	if err := await(t, "Close", closed); err != nil {
		t.Fatal(err)
	}
	ended(t, c, scsi.Good)
	r.took("parse 1", "exec 1", "free 1")
}

// TestDetachTimeout: a DETACH that nobody answers, or a command that does not
// end, does not hold the device for longer than DetachTimeout.
func TestDetachTimeout(t *testing.T) {
	r := newRig(t, Options{DetachTimeout: 20 * time.Millisecond})
	t.Run("no answer", func(t *testing.T) {
		s := r.attach(newFront(t))
		r.h.detach = func(*Session, func()) {}
		if err := s.Close(soon(t)); err != nil {
			t.Fatal(err)
		}
		ended(t, r.submit(1, cdbNone), scsi.Good)
	})
	t.Run("another session's command", func(t *testing.T) {
		s := r.attach(newFront(t))
		r.h.detach = nil
		r.h.setKeep(true)
		c := r.submit(2, cdbNone)
		if err := s.Close(soon(t)); err != nil {
			t.Fatal(err)
		}
		r.h.release()
		ended(t, c, scsi.Good)
	})
}

// TestSuspendHoldsInOrder: held commands go on in the order in which they
// came, and before newer ones, also if those come while the door opens.
func TestSuspendHoldsInOrder(t *testing.T) {
	r := newRig(t, Options{})
	resume := r.suspend()
	for i := uint64(1); i <= 3; i++ {
		r.submit(i, cdbNone)
	}
	r.h.parse = func(c *Cmd) Verdict {
		if c.Tag == 2 {
			r.submit(4, cdbNone) // as another goroutine could
		}
		return Continue
	}
	r.took()
	resume()
	r.eventually("all responses", func() bool { return len(r.f.responses()) == 4 })
	r.responses(1, 2, 3, 4)
}

// TestResumeEnds: an initiator that keeps a session busy holds up neither the
// goroutine that resumes nor the next suspension.
func TestResumeEnds(t *testing.T) {
	r := newRig(t, Options{})
	var stop atomic.Bool
	var rounds atomic.Int64
	r.f.xmit = func(c *Cmd) {
		if !stop.Load() {
			r.submit(2, cdbNone) // without end
		}
		c.Delivered(Delivered)
	}
	r.h.exec = func(c *Cmd) {
		rounds.Add(1)
		finish(c)
	}
	resume := r.suspend()
	r.submit(1, cdbNone)
	resume()
	n := rounds.Load()
	r.eventually("the session goes on", func() bool { return rounds.Load() > n+100 })
	resume = r.suspend()
	n = rounds.Load()
	time.Sleep(time.Millisecond)
	if rounds.Load() != n || r.sess.countActive() != 0 {
		t.Error("commands execute during a suspension")
	}
	resume()
	r.eventually("the session goes on", func() bool { return rounds.Load() > n+100 })
	stop.Store(true)
	r.eventually("it ends", func() bool { return r.sess.Inflight() == 0 })
}

// TestOneDrainsAtATime: a command that has not come back from its front end
// since the last resumption keeps the order of those behind it.
func TestOneDrainsAtATime(t *testing.T) {
	r := newRig(t, Options{})
	inXmit, leave := make(chan struct{}), make(chan struct{})
	r.f.xmit = func(c *Cmd) {
		switch c.Tag {
		case 1:
			r.submit(2, cdbNone) // one more than resume knows of
		case 2:
			close(inXmit)
			<-leave
		}
		c.Delivered(Delivered)
	}
	resume := r.suspend()
	r.submit(1, cdbNone)
	resume()
	await(t, "the second response", inXmit)
	resume = r.suspend() // 2 is done, and not active
	cmds := []*Cmd{r.submit(3, cdbNone), r.submit(4, cdbNone)}
	resume()
	cmds = append(cmds, r.submit(5, cdbNone))
	r.responses(1, 2)
	close(leave)
	r.freed(cmds...)
	r.responses(1, 2, 3, 4, 5)
}

// TestSuspendDeadline: when commands don't end in time nothing is suspended
// (EBUSY of rule R16), and what was held meanwhile goes on.
func TestSuspendDeadline(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	slow := r.submit(1, cdbNone)
	for _, k := range []struct {
		name string
		ctx  func() (context.Context, context.CancelFunc)
		want error
	}{
		{"deadline", func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), 5*time.Millisecond)
		}, ErrBusy},
		{"cancelled", func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(5*time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled},
	} {
		t.Run(k.name, func(t *testing.T) {
			ctx, cancel := k.ctx()
			defer cancel()
			if _, err := r.dev.Suspend(ctx); !errors.Is(err, k.want) {
				t.Fatalf("error %v, want %v", err, k.want)
			}
		})
	}
	failing, cancel := context.WithCancel(context.Background())
	gotErr := make(chan error, 1)
	go func() {
		_, err := r.dev.Suspend(failing)
		gotErr <- err
	}()
	r.eventually("the door is shut", func() bool {
		r.sess.mu.Lock()
		defer r.sess.mu.Unlock()
		return r.sess.suspended
	})
	held := r.submit(2, cdbNone)
	r.took("parse 1", "exec 1")
	// A second one waits for its turn, and gives up as well.
	ctx, cancel2 := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel2()
	if _, err := r.dev.Suspend(ctx); !errors.Is(err, ErrBusy) {
		t.Fatalf("error %v, want ErrBusy", err)
	}
	cancel()
	if err := await(t, "Suspend", gotErr); !errors.Is(err, context.Canceled) {
		t.Fatalf("error %v", err)
	}
	r.eventually("the held command goes on", func() bool { return slices.Equal(r.h.took(), []string{"parse 2", "exec 2"}) })
	r.h.release()
	ended(t, slow, scsi.Good)
	ended(t, held, scsi.Good)
}

// TestSuspensionsTakeTurns: one at a time, and each resumption counts once.
func TestSuspensionsTakeTurns(t *testing.T) {
	r := newRig(t, Options{})
	var inside atomic.Int32
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				resume := r.suspend()
				if inside.Add(1) != 1 {
					t.Error("two suspensions at once")
				}
				inside.Add(-1)
				resume()
				resume() // must not end somebody else's
			}
		})
	}
	wg.Wait()
	ended(t, r.submit(1, cdbNone), scsi.Good)
}

// TestXferDoesNotHoldUpSuspension: a command that waits for the initiator's
// data is not active; when the data comes during a suspension it is held.
func TestXferDoesNotHoldUpSuspension(t *testing.T) {
	for _, k := range []struct {
		name string
		over func(*Cmd)
		held bool
		want scsi.Status
	}{
		{"data", (*Cmd).DataReceived, true, scsi.Good},
		{"no data", (*Cmd).DataFailed, false, scsi.CheckCondition},
	} {
		t.Run(k.name, func(t *testing.T) {
			r := newRig(t, Options{})
			r.f.rdy = func(*Cmd) Verdict { return Stop }
			w := r.submit(1, cdbWrite)
			resume := r.suspend()
			n := r.submit(2, cdbNone)
			k.over(w)
			if k.held {
				r.took("parse 1")
			} else {
				r.took("parse 1", "free 1")
			}
			resume()
			ended(t, w, k.want)
			ended(t, n, scsi.Good)
		})
	}
}

// TestBlockedDoesNotHoldUpSuspension: a command that waits for its turn is not
// active: what it waits for may be held, or in the hands of a slow client.
func TestBlockedDoesNotHoldUpSuspension(t *testing.T) {
	t.Run("behind a held one", func(t *testing.T) {
		r := newRig(t, Options{})
		var slow *Cmd
		r.h.parse = func(c *Cmd) Verdict {
			parseSBC(c)
			if c.Tag == 1 {
				slow = c
				return Stop
			}
			return Continue
		}
		r.submit(1, cdbNone)
		got := r.suspending()
		head := r.submitAs(2, cdbNone, scsi.QueueHeadOfQueue) // held
		slow.ParseDone()                                      // and has to wait for 2
		resume := await(t, "the suspension", got)
		r.took("parse 1")
		resume()
		ended(t, head, scsi.Good)
		ended(t, slow, scsi.Good)
		r.took("parse 2", "exec 2", "free 2", "exec 1", "free 1")
	})
	t.Run("behind one without its data", func(t *testing.T) {
		r := newRig(t, Options{})
		r.f.rdy = func(*Cmd) Verdict { return Stop }
		w := r.submitAs(1, cdbWrite, scsi.QueueOrdered)
		n := r.submit(2, cdbNone)
		resume := r.suspend()
		r.took("parse 1", "parse 2")
		w.DataFailed() // lets 2 go, but not now
		r.took("free 1")
		resume()
		ended(t, n, scsi.Good)
	})
}

// TestInternalCommandsPassTheDoor: a parent that is active goes on until it is
// done, also if it takes commands of the target's own with data.
func TestInternalCommandsPassTheDoor(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	c := r.submit(1, writeSame16(0, 2000))
	got := r.suspending()
	c.WriteSame([]Range{{0, 2000}})
	resume := await(t, "the suspension", got)
	ended(t, c, scsi.Good)
	resume()
}

// TestNewSessionIsShut: what a front end submits to a session that it hears of
// before NewSession returns waits for the end of the attachment.
func TestNewSessionIsShut(t *testing.T) {
	r := newRig(t, Options{})
	f := &eager{fakeFront: newFront(t), c: command(1, cdbNone, simple)}
	f.check = func() { r.took("attach 2") }
	r.attach(f)
	ended(t, f.c, scsi.Good)
	r.took("parse 1", "exec 1", "free 1")
}

// eager submits a command as soon as it hears of its session.
type eager struct {
	*fakeFront
	c     *Cmd
	check func()
}

func (f *eager) AEN(s *Session, _ UnitAttention) bool {
	s.Submit(f.c)
	f.check()
	return true
}

// TestSuspendNewSession: a session that attaches is open afterwards, and one
// that is refused leaves nothing behind.
func TestSuspendNewSession(t *testing.T) {
	r := newRig(t, Options{})
	for _, refuse := range []bool{false, true} {
		r.h.attach = func(s *Session) error {
			if refuse {
				return errRefused
			}
			return nil
		}
		s, err := r.dev.NewSession(soon(t), newFront(t), SessionInfo{})
		if refuse {
			if !errors.Is(err, errRefused) || s != nil {
				t.Fatalf("got %v, %v", s, err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		c := command(1, cdbNone, scsi.QueueSimple)
		s.Submit(c)
		ended(t, c, scsi.Good)
	}
	if n := len(r.dev.Sessions()); n != 2 {
		t.Errorf("%d sessions, want 2", n)
	}
	r.took("attach 2", "parse 1", "exec 1", "free 1", "attach 3")
}
