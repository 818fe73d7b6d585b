package node

import (
	"bytes"
	"context"
	"syscall"
	"testing"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/target"
)

// F7, R49, R53, R56: a WRITE's payload is in pbuf when its EXEC is seen, READ
// data comes from there, and a cached buffer serves again.
func TestF7Data(t *testing.T) {
	for _, multi := range []bool{false, true} {
		r := attached(t, Options{}, true, nil)
		fetch := func() abi.Command {
			if !multi {
				return r.fetch(nil)
			}
			for {
				if _, cmds, errno := r.multi(nil, 1); errno == 0 && len(cmds) == 1 {
					return cmds[0]
				}
			}
		}
		pbuf := r.mem.alloc(4096)
		want := pattern(4096, 1)
		w := r.write(want)
		c := fetch()
		if c.Subcode != abi.SubcodeAllocMem || c.AllocMem.AllocLen != 4096 {
			t.Fatalf("got %+v, want ALLOC_MEM of 4096", c)
		}
		r.reply(allocReply(c, pbuf), 0)
		c = fetch()
		if c.Subcode != abi.SubcodeExec || c.Exec.PBuf != pbuf || !bytes.Equal(r.mem.get(pbuf, 4096), want) {
			t.Fatalf("EXEC %+v: the payload is not in pbuf", c.Exec)
		}
		r.reply(execOK(c, 0, 0), 0)
		r.ends(w, scsi.Good, scsi.SenseNone)
		// The same buffer for a READ.
		rd := r.read(2)
		c = fetch()
		if c.Exec.PBuf != pbuf || c.Exec.AllocLen != 0 {
			t.Fatalf("EXEC of a READ with a cached buffer: %+v", c.Exec)
		}
		want = pattern(1024, 2)
		r.mem.set(pbuf, want)
		r.reply(execOK(c, 1024, 0), 0)
		if r.ends(rd, scsi.Good, scsi.SenseNone); !bytes.Equal(rd.data, want) {
			t.Error("the READ got other bytes")
		}
		// A larger one comes with its own buffer.
		rd = r.read(16)
		c = fetch()
		if c.Exec.PBuf != 0 || c.Exec.AllocLen != 8192 {
			t.Fatalf("EXEC of a READ without a buffer: %+v", c.Exec)
		}
		want = pattern(8192, 3)
		big := r.mem.put(want)
		r.reply(execOK(c, 8192, big), 0)
		if r.ends(rd, scsi.Good, scsi.SenseNone); !bytes.Equal(rd.data, want) {
			t.Error("the READ with its own buffer got other bytes")
		}
	}
}

// R51, R52, R56, fact 36: buffers that are none.
func TestR52BadBuffers(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	readOnly := r.mem.alloc(4096)
	r.mem.protect(readOnly, true)
	short := r.mem.alloc(4096) // and a hole behind
	for _, x := range []struct {
		name   string
		pbuf   abi.Addr
		len    int
		errno  syscall.Errno // of the ALLOC_MEM reply
		status scsi.Status
		sense  scsi.Sense
		read   syscall.Errno // of the EXEC reply to a READ
	}{
		{"none", 0, 4096, 0, scsi.Busy, scsi.SenseNone, 0},
		{"unmapped", 0x7fff0000, 4096, syscall.EFAULT, scsi.CheckCondition, scsi.SenseAbortedInternalFailure, 0},
		{"read-only", readOnly, 4096, syscall.EFAULT, scsi.CheckCondition, scsi.SenseAbortedInternalFailure, 0},
		{"too short", short, 8192, syscall.EFAULT, scsi.CheckCondition, scsi.SenseAbortedInternalFailure, 0},
		{"at the end of the world", ^abi.Addr(0) &^ 4095, 8192, syscall.EFAULT, scsi.CheckCondition, scsi.SenseAbortedInternalFailure, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			w := r.write(pattern(x.len, 1))
			c := r.expect(abi.SubcodeAllocMem)
			r.reply(allocReply(c, x.pbuf), x.errno)
			r.ends(w, x.status, x.sense)
			rd := r.read(uint32(x.len / 512))
			c = r.expect(abi.SubcodeExec)
			r.reply(execOK(c, x.len, x.pbuf), x.read)
			r.ends(rd, x.status, x.sense)
		})
	}
	w := r.write(pattern(4096, 1))
	c := r.expect(abi.SubcodeAllocMem)
	r.reply(allocReply(c, short+8), syscall.EINVAL) // R51
	r.ends(w, scsi.CheckCondition, scsi.SenseHardwareInternalFailure)
	if s := &r.file.att.space.store; s.live != 0 {
		t.Errorf("%d host buffers are left of refused ones", s.live)
	}
}

