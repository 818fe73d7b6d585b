package ucmd

import (
	"scstuser/scsi"
	"scstuser/target"
)

// Exec queues a command for the handler. It implements target.DevHandler.
func (d *Device) Exec(c *target.Cmd) {
	u := c.Priv.(*Ucmd)
	d.mu.Lock()
	d.setState(u, StateExecing)
	d.addReady(u)
	d.kickUnlock()
}

// fillExec writes the EXEC subcommand (rules R55, R56).
func (d *Device) fillExec(u *Ucmd, s *Subcommand) {
	c := u.cmd
	d.fillCommon(u, s)
	s.LBA, s.DataLen, s.BufLen, s.OutBufLen = c.LBA, c.DataLen, c.BufLen, c.OutBufLen
	s.Timeout, s.TakesFile = c.Timeout, c.TakesFile
	s.PBuf = u.ubuff
	if u.ubuff == 0 {
		s.AllocLen = u.allocLen
	} else if c.OutBufLen > 0 {
		s.OutPBuf = u.ubuff + uint64(pageAlign(int(c.BufLen)))
	}
}

// replyExec takes the outcome of a command (rules R56 to R60, facts 36, 37).
func (d *Device) replyExec(u *Ucmd, r *Reply) error {
	c := u.cmd
	switch r.Type {
	case ReplyCompleted:
		return d.execCompleted(u, r)
	case ReplyBackground:
		if c.Dir.Reads() {
			break
		}
		d.mu.Lock()
		u.backgroundExec = true
		d.get(u, OwnerBackground)
		d.note(u, EvBackground)
		d.mu.Unlock()
		c.SetStatus(scsi.Good)
		c.Done()
		return nil
	case ReplyDoWriteSame:
		return d.execWriteSame(u, r)
	}
	return execRefused(c, scsi.SenseAbortedInternalFailure, errEINVAL)
}

// execRefused ends a command whose reply makes no sense.
func execRefused(c *target.Cmd, s scsi.Sense, err error) error {
	c.SetSense(s)
	c.Done()
	return err
}

func (d *Device) execCompleted(u *Ucmd, r *Reply) error {
	c := u.cmd
	if r.RespDataLen < 0 || r.RespDataLen > c.BufLen || r.RespDataLen > 0 && c.Dir != scsi.DirRead {
		return execRefused(c, scsi.SenseAbortedInternalFailure, errEINVAL)
	}
	if r.RespDataLen > 0 && u.ubuff == 0 {
		if done, err := d.execBuffer(u, r); done {
			return err
		}
	}
	c.SetStatus(r.Status)
	if r.Status == scsi.CheckCondition {
		c.SetSenseBytes(r.Sense)
	}
	c.RespLen = r.RespDataLen
	if c.TakesFile && c.RespLen > 0 {
		c.File = r.File
	}
	var err error
	if r.BadSense {
		err = errEFAULT // the command goes on without sense (fact 37)
	}
	c.Done()
	return err
}

// execBuffer maps the buffer that came with the reply to a READ. true: it
// could not, and the command has ended (rule R56, fact 36).
func (d *Device) execBuffer(u *Ucmd, r *Reply) (done bool, err error) {
	c := u.cmd
	switch {
	case r.PBuf == 0:
		c.FailBusy()
		c.Done()
		return true, nil
	case u.buffCached && r.PBuf%PageSize != 0:
		return true, execRefused(c, scsi.SenseAbortedInternalFailure, errEINVAL)
	}
	switch d.mapBuf(u, r.PBuf, int(u.allocLen)) {
	case nil:
	case errESRCH:
		return true, errESRCH
	default:
		return true, execRefused(c, scsi.SenseAbortedInternalFailure, nil)
	}
	if !d.fillObject(u) {
		c.FailBusy()
		c.Done()
		return true, nil
	}
	u.setBuf(c, u.obj.Data)
	return false, nil
}
