package node

import (
	"bytes"
	"context"
	"syscall"
	"testing"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
)

// waitFor asks until cond holds.
func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !cond(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// R10, R24, facts 12, 17: a get on a non-blocking device is EAGAIN.
func TestR24NonBlocking(t *testing.T) {
	r := registered(t, Options{PollWait: time.Millisecond}, true, nil)
	start := time.Now()
	r.do(abi.IoctlReplyAndGetCmd, make([]byte, abi.SizeGetCmd), syscall.EAGAIN)
	if time.Since(start) < time.Millisecond/2 { // F5
		t.Error("a poll that found nothing did not wait a little")
	}
	m, _, errno := r.multi(nil, 4)
	if errno != syscall.EAGAIN || m.RepliesDone != 0 || m.CmdsCnt != 0 {
		t.Errorf("MULTI: %v %+v", errno, m)
	}
	if m, _, errno = r.multi(nil, 0); errno != 0 || m.CmdsCnt != 0 {
		t.Errorf("MULTI for nothing: %v %+v", errno, m)
	}
	if m, _, errno = r.multi(nil, -3); errno != 0 || m.CmdsCnt != 0 { // fact 12
		t.Errorf("MULTI for less than nothing: %v %+v", errno, m)
	}
}

// R15, R70, fact 11: UNREGISTER and the release wake who waits.
func TestR15Unregister(t *testing.T) {
	for name, end := range map[string]func(r *rig){
		"unregister": func(r *rig) { r.file.Device().Unregister() },
		"host":       func(r *rig) { go r.host.Close(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			r := registered(t, Options{}, false, nil)
			got := make(chan syscall.Errno)
			go func() {
				_, errno := r.call(context.Background(), abi.IoctlReplyAndGetCmd, make([]byte, abi.SizeGetCmd))
				got <- errno
			}()
			time.Sleep(5 * time.Millisecond)
			end(r)
			if errno := <-got; errno != syscall.EAGAIN {
				t.Errorf("the get ended with %v, want EAGAIN", errno)
			}
		})
	}
}

// R24, F4, fact 19: an interrupted get consumes its replies, and they can't be
// given again by a restart.
func TestF4Interrupt(t *testing.T) {
	for _, plain := range []bool{false, true} {
		r := attached(t, Options{InterruptErrno: plain}, false, nil)
		s := r.submit(scsi.EncodeTestUnitReady(), nil)
		c := r.expect(abi.SubcodeExec)
		in := make([]byte, abi.SizeGetCmd)
		reply := r.mem.put(r.encode(execOK(c, 0, 0), abi.SizeReplyCmd))
		_ = abi.PutPReply(in, reply)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
		ret, errno := r.call(ctx, abi.IoctlReplyAndGetCmd, in)
		cancel()
		r.ends(s, scsi.Good, scsi.SenseNone)
		left, _ := abi.PReply(r.mem.get(r.arg, abi.SizeGetCmd))
		switch {
		case plain && (errno != syscall.EINTR || left != reply):
			t.Errorf("plain: %d %v, preply %#x", ret, errno, left)
		case !plain && (ret != restartSys || errno != 0 || left != 0):
			t.Errorf("restart: %d %v, preply %#x", ret, errno, left)
		}
	}
}

// F4, fact 19: a MULTI that is restarted with what it left waits for as much as
// before, and tells the replies that it had consumed.
func TestF4MultiRestart(t *testing.T) {
	r := attached(t, Options{}, false, nil)
	s := r.submit(scsi.EncodeTestUnitReady(), nil)
	c := r.expect(abi.SubcodeExec)
	raw := r.encode(execOK(c, 0, 0), abi.SizeReplyCmd)
	x := abi.Multi{PReplies: r.mem.put(raw), RepliesCnt: 1, CmdsCnt: 2}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	if ret, errno := r.call(ctx, abi.IoctlReplyAndGetMulti, r.encode(&x, abi.SizeMulti)); ret != restartSys || errno != 0 {
		t.Fatalf("%d %v", ret, errno)
	}
	r.ends(s, scsi.Good, scsi.SenseNone)
	left := r.mem.get(r.arg, abi.SizeMulti)
	var m abi.Multi
	_ = m.Decode(left)
	if m.RepliesCnt != 0 || m.RepliesDone != 1 || m.CmdsCnt != 0 {
		t.Errorf("left behind: %+v", m)
	}
	s = r.submit(scsi.EncodeTestUnitReady(), nil)
	if ret, errno := r.call(context.Background(), abi.IoctlReplyAndGetMulti, left); ret != 0 || errno != 0 {
		t.Fatalf("restarted: %d %v", ret, errno)
	}
	_ = m.Decode(r.mem.get(r.arg, abi.SizeMulti))
	if m.RepliesDone != 1 || m.CmdsCnt != 1 {
		t.Errorf("restarted: %+v", m)
	}
	_ = c.Decode(r.mem.get(abi.MultiCmdAddr(r.arg, 0), abi.SizeGetCmd))
	r.reply(execOK(c, 0, 0), 0)
	r.ends(s, scsi.Good, scsi.SenseNone)
}

// R23: a reply that is refused means that nothing is fetched; R25: the errnos.
func TestR25ReplyErrors(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	r.reply(&abi.Answer{CmdH: 4711, Subcode: abi.SubcodeExec, Exec: &abi.ExecReply{ReplyType: 1}}, syscall.ESRCH)
	a := r.submit(scsi.EncodeTestUnitReady(), nil)
	c := r.expect(abi.SubcodeExec)
	wrong := allocReply(c, 0)
	if _, errno := r.get(wrong); errno != syscall.EINVAL {
		t.Errorf("wrong subcode: %v", errno)
	}
	r.ends(a, scsi.CheckCondition, scsi.SenseLUNotSupported)

	b := r.submit(scsi.EncodeTestUnitReady(), nil)
	c = r.expect(abi.SubcodeExec)
	if _, errno := r.get(execOK(c, 512, 0)); errno != syscall.EINVAL { // R57
		t.Errorf("data for TEST UNIT READY: %v", errno)
	}
	r.ends(b, scsi.CheckCondition, scsi.SenseAbortedInternalFailure)

	in := make([]byte, abi.SizeGetCmd)
	_ = abi.PutPReply(in, 8)
	r.do(abi.IoctlReplyAndGetCmd, in, syscall.EFAULT)
}

// R4: nothing behind the payload of the subcommand is written.
func TestR4PayloadOnly(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	s := r.submit(scsi.EncodeTestUnitReady(), nil)
	waitFor(t, "a command", func() bool { return r.file.Device().Poll() })
	in := pattern(abi.SizeGetCmd, 3)
	_ = abi.PutPReply(in, 0)
	if _, errno := r.call(context.Background(), abi.IoctlReplyAndGetCmd, in); errno != 0 {
		t.Fatal(errno)
	}
	n := abi.SubcodeExec.GetLen()
	if got := r.mem.get(r.arg, abi.SizeGetCmd); !bytes.Equal(got[n:], in[n:]) {
		t.Error("bytes behind the payload have changed")
	}
	var c abi.Command
	_ = c.Decode(r.mem.get(r.arg, abi.SizeGetCmd))
	r.reply(execOK(c, 0, 0), 0)
	r.ends(s, scsi.Good, scsi.SenseNone)
}

// R27: a get into memory that can't be written is EFAULT, and the same command
// comes again.
func TestR27Requeue(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	s := r.submit(scsi.EncodeTestUnitReady(), nil)
	waitFor(t, "a command", func() bool { return r.file.Device().Poll() })
	r.mem.protect(r.arg, true)
	c := Call{Cmd: abi.IoctlReplyAndGetCmd, Arg: r.arg, In: make([]byte, abi.SizeGetCmd), TID: 1, Mem: r.mem}
	for range 3 {
		if _, errno, _ := r.file.Ioctl(context.Background(), &c); errno != syscall.EFAULT {
			t.Fatalf("get into read-only memory: %v", errno)
		}
	}
	r.mem.protect(r.arg, false)
	x := r.expect(abi.SubcodeExec)
	r.reply(execOK(x, 0, 0), 0)
	r.ends(s, scsi.Good, scsi.SenseNone)
}

// R28 to R30, facts 13 to 15: replies in order up to the first bad one.
func TestR28Multi(t *testing.T) {
	r := attached(t, Options{Batch: 2}, true, nil)
	three := func() (s [3]*sent, c [3]abi.Command) {
		for i := range s {
			s[i] = r.submit(scsi.EncodeSyncCache16(0, 0), nil)
			c[i] = r.expect(abi.SubcodeExec)
		}
		return s, c
	}
	good := func(c abi.Command) abi.Answer { return *execOK(c, 0, 0) }
	unknown := abi.Answer{CmdH: 99999, Subcode: abi.SubcodeExec, Exec: &abi.ExecReply{ReplyType: 1}}

	s, c := three()
	m, _, errno := r.multi([]abi.Answer{good(c[0]), good(c[1]), good(c[2])}, 0)
	if errno != 0 || m.RepliesDone != 3 || m.CmdsCnt != 0 {
		t.Errorf("three good ones in two steps: %v %+v", errno, m)
	}
	for i := range s {
		r.ends(s[i], scsi.Good, scsi.SenseNone)
	}
	s, c = three()
	m, _, errno = r.multi([]abi.Answer{good(c[0]), good(c[1]), unknown, good(c[2])}, 1)
	if errno != syscall.ESRCH || m.RepliesDone != 2 || m.CmdsCnt != 0 {
		t.Errorf("the third one unknown: %v %+v", errno, m)
	}
	m, _, errno = r.multi([]abi.Answer{good(c[2])}, 1)
	if errno != syscall.EAGAIN || m.RepliesDone != 1 || m.CmdsCnt != 0 { // fact 15
		t.Errorf("the rest, nothing ready: %v %+v", errno, m)
	}
	r.ends(s[2], scsi.Good, scsi.SenseNone)
	// Replies whose memory ends.
	s, c = three()
	raw := r.encode(execOK(c[0], 0, 0), abi.SizeReplyCmd)
	at := r.mem.alloc(pageSize) + pageSize - abi.SizeReplyCmd
	r.mem.set(at, raw)
	x := abi.Multi{PReplies: at, RepliesCnt: 3, CmdsCnt: 1}
	r.do(abi.IoctlReplyAndGetMulti, r.encode(&x, abi.SizeMulti), syscall.EFAULT)
	_ = m.Decode(r.mem.get(r.arg, abi.SizeMulti))
	if m.RepliesDone != 1 {
		t.Errorf("one readable reply of three: %+v", m)
	}
	r.ends(s[0], scsi.Good, scsi.SenseNone)
	r.multi([]abi.Answer{good(c[1]), good(c[2])}, 0)
	r.ends(s[1], scsi.Good, scsi.SenseNone)
	r.ends(s[2], scsi.Good, scsi.SenseNone)
}

// R29, fact 14: several subcommands at once; a fault at the second keeps the
// first.
func TestR29MultiFault(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	var s [3]*sent
	for i := range s {
		s[i] = r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	}
	dev := r.file.Device()
	waitFor(t, "three ucmds", func() bool { return len(dev.Commands()) == 3 })
	// The second one's place is beyond the argument's memory.
	arg := r.arg
	r.arg = r.mem.alloc(pageSize) + pageSize - abi.SizeMulti - abi.SizeGetCmd
	m, cmds, errno := r.multi(nil, 3)
	if errno != syscall.EFAULT || m.CmdsCnt != 1 || len(cmds) != 1 {
		t.Fatalf("%v %+v", errno, m)
	}
	r.arg = arg
	m, more, errno := r.multi(nil, 3)
	if errno != 0 || m.CmdsCnt != 2 {
		t.Fatalf("again: %v %+v", errno, m)
	}
	if more[0].CmdH >= more[1].CmdH {
		t.Errorf("the order has changed: %d, %d", more[0].CmdH, more[1].CmdH)
	}
	for _, c := range append(cmds, more...) {
		r.reply(execOK(c, 0, 0), 0)
	}
	for i := range s {
		r.ends(s[i], scsi.Good, scsi.SenseNone)
	}
}