// A buffer that goes away between its ALLOC_MEM reply and the EXEC: the WRITE
// fails and is never seen; and one that goes away under a READ.
func TestVanishingBuffers(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	pbuf := r.mem.alloc(4096)
	w := r.write(pattern(4096, 1))
	c := r.expect(abi.SubcodeAllocMem)
	r.reply(allocReply(c, pbuf), 0)
	page := r.mem.pages[pbuf]
	r.mem.unmap(pbuf)
	other := r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	waitFor(t, "both", func() bool { return len(r.file.Device().Commands()) == 2 })
	_, cmds, errno := r.multi(nil, 4)
	if errno != 0 || len(cmds) != 1 || cmds[0].Exec.CDB[0] != byte(scsi.OpSyncCache16) {
		t.Fatalf("got %v %+v, want the other command alone", errno, cmds)
	}
	r.ends(w, scsi.CheckCondition, scsi.SenseAbortedInternalFailure)
	r.reply(execOK(cmds[0], 0, 0), 0)
	r.ends(other, scsi.Good, scsi.SenseNone)

	r.mem.pages[pbuf] = page
	rd := r.read(8)
	c = r.expect(abi.SubcodeExec)
	r.mem.unmap(pbuf)
	r.reply(execOK(c, 4096, 0), 0)
	r.ends(rd, scsi.CheckCondition, scsi.SenseAbortedInternalFailure)
}

// I3, I7: two commands with one pbuf, one handle twice in a MULTI, and replies
// with huge lengths hurt nobody else.
func TestLyingReplies(t *testing.T) {
	r := attached(t, Options{MaxBuffers: 4 << 20}, true, nil)
	pbuf := r.mem.put(pattern(4096, 9))
	a, b := r.write(pattern(4096, 1)), r.write(pattern(4096, 2))
	c1, c2 := r.expect(abi.SubcodeAllocMem), r.expect(abi.SubcodeAllocMem)
	m, cmds, errno := r.multi([]abi.Answer{*allocReply(c1, pbuf), *allocReply(c2, pbuf)}, 2)
	if errno != 0 || m.RepliesDone != 2 || len(cmds) != 2 {
		t.Fatalf("%v %+v", errno, m)
	}
	m, _, errno = r.multi([]abi.Answer{*execOK(cmds[0], 0, 0), *execOK(cmds[0], 0, 0), *execOK(cmds[1], 0, 0)}, 0)
	if errno != syscall.EINVAL || m.RepliesDone != 1 { // it owns its buffer: fact 26
		t.Errorf("one handle twice: %v %+v", errno, m)
	}
	r.reply(execOK(cmds[1], 0, 0), 0)
	r.ends(a, scsi.Good, scsi.SenseNone)
	r.ends(b, scsi.Good, scsi.SenseNone)
	for _, n := range []int{-1, 4097, 1<<31 - 1} {
		rd := r.read(8)
		c := r.expect(abi.SubcodeExec)
		x := execOK(c, n, pbuf)
		r.reply(x, syscall.EINVAL)
		r.ends(rd, scsi.CheckCondition, scsi.SenseAbortedInternalFailure)
	}
	// More than the host gives one handler.
	w := r.write(pattern(8<<20, 1))
	c := r.expect(abi.SubcodeAllocMem)
	big := r.mem.alloc(8 << 20)
	r.reply(allocReply(c, big), syscall.EFAULT)
	r.ends(w, scsi.CheckCondition, scsi.SenseAbortedInternalFailure)
}

// R46, R58, R60, fact 37: sense and lists are read, and what if they can't be.
func TestR58Sense(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	sense := scsi.SenseReadError.AppendFixed(nil)
	s := r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	c := r.expect(abi.SubcodeExec)
	a := execOK(c, 0, 0)
	a.Exec.Status, a.Exec.SenseLen, a.Exec.PSenseBuffer = uint8(scsi.CheckCondition), uint8(len(sense)), r.mem.put(sense)
	r.reply(a, 0)
	r.ends(s, scsi.CheckCondition, scsi.SenseReadError)

	s = r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	a.CmdH, a.Exec.PSenseBuffer = r.expect(abi.SubcodeExec).CmdH, 8
	r.reply(a, syscall.EFAULT)
	// The target asks for the sense that is missing, once (2.9).
	c = r.expect(abi.SubcodeExec)
	r.reply(execOK(c, 0, 0), 0)
	if r.wait(s); s.status != scsi.CheckCondition {
		t.Errorf("ended with %v", s.status)
	}
	w := r.submit(scsi.EncodeWriteSame16(0, 8, false, false), pattern(512, 1))
	c = r.fetch(nil)
	if c.Subcode == abi.SubcodeAllocMem {
		r.reply(allocReply(c, r.mem.alloc(4096)), 0)
		c = r.expect(abi.SubcodeExec)
	}
	r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode, Exec: &abi.ExecReply{
		ReplyType: abi.ExecReplyDoWriteSame, WSDescriptorsLen: 32, WSDescriptors: 8}}, syscall.EFAULT)
	r.ends(w, scsi.CheckCondition, scsi.SenseHardwareInternalFailure)
}

