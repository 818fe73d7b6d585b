package ucmd

import (
	"context"
	"errors"
	"math"
	"syscall"
	"testing"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// R39: what ATTACH_SESS tells; the first command of a device has handle 0
// (fact 9), and its ucmd two references while it is pending (fact 25).
func TestR39Attach(t *testing.T) {
	b := newBareBench(t)
	defer b.close()
	got := b.attachAsync(b.fe)
	s := b.waitGet()
	want := SessInfo{LUN: 5, ReadOnly: true, Initiator: "i", Target: "t", TransportVersion: 0x0be0}
	if s.Code != SubAttachSess || s.Handle != 0 || s.SessH == 0 || s.Sess == nil || *s.Sess != want {
		t.Errorf("ATTACH_SESS %+v", s)
	}
	b.only(t, Command{Handle: 0, State: StateAttachSess, Ref: 2, Owners: "creation+attach", Sent: true, Seen: true})
	b.reply(Reply{Handle: 0, Code: SubAttachSess})
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	if b.sess.Handle() != s.SessH {
		t.Errorf("sess_h %d, the session's is %d", s.SessH, b.sess.Handle())
	}
	b.refused(Reply{Handle: 0, Code: SubAttachSess}, errESRCH)
}

// R39: nothing executes, and nothing is pending, while ATTACH_SESS is out.
func TestR39NothingExecutesDuringAttach(t *testing.T) {
	b := newBench(t)
	defer b.close()
	_, s := b.writeExec(8)
	first := b.sess
	got := b.attachAsync(&testFront{})
	select {
	case err := <-got:
		t.Fatalf("attached with an EXEC outstanding: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	b.none()
	b.execDone(s)
	a := b.waitGet()
	if a.Code != SubAttachSess {
		t.Fatalf("got %v", a.Code)
	}
	held := b.submitTo(first, syncCDB, scsi.QueueSimple)
	b.none()
	b.reply(Reply{Handle: a.Handle, Code: a.Code})
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	b.execDone(b.waitGet())
	b.good(held)
}

// R40, fact 47: a result that is not zero refuses, with either sign; so does
// a wrong subcode. No DETACH_SESS follows.
func TestR40AttachRefused(t *testing.T) {
	for _, x := range []struct {
		result int32
		code   Subcode
		want   error
	}{
		{-12, SubAttachSess, syscall.ENOMEM}, {12, SubAttachSess, syscall.ENOMEM}, {-16, SubAttachSess, syscall.EBUSY},
		{math.MinInt32, SubAttachSess, syscall.Errno(1 << 31)}, {math.MaxInt32, SubAttachSess, syscall.Errno(math.MaxInt32)},
		{0, SubExec, syscall.EFAULT}, {0, SubDetachSess, syscall.EFAULT},
	} {
		b := newBareBench(t)
		got := b.attachAsync(b.fe)
		s := b.waitGet()
		r := Reply{Handle: s.Handle, Code: x.code, Result: x.result}
		if x.code == SubAttachSess {
			b.reply(r)
		} else {
			b.refused(r, errEINVAL)
		}
		if err := <-got; !errors.Is(err, x.want) || err.Error() == "" {
			t.Errorf("result %d, subcode %v: %v, want %v", x.result, x.code, err, x.want)
		}
		b.refused(Reply{Handle: s.Handle, Code: SubAttachSess}, errESRCH)
		b.none()
		if l := b.dev.Commands(); len(l) > 0 {
			t.Errorf("left: %v", l)
		}
		b.close()
	}
}

// R40, fact 47: no reply in time refuses; a late one is harmless.
func TestR40AttachTimeout(t *testing.T) {
	b := newBareBench(t, withLimits(Limits{AttachTimeout: 20 * time.Millisecond}))
	defer b.close()
	got := b.attachAsync(b.fe)
	s := b.waitGet()
	if err := <-got; !errors.Is(err, errEFAULT) {
		t.Errorf("%v, want EFAULT", err)
	}
	b.only(t, Command{Handle: 0, State: StateAttachSess, Ref: 1, Owners: "creation", Sent: true, Seen: true})
	b.reply(Reply{Handle: s.Handle, Code: SubAttachSess})
	b.refused(Reply{Handle: s.Handle, Code: SubAttachSess}, errESRCH)
}

// An ATTACH_SESS that nobody has fetched in time is not delivered later: its
// session does not exist, and no DETACH_SESS would follow.
func TestR40AttachTimeoutUnfetched(t *testing.T) {
	b := newBareBench(t, withLimits(Limits{AttachTimeout: 10 * time.Millisecond}))
	defer b.close()
	if err := <-b.attachAsync(b.fe); !errors.Is(err, errEFAULT) {
		t.Errorf("%v, want EFAULT", err)
	}
	b.none()
	if l := b.dev.Commands(); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
	b.dev.limits.AttachTimeout = 5 * time.Second
	b.sess = b.attach(b.fe)
	b.doWrite(8)
}

// R41, fact 48: DETACH_SESS says which session and nothing else; its result is
// ignored, and the order ATTACH < commands < DETACH is kept.
func TestR41Detach(t *testing.T) {
	b := newBench(t)
	defer b.close()
	c, s := b.writeExec(8)
	h := b.sess.Handle()
	closed := make(chan error)
	go func() { closed <- b.sess.Close(context.Background()) }()
	select {
	case err := <-closed:
		t.Fatalf("detached with an EXEC outstanding: %v", err)
	case <-time.After(10 * time.Millisecond):
	}
	b.none()
	b.execDone(s)
	b.good(c)
	s = b.waitGet()
	if (s != Subcommand{Handle: s.Handle, Code: SubDetachSess, SessH: h}) {
		t.Errorf("DETACH_SESS %+v", s)
	}
	b.reply(Reply{Handle: s.Handle, Code: SubDetachSess, Result: -5})
	if err := <-closed; err != nil {
		t.Error(err)
	}
	b.refused(Reply{Handle: s.Handle, Code: SubDetachSess}, errESRCH)
}

// R42, R70: the handler dies with ATTACH_SESS outstanding, or queued.
func TestR42AttachAtRelease(t *testing.T) {
	for _, fetched := range []bool{true, false} {
		b := newBareBench(t)
		got := b.attachAsync(b.fe)
		eventually(t, "it is queued", func() bool { return len(b.dev.Commands()) == 1 })
		if fetched {
			b.get(SubAttachSess)
		}
		b.close()
		if err := <-got; !errors.Is(err, errEFAULT) {
			t.Errorf("fetched %v: %v, want EFAULT", fetched, err)
		}
		if err := <-b.attachAsync(b.fe); !errors.Is(err, target.ErrReleased) {
			t.Errorf("after the release: %v", err)
		}
	}
}
