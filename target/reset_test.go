package target

import (
	"context"
	"testing"

	"scstuser/scsi"
)

// R68 on the target's own behalf: what waits ends at once, what the handler
// has when it is through with it; all sessions are told, once; no front end
// hears of a function that it did not send.
func TestR68ResetUnit(t *testing.T) {
	r := newRig(t, Options{})
	var told [2]int
	fronts := [2]*fakeFront{r.f, newFront(t)}
	sessions := [2]*Session{r.sess, r.attach(fronts[1])}
	for i, f := range fronts {
		f.aen = func(ua UnitAttention) bool {
			if ua.Is(scsi.SensePowerOnReset) {
				told[i]++
			}
			return true
		}
	}
	r.h.took()
	r.h.setKeep(true)
	held := [2]*Cmd{}
	waiting := [2]*Cmd{}
	for i, s := range sessions {
		held[i] = command(uint64(1+i), cdbNone, scsi.QueueSimple)
		s.Submit(held[i])
		waiting[i] = command(uint64(3+i), cdbNone, scsi.QueueOrdered)
		s.Submit(waiting[i])
	}
	if !r.sess.ResetUnit() {
		t.Fatal("refused")
	}
	for i, f := range fronts {
		if got := f.responses(); len(got) != 1 || got[0] != uint64(3+i) {
			t.Errorf("session %d: responses %v before the handler is through, want the waiting command's", i, got)
		}
	}
	if told != [2]int{} {
		t.Errorf("told %v before it is over", told)
	}
	r.h.release()
	for i := range held {
		endedWith(t, held[i], scsi.SenseAbortedInternalFailure)
		endedWith(t, waiting[i], scsi.SenseAbortedInternalFailure)
	}
	if told != [2]int{1, 1} {
		t.Errorf("told %v, want each session once", told)
	}
	got := r.h.took()
	n := map[string]int{}
	for _, l := range got {
		n[l]++
	}
	if n["received 4"] != 1 || n["tmdone 4"] != 1 {
		t.Errorf("the handler heard %v, want one LUN RESET", got)
	}
	for _, f := range fronts {
		if len(f.tms) != 0 {
			t.Error("a front end got the outcome of a function that it did not send")
		}
	}
	r.freed(held[0], waiting[0])
	if len(fronts[1].freed) != 2 {
		t.Errorf("I1: %d commands of the other session are freed, want 2", len(fronts[1].freed))
	}
	if n := r.sess.Inflight(); n != 0 {
		t.Errorf("the session is still used %d times", n)
	}
}

// A session that is gone has nothing to reset for.
func TestResetUnitAfterClose(t *testing.T) {
	r := newRig(t, Options{})
	if err := r.sess.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	r.h.took()
	if r.sess.ResetUnit() {
		t.Error("the unit of a session that is gone was reset")
	}
	if got := r.h.took(); len(got) != 0 {
		t.Errorf("the handler heard %v", got)
	}
}
