package target

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"scstuser/scsi"
)

// brief is a deadline that is over soon.
func brief(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// TestR41DetachFollowsTheLastCommand: Close waits until every command is
// delivered and freed, and until task management is over; then DETACH.
func TestR41DetachFollowsTheLastCommand(t *testing.T) {
	r := newRig(t, Options{})
	f := newFront(t)
	s := r.attach(f)
	r.h.took()
	f.hold = true
	c := command(1, cdbNone, scsi.QueueSimple)
	s.Submit(c)
	var tm *MgmtCmd
	r.h.tmDone = func(m *MgmtCmd) { tm = m }
	s.TaskMgmt(&MgmtCmd{Fn: AbortTaskSet})
	if err := s.Close(brief(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close: %v", err)
	}
	f.deliver()
	ended(t, c, scsi.Good)
	if err := s.Close(brief(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Close: %v", err)
	}
	r.took("parse 1", "exec 1", "received 1", "tmdone 1", "free 1")
	tm.Done(TMSuccess)
	if err := s.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	r.took("detach 2")
	if !slices.Equal(r.dev.Sessions(), []*Session{r.sess}) {
		t.Error("the session is still there")
	}
}

// TestCloseMeansSilence: what comes for a session that has ended does not reach
// the handler, and events don't reach its front end.
func TestCloseMeansSilence(t *testing.T) {
	r := newRig(t, Options{})
	f := newFront(t)
	events := 0
	f.aen = func(UnitAttention) bool { events++; return true }
	s := r.attach(f)
	if err := s.Close(soon(t)); err != nil {
		t.Fatal(err)
	}
	r.h.took()
	before := events
	s.Notify(scsi.SenseCapacityChanged)
	if events != before {
		t.Error("an event after Close")
	}
	c := command(1, cdbNone, scsi.QueueSimple)
	s.Submit(c)
	endedWith(t, c, scsi.SenseLUNotSupported)
	m := &MgmtCmd{Fn: LUNReset}
	s.TaskMgmt(m)
	if len(f.tms) != 1 || m.Result != TMLUNNotExist {
		t.Errorf("%d task management functions over, result %d", len(f.tms), m.Result)
	}
	r.took()
	over, cancel := context.WithCancel(context.Background())
	cancel()
	for range 20 {
		if err := s.Close(over); err != nil {
			t.Fatal(err) // it is closed, and stays so
		}
	}
}

// TestCloseWaitsForTheFrontEnd: Freed and TMDone have returned when Close does.
func TestCloseWaitsForTheFrontEnd(t *testing.T) {
	for name, use := range map[string]func(*Session){
		"Freed":  func(s *Session) { s.Submit(command(1, cdbNone, simple)) },
		"TMDone": func(s *Session) { s.TaskMgmt(&MgmtCmd{Fn: LUNReset}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{})
			f := &slowFront{fakeFront: newFront(t), entered: make(chan struct{}), leave: make(chan struct{})}
			s := r.attach(f)
			go use(s)
			await(t, name, f.entered)
			if err := s.Close(brief(t)); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("Close: %v", err)
			}
			close(f.leave)
			if err := s.Close(soon(t)); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// slowFront takes its time with the end of things.
type slowFront struct {
	*fakeFront
	entered, leave chan struct{}
}

func (f *slowFront) Freed(*Cmd) {
	close(f.entered)
	<-f.leave
}

func (f *slowFront) TMDone(*MgmtCmd) { f.Freed(nil) }

// TestCloseWaitsForRefusedCommands: what was submitted to a session that the
// release of the device has ended is waited for as well.
func TestCloseWaitsForRefusedCommands(t *testing.T) {
	r := newRig(t, Options{})
	if err := r.dev.Unregister(soon(t)); err != nil {
		t.Fatal(err)
	}
	r.f.hold = true
	c := r.submit(1, cdbNone)
	for range 2 {
		if err := r.sess.Close(brief(t)); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("Close: %v", err)
		}
	}
	closed := make(chan error, 1)
	go func() { closed <- r.sess.Close(soon(t)) }()
	r.f.deliver()
	if err := await(t, "Close", closed); err != nil {
		t.Fatal(err)
	}
	endedWith(t, c, scsi.SenseLUNotSupported)
}

// TestR70Unregister: commands at the door and those that wait for their turn
// end, those that the handler has are waited for, and nothing new gets there.
func TestR70Unregister(t *testing.T) {
	r := newRig(t, Options{})
	r.f.rdy = func(*Cmd) Verdict { return Stop }
	r.h.setKeep(true)
	exec := r.submit(1, cdbNone)
	xfer := r.submit(2, cdbWrite)
	blocked := r.submitAs(3, cdbNone, scsi.QueueOrdered)
	got := r.suspending()
	held := r.submit(4, cdbNone)
	r.took("parse 1", "exec 1", "parse 2", "parse 3")

	gone := make(chan error, 1)
	go func() { gone <- r.dev.Unregister(soon(t)) }()
	r.freed(blocked, held)
	r.took("free 3")
	endedWith(t, blocked, scsi.SenseLUNotSupported)
	endedWith(t, held, scsi.SenseLUNotSupported)
	if r.f.gone != 1 {
		t.Errorf("SessionGone came %d times", r.f.gone)
	}
	late := r.submit(5, cdbNone)
	endedWith(t, late, scsi.SenseLUNotSupported)
	xfer.DataReceived() // too late for the handler
	endedWith(t, xfer, scsi.SenseLUNotSupported)
	r.took("free 2")
	r.h.release()
	await(t, "the suspension", got)()
	if err := await(t, "Unregister", gone); err != nil {
		t.Fatal(err)
	}
	ended(t, exec, scsi.Good)
	r.took("free 1", "detach 1")
	if n := len(r.dev.Sessions()); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
	if _, err := r.dev.NewSession(soon(t), newFront(t), SessionInfo{}); !errors.Is(err, ErrReleased) {
		t.Errorf("NewSession: %v", err)
	}
	r.took()
	if err := r.dev.Unregister(soon(t)); err != nil || r.f.gone != 1 {
		t.Errorf("again: %v, SessionGone came %d times", err, r.f.gone)
	}
}

// TestUnregisterFrontNeverDelivers: ctx ends the wait, and the rest goes on by
// itself when the front end comes round.
func TestUnregisterFrontNeverDelivers(t *testing.T) {
	r := newRig(t, Options{})
	r.f.hold = true
	r.submit(1, cdbNone)
	if err := r.dev.Unregister(brief(t)); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("Unregister: %v", err)
	}
	r.took("parse 1", "exec 1")
	r.f.deliver()
	if err := r.dev.Unregister(soon(t)); err != nil {
		t.Fatal(err)
	}
	r.took("free 1", "detach 1")
}

// TestUnregisterDuringAttach: a session whose attachment is under way is
// refused, and detached if the handler has accepted it; Unregister waits for
// that.
func TestUnregisterDuringAttach(t *testing.T) {
	for _, accept := range []bool{true, false} {
		r := newRig(t, Options{})
		inAttach, answer := make(chan struct{}), make(chan error)
		r.h.attach = func(*Session) error {
			close(inAttach)
			return <-answer
		}
		attached := make(chan error, 1)
		go func() {
			_, err := r.dev.NewSession(soon(t), newFront(t), SessionInfo{})
			attached <- err
		}()
		await(t, "ATTACH", inAttach)
		gone := make(chan error, 1)
		go func() { gone <- r.dev.Unregister(soon(t)) }()
		r.eventually("the device is gone", r.dev.isGone)
		select {
		case <-gone:
			t.Fatal("Unregister did not wait")
		case <-time.After(5 * time.Millisecond):
		}
		if accept {
			answer <- nil
		} else {
			answer <- errRefused
		}
		want := map[bool]error{true: ErrReleased, false: errRefused}[accept]
		if err := await(t, "NewSession", attached); !errors.Is(err, want) {
			t.Errorf("NewSession: %v, want %v", err, want)
		}
		if err := await(t, "Unregister", gone); err != nil {
			t.Error(err)
		}
		detached := slices.Contains(r.h.took(), "detach 2")
		if detached != accept {
			t.Errorf("detached: %v, want %v", detached, accept)
		}
	}
}

// TestCloseAndUnregisterAtOnce: each session is detached once, whoever began.
func TestCloseAndUnregisterAtOnce(t *testing.T) {
	for range 50 {
		r := newRig(t, Options{})
		var sessions []*Session
		for range 3 {
			sessions = append(sessions, r.attach(newFront(t)))
		}
		var wg sync.WaitGroup
		for _, s := range sessions {
			wg.Go(func() {
				c := command(1, cdbNone, scsi.QueueSimple)
				s.Submit(c)
				if err := s.Close(soon(t)); err != nil {
					t.Error(err)
				}
			})
		}
		for range 2 {
			wg.Go(func() {
				if err := r.dev.Unregister(soon(t)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		detached := map[string]int{}
		for _, l := range r.h.took() {
			detached[l]++
		}
		for _, what := range []string{"detach 1", "detach 2", "detach 3", "detach 4"} {
			if detached[what] != 1 {
				t.Fatalf("%s: %d times", what, detached[what])
			}
		}
	}
}

// TestNewSessionBusy: ctx bounds how long an attachment waits for commands.
func TestNewSessionBusy(t *testing.T) {
	r := newRig(t, Options{})
	r.h.setKeep(true)
	r.submit(1, cdbNone)
	if _, err := r.dev.NewSession(brief(t), newFront(t), SessionInfo{}); !errors.Is(err, ErrBusy) {
		t.Errorf("NewSession: %v, want ErrBusy", err)
	}
	r.h.release()
	if n := len(r.dev.Sessions()); n != 1 {
		t.Errorf("%d sessions", n)
	}
}

// TestSessionIdentity: handles are never 0 and never the same.
func TestSessionIdentity(t *testing.T) {
	r := newRig(t, Options{BlockSize: 4096})
	s := r.attach(newFront(t))
	if r.sess.Handle() == 0 || r.sess.Handle() == s.Handle() {
		t.Errorf("handles %d, %d", r.sess.Handle(), s.Handle())
	}
	if s.Device() != r.dev || r.dev.Name() != "disk" || r.dev.BlockSize() != 4096 || s.Info.Initiator != "i" {
		t.Error("a session does not know where it belongs")
	}
}
