package client

import (
	"syscall"
	"testing"

	"scstuser/scsi"
	"scstuser/ucmd"
)

func TestR14R42R70R72CloseAtANode(t *testing.T) {
	r := newSession(t, nil)
	rd := r.read()
	r.get(ucmd.SubExec)
	shut(t, r.port) // R14, R70: the device is gone with its file
	r.ends(rd, scsi.CheckCondition, scsi.SenseLUNotSupported)
	if left := r.say("released"); left != "0" {
		t.Errorf("R72: %s commands are left", left)
	}
	r.host.WaitGone("disk1")
}

func TestR39R40R41SessionsAtANode(t *testing.T) {
	r := newSession(t, nil) // checks ATTACH_SESS
	rd := r.read()
	e := r.get(ucmd.SubExec)
	r.say("detach")
	r.nothing() // a command is outstanding
	r.answer(e)
	r.ends(rd, scsi.Good, scsi.SenseNone)
	s := r.get(ucmd.SubDetachSess)
	if s.SessH != e.SessH {
		t.Errorf("DETACH_SESS of %#x, want %#x", s.SessH, e.SessH)
	}
	r.reply(ucmd.Reply{Handle: s.Handle, Code: s.Code, Result: -5}, nil) // does not count
	if r.say("detached") != "1" {
		t.Error("R41: the session does not end")
	}
	r.say("attach disk1") // R40: one that is refused
	s = r.get(ucmd.SubAttachSess)
	r.reply(ucmd.Reply{Handle: s.Handle, Code: s.Code, Result: -int32(syscall.ENOMEM)}, nil)
	if r.say("attached") != "0" {
		t.Error("R40: the session was not refused")
	}
	r.nothing() // fact 47: no DETACH_SESS
}

func TestR44R45R46R47ParseAtANode(t *testing.T) {
	r := newSession(t, func(d *ucmd.Desc) { d.Opt.Parse = uint8(ucmd.ParseCall) })
	sense := scsi.SenseLBAOutOfRange.AppendFixed(nil)
	for _, x := range []struct {
		name   string
		change func(*ucmd.Reply)
		errno  error
		sense  scsi.Sense
	}{
		{"R45 no information", func(p *ucmd.Reply) { p.OpFlags = 0 }, syscall.EINVAL, scsi.SenseHardwareInternalFailure},
		{"R45 queue type", func(p *ucmd.Reply) { p.QueueType = 5 }, syscall.EINVAL, scsi.SenseHardwareInternalFailure},
		{"R45 direction", func(p *ucmd.Reply) { p.Dir = 7 }, syscall.EINVAL, scsi.SenseHardwareInternalFailure},
		{"R45 negative length", func(p *ucmd.Reply) { p.BufLen = -1 }, syscall.EINVAL, scsi.SenseHardwareInternalFailure},
		{"R46 status", func(p *ucmd.Reply) { p.Status, p.Sense = scsi.CheckCondition, sense }, nil, scsi.SenseLBAOutOfRange},
	} {
		rd := r.read()
		s := r.get(ucmd.SubParse)
		if s.BufLen != 8 || s.CDBLen != 16 || !s.ExpectedSet || s.ExpectedLen != 4096 || s.Dir != scsi.DirRead {
			t.Errorf("R44: %+v", s)
		}
		p := ucmd.Reply{Handle: s.Handle, Code: s.Code, QueueType: s.QueueType, Dir: s.Dir, DataLen: 4096, BufLen: 4096, OpFlags: s.OpFlags}
		x.change(&p)
		r.reply(p, x.errno)
		t.Log(x.name)
		r.ends(rd, scsi.CheckCondition, x.sense)
	}
	cdb := scsi.EncodeRead16(0, 0, false) // R47: no blocks
	rd := r.submit(cdb.Slice(), "submit")
	s := r.get(ucmd.SubParse)
	r.reply(ucmd.Reply{Handle: s.Handle, Code: s.Code, QueueType: s.QueueType, Dir: scsi.DirNone, OpFlags: s.OpFlags}, nil)
	e := r.get(ucmd.SubExec)
	if e.Dir != scsi.DirNone || e.PBuf != 0 || e.AllocLen != 0 {
		t.Errorf("R47: %+v", e)
	}
	r.answer(e)
	r.ends(rd, scsi.Good, scsi.SenseNone)
}