// R38, fact 34: PREALLOC_BUFFER.
func TestR38Prealloc(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	at := r.mem.alloc(8192)
	for _, x := range []struct {
		name string
		in   abi.PreallocIn
		want syscall.Errno
	}{
		{"unaligned", abi.PreallocIn{PBuf: at + 1, BuffLen: 4096}, syscall.EINVAL},
		{"unmapped", abi.PreallocIn{PBuf: 0x7fff0000, BuffLen: 4096}, syscall.EFAULT},
		{"empty", abi.PreallocIn{PBuf: at}, syscall.ENOMEM},
		{"huge", abi.PreallocIn{PBuf: at, BuffLen: 1<<32 - 1}, syscall.ENOMEM},
		{"no size class", abi.PreallocIn{PBuf: r.mem.alloc(12288), BuffLen: 12288}, syscall.ENOMEM},
		{"good", abi.PreallocIn{PBuf: at, BuffLen: 4096}, 0},
		{"clustered", abi.PreallocIn{PBuf: at + 4096, BuffLen: 4096, ForClustPool: 1}, 0},
	} {
		r.do(abi.IoctlPreallocBuffer, r.encode(&x.in, abi.SizePreallocIn), x.want)
	}
	want := pattern(4096, 5)
	w := r.write(want)
	c := r.expect(abi.SubcodeExec) // no ALLOC_MEM
	if c.Exec.PBuf != at || !bytes.Equal(r.mem.get(at, 4096), want) {
		t.Errorf("the WRITE does not use the buffer: %+v", c.Exec)
	}
	r.reply(execOK(c, 0, 0), 0)
	r.ends(w, scsi.Good, scsi.SenseNone)
	r.do(abi.IoctlFlushCache, nil, 0) // R35
	for range 2 {
		c := r.expect(abi.SubcodeOnCachedMemFree)
		r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode}, 0)
	}
	if s := &r.file.att.space.store; s.live != 0 {
		t.Errorf("%d host buffers are left", s.live)
	}
}

// R16 to R20, R36, R37: the rest.
func TestR16Manage(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	o := abi.Opt{OnFreeCmdType: 0, MemoryReuseType: 1, TST: 1, QueueAlg: 1, TAS: 1, PartialLen: 7}
	r.do(abi.IoctlSetOptions, r.encode(&o, abi.SizeOpt), 0)
	r.do(abi.IoctlGetOptions, pattern(abi.SizeOpt, 1), 0)
	var got abi.Opt
	if _ = got.Decode(r.mem.get(r.arg, abi.SizeOpt)); got != o {
		t.Errorf("options %+v, want %+v", got, o)
	}
	bad := o
	bad.SWP = 2
	r.do(abi.IoctlSetOptions, r.encode(&bad, abi.SizeOpt), syscall.EINVAL)
	bad = o
	bad.TST = 0 // R19
	r.do(abi.IoctlSetOptions, r.encode(&bad, abi.SizeOpt), syscall.EINVAL)

	r.do(abi.IoctlCapacityChanged, nil, 0)
	s := r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	waitFor(t, "the command", func() bool { return len(r.file.Device().Commands()) == 1 })
	r.do(abi.IoctlReplyAndGetCmd, make([]byte, abi.SizeGetCmd), syscall.EAGAIN)
	r.ends(s, scsi.CheckCondition, scsi.SenseCapacityChanged)

	x := abi.GetExtCDB{CmdH: 4711}
	r.do(abi.IoctlGetExtendedCDB, r.encode(&x, abi.SizeGetExtCDB), syscall.ESRCH)
	s = r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	c := r.expect(abi.SubcodeExec)
	x.CmdH = c.CmdH
	r.do(abi.IoctlGetExtendedCDB, r.encode(&x, abi.SizeGetExtCDB), 0)    // nothing behind 16 bytes
	if c = r.fetch(execOK(c, 0, 0)); c.Subcode != abi.SubcodeOnFreeCmd { // R61: asked for above; fact 45
		t.Fatalf("got %v, want ON_FREE_CMD", c.Subcode)
	}
	r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode}, 0)
	r.ends(s, scsi.Good, scsi.SenseNone)
}

