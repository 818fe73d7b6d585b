package ucmd

import (
	"math"
	"testing"

	"scstuser/scsi"
	"scstuser/target"
)

// R66, R67, fact 49: RECEIVED then DONE, each with a handle of its own; the
// first one's result is ignored, the second one's counts.
func TestR66ReceivedThenDone(t *testing.T) {
	for _, x := range []struct{ result, want int32 }{
		{0, 0}, {-1, 0}, {-2, -2}, {-5, -5}, {-255, -255}, {-129, -129}, {math.MinInt32, math.MinInt32},
	} {
		b := newBench(t)
		b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
		_, subs, err := b.multi(nil, 5) // DONE does not wait for the RECEIVED reply
		if err != nil || len(subs) != 2 {
			t.Fatalf("%v, %v", subs, err)
		}
		r, d := subs[0], subs[1]
		wantR := Subcommand{Handle: r.Handle, Code: SubTMReceived, SessH: b.sess.Handle(), TMFunc: 4}
		wantD := Subcommand{Handle: r.Handle + 1, Code: SubTMDone, SessH: b.sess.Handle(), TMFunc: 4}
		if r != wantR || d != wantD {
			t.Errorf("got %+v and %+v", r, d)
		}
		b.reply(Reply{Handle: d.Handle, Code: SubTMDone, Result: x.result})
		if got := b.fe.tmResult(t); got != x.want {
			t.Errorf("result %d became %d, want %d", x.result, got, x.want)
		}
		b.reply(Reply{Handle: r.Handle, Code: SubTMReceived, Result: -77})
		b.refused(Reply{Handle: d.Handle, Code: SubTMDone}, errESRCH)
		if l := b.dev.Commands(); len(l) > 0 {
			t.Errorf("left: %v", l)
		}
		b.close()
	}
}

// R25: a wrong subcode gives a stage up: RECEIVED as if it had come, DONE as
// FAILED.
func TestR25TaskMgmtUnjam(t *testing.T) {
	b := newBench(t)
	defer b.close()
	b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.ClearACA})
	r, d := b.get(SubTMReceived), b.get(SubTMDone)
	b.refused(Reply{Handle: r.Handle, Code: SubTMDone}, errEINVAL)
	b.refused(Reply{Handle: d.Handle, Code: SubTMReceived}, errEINVAL)
	if got := b.fe.tmResult(t); got != target.TMFailed {
		t.Errorf("result %d, want FAILED", got)
	}
}

// R68, facts 49 and 50: fetched commands are left to the handler, and DONE
// waits for them; ABORT TASK names the handle, once, and only if the handler
// has it.
func TestR68AbortTask(t *testing.T) {
	b := newBench(t)
	defer b.close()
	b.doWrite(8)
	for _, fetched := range []bool{true, false} {
		c := b.initCmd(scsi.EncodeWrite16(0, 8, false))
		c.Tag = 42
		b.sess.Submit(c)
		var s Subcommand
		want := uint32(0)
		if fetched {
			s = b.get(SubExec)
			want = s.Handle
		}
		b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.AbortTask, Tag: 42})
		r := b.get(SubTMReceived)
		if r.CmdHToAbort != want || r.CmdSN != 0 || r.CmdSNSet || r.TMFunc != 0 {
			t.Errorf("fetched %v: TM_RECEIVED %+v, want cmd_h_to_abort %d", fetched, r, want)
		}
		b.reply(Reply{Handle: r.Handle, Code: r.Code})
		if fetched {
			b.none()
			b.reply(completed(s))
		}
		d := b.get(SubTMDone)
		if d.CmdHToAbort != 0 {
			t.Errorf("TM_DONE %+v", d)
		}
		b.reply(Reply{Handle: d.Handle, Code: d.Code})
		if got := b.fe.tmResult(t); got != target.TMSuccess {
			t.Errorf("result %d", got)
		}
		b.none()
	}
	// A command that is not there.
	b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.AbortTask, Tag: 4711})
	for _, code := range []Subcode{SubTMReceived, SubTMDone} {
		s := b.get(code)
		if s.CmdHToAbort != 0 {
			t.Errorf("%+v", s)
		}
		b.reply(Reply{Handle: s.Handle, Code: code})
	}
	if got := b.fe.tmResult(t); got != target.TMTaskNotExist {
		t.Errorf("result %d, want that it does not exist", got)
	}
}

// R69: task management gets through when commands don't.
func TestR69NeverRefusedForLackOfUcmds(t *testing.T) {
	b := newBench(t, withLimits(Limits{MaxUcmds: 2}))
	defer b.close()
	subs := b.execs(2)
	c := b.submit(syncCDB)
	b.none()
	b.ended(c, scsi.TaskSetFull, "")
	b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.ClearACA})
	for _, code := range []Subcode{SubTMReceived, SubTMDone} {
		b.reply(Reply{Handle: b.get(code).Handle, Code: code})
	}
	for _, s := range subs {
		b.execDone(s)
	}
	b.execDone(b.execs(1)[0])
}
