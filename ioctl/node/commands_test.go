package node

import (
	"context"
	"syscall"
	"testing"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/target"
)

// R39, R40, R47, fact 47: what the handler says to ATTACH_SESS.
func TestR40Attach(t *testing.T) {
	for _, x := range []struct {
		result int32
		want   bool
	}{{0, true}, {-12, false}, {12, false}} {
		r := registered(t, Options{}, true, nil)
		got := make(chan error, 1)
		go func() {
			s, err := r.file.Device().Target().NewSession(context.Background(), r.fe, target.SessionInfo{
				Initiator: "iqn.i", Target: "iqn.t", LUN: 7, ReadOnly: true,
			})
			r.sess = s
			got <- err
		}()
		c := r.expect(abi.SubcodeAttachSess)
		if s := c.Sess; s.SessH == 0 || s.LUN != 7 || s.RdOnly != 1 || s.InitiatorName != "iqn.i" || s.TargetName != "iqn.t" {
			t.Errorf("ATTACH_SESS: %+v", s)
		}
		r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode, Result: &x.result}, 0)
		if err := <-got; (err == nil) != x.want {
			t.Errorf("result %d: %v", x.result, err)
		}
	}
}

// R41: DETACH_SESS names the session that ATTACH_SESS did.
func TestR41Detach(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	h := abi.Addr(r.sess.Handle())
	closed := make(chan error, 1)
	go func() { closed <- r.sess.Close(context.Background()) }()
	c := r.expect(abi.SubcodeDetachSess)
	if c.Sess.SessH != h || c.Sess.InitiatorName != "" {
		t.Errorf("DETACH_SESS: %+v", c.Sess)
	}
	bad := int32(-5) // does not count
	r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode, Result: &bad}, 0)
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

// R43 to R46, facts 42, 43: PARSE and its replies.
func TestR45Parse(t *testing.T) {
	good := abi.ParseReply{QueueType: 1, DataDirection: 2, DataLen: 4096, BuffLen: 4096, OpFlags: scsi.OpInfoValid}
	for _, x := range []struct {
		name   string
		change func(r *rig, p *abi.ParseReply)
		errno  syscall.Errno
		sense  scsi.Sense
	}{
		{"good", func(*rig, *abi.ParseReply) {}, 0, scsi.SenseNone},
		{"no info", func(_ *rig, p *abi.ParseReply) { p.OpFlags = 0 }, syscall.EINVAL, scsi.SenseHardwareInternalFailure},
		{"queue type", func(_ *rig, p *abi.ParseReply) { p.QueueType = 9 }, syscall.EINVAL, scsi.SenseHardwareInternalFailure},
		{"direction", func(_ *rig, p *abi.ParseReply) { p.DataDirection = 7 }, syscall.EINVAL, scsi.SenseHardwareInternalFailure},
		{"negative length", func(_ *rig, p *abi.ParseReply) { p.BuffLen = -1 }, syscall.EINVAL, scsi.SenseHardwareInternalFailure},
		{"longer CDB", func(_ *rig, p *abi.ParseReply) { p.CDBLen = 17 }, syscall.EINVAL, scsi.SenseHardwareInternalFailure},
		{"status and sense", func(r *rig, p *abi.ParseReply) {
			s := scsi.SenseLBAOutOfRange.AppendFixed(nil)
			*p = abi.ParseReply{Status: uint8(scsi.CheckCondition), SenseLen: uint8(len(s)), PSenseBuffer: r.mem.put(s)}
		}, 0, scsi.SenseLBAOutOfRange},
		{"unreadable sense", func(_ *rig, p *abi.ParseReply) {
			*p = abi.ParseReply{Status: uint8(scsi.CheckCondition), SenseLen: 18, PSenseBuffer: 8}
		}, syscall.EFAULT, scsi.SenseAbortedInternalFailure},
	} {
		t.Run(x.name, func(t *testing.T) {
			r := attached(t, Options{}, true, nil)
			o := abi.Opt{ParseType: 1, OnFreeCmdType: 1, MemoryReuseType: 3, TST: 1, QueueAlg: 1}
			r.do(abi.IoctlSetOptions, r.encode(&o, abi.SizeOpt), 0)
			rd := r.read(8)
			c := r.expect(abi.SubcodeParse)
			if p := c.Parse; p.BuffLen != 8 || p.ExpectedValuesSet != 1 || p.ExpectedTransferLen != 4096 || p.CDBLen != 16 {
				t.Errorf("PARSE: %+v", p)
			}
			p := good
			x.change(r, &p)
			r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode, Parse: &p}, x.errno)
			if x.sense != scsi.SenseNone {
				r.ends(rd, scsi.CheckCondition, x.sense)
				return
			}
			r.reply(execOK(r.expect(abi.SubcodeExec), 4096, r.mem.alloc(4096)), 0)
			r.ends(rd, scsi.Good, scsi.SenseNone)
		})
	}
}