func TestR49R51R52R53BuffersAtANode(t *testing.T) {
	r := newSession(t, nil)
	mapped, err := r.arena.Alloc(2 * ucmd.PageSize)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		pbuf   uint64
		errno  error
		status scsi.Status
		sense  scsi.Sense
	}{
		{0, nil, scsi.Busy, scsi.SenseNone}, // TASK SET FULL only among others
		{mapped + 16, syscall.EINVAL, scsi.CheckCondition, scsi.SenseHardwareInternalFailure},
	} {
		w := r.write(8)
		s := r.get(ucmd.SubAllocMem)
		r.reply(ucmd.Reply{Handle: s.Handle, Code: s.Code, PBuf: x.pbuf}, x.errno)
		r.ends(w, x.status, x.sense)
	}
	w := r.write(8)
	r.answer(r.get(ucmd.SubAllocMem))
	first := r.get(ucmd.SubExec)
	other := r.write(8) // R53: the buffer is in use
	r.answer(r.get(ucmd.SubAllocMem))
	r.answer(first)
	r.ends(w, scsi.Good, scsi.SenseNone)
	second := r.get(ucmd.SubExec)
	if second.PBuf == first.PBuf {
		t.Errorf("R53: %#x serves two commands", first.PBuf)
	}
	r.answer(second)
	r.ends(other, scsi.Good, scsi.SenseNone)
	rd := r.read() // R49: no ALLOC_MEM, and the buffer that was freed last
	e := r.get(ucmd.SubExec)
	if e.PBuf != second.PBuf {
		t.Errorf("R53: %#x, want %#x", e.PBuf, second.PBuf)
	}
	r.answer(e)
	r.ends(rd, scsi.Good, scsi.SenseNone)
}

func TestR22R55R56R57R58R60ExecAtANode(t *testing.T) {
	r := newSession(t, nil)
	sense := scsi.SenseLBAOutOfRange.AppendFixed(nil)
	for _, x := range []struct {
		name   string
		change func(*ucmd.Reply)
		errno  error
		status scsi.Status
		sense  scsi.Sense
	}{
		{"R56 data without a buffer", func(p *ucmd.Reply) { p.RespDataLen = 4096 }, nil, scsi.Busy, scsi.SenseNone},
		{"R57 too much", func(p *ucmd.Reply) { p.RespDataLen = 4097 }, syscall.EINVAL, scsi.CheckCondition, scsi.SenseAbortedInternalFailure},
		{"R57 negative", func(p *ucmd.Reply) { p.RespDataLen = -1 }, syscall.EINVAL, scsi.CheckCondition, scsi.SenseAbortedInternalFailure},
		{"R58", func(p *ucmd.Reply) { p.Status, p.Sense = scsi.CheckCondition, sense }, nil, scsi.CheckCondition, scsi.SenseLBAOutOfRange},
		{"R60 of a READ", func(p *ucmd.Reply) { p.Type = ucmd.ReplyDoWriteSame }, syscall.EINVAL, scsi.CheckCondition, scsi.SenseHardwareInternalFailure},
	} {
		rd := r.read()
		e := r.get(ucmd.SubExec)
		if e.Timeout <= 0 || e.PBuf != 0 || e.AllocLen != 4096 || e.ParentHandle != 0 {
			t.Errorf("R55: %+v", e)
		}
		p := good(e.Handle)
		x.change(&p)
		t.Log(x.name)
		r.reply(p, x.errno)
		r.ends(rd, x.status, x.sense)
	}
	r.nothing() // R22: no ON_FREE_CMD of any of them
}

func TestR59BackgroundAtANode(t *testing.T) {
	r := newSession(t, nil)
	cdb := scsi.EncodeSyncCache16(0, 0)
	s := r.submit(cdb.Slice(), "submit")
	p := good(r.get(ucmd.SubExec).Handle)
	p.Type = ucmd.ReplyBackground
	r.reply(p, nil)
	r.ends(s, scsi.Good, scsi.SenseNone)
	r.reply(p, syscall.EINVAL) // only once
	p.Type = ucmd.ReplyCompleted
	r.reply(p, nil)
	r.reply(p, syscall.ESRCH)
}