// R37: a CDB beyond 16 bytes.
func TestR37ExtendedCDB(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	o := abi.Opt{ParseType: 1, OnFreeCmdType: 1, MemoryReuseType: 3, TST: 1, QueueAlg: 1}
	r.do(abi.IoctlSetOptions, r.encode(&o, abi.SizeOpt), 0)
	cdb := pattern(32, 1)
	cdb[0] = 0x7f
	s := &sent{over: make(chan struct{})}
	s.cmd.Init(cdb, scsi.QueueSimple)
	s.cmd.Front = s
	go r.sess.Submit(&s.cmd)
	c := r.expect(abi.SubcodeParse)
	if c.Parse.CDBLen != 32 {
		t.Fatalf("cdb_len %d", c.Parse.CDBLen)
	}
	x := abi.GetExtCDB{CmdH: c.CmdH, ExtCDBBuffer: 8}
	r.do(abi.IoctlGetExtendedCDB, r.encode(&x, abi.SizeGetExtCDB), syscall.EFAULT)
	x.ExtCDBBuffer = r.mem.alloc(64)
	r.do(abi.IoctlGetExtendedCDB, r.encode(&x, abi.SizeGetExtCDB), 0)
	if !bytes.Equal(r.mem.get(x.ExtCDBBuffer, 16), cdb[16:]) {
		t.Error("other bytes")
	}
	r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode, Parse: &abi.ParseReply{Status: uint8(scsi.Busy)}}, 0)
	r.ends(s, scsi.Busy, scsi.SenseNone)
}

// A SET_OPTIONS that waits for a command does not keep a caller who is killed.
func TestR16Interrupted(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	s := r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	c := r.expect(abi.SubcodeExec)
	o := abi.Opt{OnFreeCmdType: 1, MemoryReuseType: 3, TST: 1, QueueAlg: 1}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, errno := r.call(ctx, abi.IoctlSetOptions, r.encode(&o, abi.SizeOpt)); errno != syscall.EINTR {
		t.Errorf("%v, want EINTR", errno)
	}
	r.reply(execOK(c, 0, 0), 0)
	r.ends(s, scsi.Good, scsi.SenseNone)
}

// R70: the close ends what the handler had, and what it had not.
func TestR70Close(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	a := r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	r.expect(abi.SubcodeExec)
	w := r.write(pattern(4096, 1))
	r.expect(abi.SubcodeAllocMem)
	b := r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	waitFor(t, "three", func() bool { return len(r.file.Device().Commands()) == 3 })
	r.file.Close(1)
	r.ends(a, scsi.CheckCondition, scsi.SenseLUNotSupported)
	r.ends(w, scsi.CheckCondition, scsi.SenseLUNotSupported)
	if r.wait(b); b.status != scsi.Busy && b.status != scsi.CheckCondition {
		t.Errorf("the queued one ended with %v", b.status)
	}
	<-r.file.att.over
	r.do(abi.IoctlGetOptions, nil, syscall.ENODEV)
	if s := &r.file.att.space.store; s.held != 0 {
		t.Errorf("%d bytes of host memory are left", s.held)
	}
}

// R66, R67, fact 49: task management through the node.
func TestR66TaskManagement(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	s := r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	c := r.expect(abi.SubcodeExec)
	r.sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
	tm := r.expect(abi.SubcodeTMReceived)
	if tm.TM.Fn != int32(target.LUNReset) {
		t.Errorf("function %d", tm.TM.Fn)
	}
	zero := int32(0)
	r.reply(&abi.Answer{CmdH: tm.CmdH, Subcode: tm.Subcode, Result: &zero}, 0)
	r.reply(execOK(c, 0, 0), 0)
	tm = r.expect(abi.SubcodeTMDone)
	r.reply(&abi.Answer{CmdH: tm.CmdH, Subcode: tm.Subcode, Result: &zero}, 0)
	r.wait(s)
}

// The steady state allocates nothing that grows: two calls a command, a few
// bytes each.
func TestSystemCallsPerCommand(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	pbuf := r.mem.alloc(4096)
	w := r.write(pattern(4096, 1))
	r.reply(allocReply(r.expect(abi.SubcodeAllocMem), pbuf), 0)
	r.reply(execOK(r.expect(abi.SubcodeExec), 0, 0), 0)
	r.wait(w)
	rd := r.read(8)
	c := r.expect(abi.SubcodeExec)
	waitFor(t, "one", func() bool { return len(r.file.Device().Commands()) == 2 })
	r.mem.calls = 0
	before := r.mem.calls
	_, _, errno := r.multi([]abi.Answer{*execOK(c, 4096, 0)}, 1)
	if errno != syscall.EAGAIN {
		t.Fatal(errno)
	}
	r.wait(rd)
	// put, set and get of the test itself are four.
	if n := r.mem.calls - before - 4; n != 2 {
		t.Errorf("%d accesses for a READ's reply, want 2: the reply, and its data", n)
	}
}