// R59, fact 40: BACKGROUND answers at once; COMPLETED releases.
func TestR59Background(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	s := r.submit(scsi.EncodeSyncCache16(0, 0), nil)
	c := r.expect(abi.SubcodeExec)
	a := execOK(c, 0, 0)
	a.Exec.ReplyType = abi.ExecReplyBackground
	r.reply(a, 0)
	r.ends(s, scsi.Good, scsi.SenseNone)
	r.reply(a, syscall.EINVAL) // only once
	r.reply(execOK(c, 0, 0), 0)
	r.reply(execOK(c, 0, 0), syscall.ESRCH)
}

// R57, fact 39: a short READ, and one with a status.
func TestR57ShortRead(t *testing.T) {
	r := attached(t, Options{}, true, nil)
	pbuf := r.mem.put(pattern(4096, 1))
	rd := r.read(8)
	r.reply(execOK(r.expect(abi.SubcodeExec), 1000, pbuf), 0)
	if r.ends(rd, scsi.Good, scsi.SenseNone); len(rd.data) != 1000 {
		t.Errorf("%d bytes, want 1000", len(rd.data))
	}
	rd = r.read(8)
	a := execOK(r.expect(abi.SubcodeExec), 0, 0)
	a.Exec.Status = uint8(scsi.ReservationConflict)
	r.reply(a, 0)
	r.ends(rd, scsi.ReservationConflict, scsi.SenseNone)
}

// R63, R71: at the end of a device no buffer is left, whatever it had.
func TestR71NothingLeft(t *testing.T) {
	for _, reuse := range []uint8{0, 1, 2, 3} {
		r := attached(t, Options{}, true, func(d *abi.DevDesc) { d.Opt.MemoryReuseType, d.Opt.OnFreeCmdType = reuse, 0 })
		for range 3 {
			w := r.write(pattern(8192, 1))
			for over := false; !over; {
				c := r.fetch(nil)
				switch c.Subcode {
				case abi.SubcodeAllocMem:
					r.reply(allocReply(c, r.mem.alloc(8192)), 0)
				case abi.SubcodeExec:
					r.reply(execOK(c, 0, 0), 0)
				case abi.SubcodeOnFreeCmd: // R61
					if c.OnFree.PBuf == 0 || (c.OnFree.BufferCached == 1) != (reuse >= 2) {
						t.Errorf("reuse %d: ON_FREE_CMD %+v", reuse, c.OnFree)
					}
					r.reply(&abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode}, 0)
					over = true
				}
			}
			r.ends(w, scsi.Good, scsi.SenseNone)
		}
		r.file.Close(1)
		<-r.file.att.over
		if s := &r.file.att.space.store; s.held != 0 || s.live != 0 {
			t.Errorf("reuse %d: %d bytes and %d buffers of host memory are left", reuse, s.held, s.live)
		}
	}
}
