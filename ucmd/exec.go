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
	d.mu.Unlock()
	d.kick()
}

// fillExec writes the EXEC subcommand (rules R55, R56).
func (d *Device) fillExec(u *Ucmd, s *Subcommand) {
	c := u.cmd
	d.fillCommon(u, s)
	s.LBA, s.DataLen, s.BufLen, s.OutBufLen = c.LBA, c.DataLen, c.BufLen, c.OutBufLen
	s.Timeout = c.Timeout
	s.PBuf, s.AllocLen = u.ubuff, 0
	if u.ubuff == 0 {
		s.AllocLen = u.allocLen
	}
	s.OutPBuf = 0
	if c.OutBufLen > 0 && u.ubuff != 0 {
		s.OutPBuf = u.ubuff + uint64(pageAlign(int(c.BufLen)))
	}
}

// replyExec takes the outcome of a command (rules R56 to R60).
func (d *Device) replyExec(u *Ucmd, r *Reply) error {
	c := u.cmd
	switch r.Type {
	case ReplyCompleted:
		return d.execCompleted(u, r)
	case ReplyBackground:
		if c.Dir == dirRead || c.Dir == scsi.DirBidi {
			return execRefused(c, scsi.SenseAbortedInternalFailure, errEINVAL)
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
	if r.RespDataLen < 0 || r.RespDataLen > c.BufLen || r.RespDataLen > 0 && c.Dir != dirRead {
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
	if d.mapBuf(u, r.PBuf, int(u.allocLen)) != nil {
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

// writeSameDescrSize is the wire size of a WriteSameDescr (rule R60).
const writeSameDescrSize = 16

func (d *Device) execWriteSame(u *Ucmd, r *Reply) error {
	c := u.cmd
	refuse := func(err error) error { return execRefused(c, scsi.SenseHardwareInternalFailure, err) }
	op := c.Op()
	if op != scsi.OpWriteSame10 && op != scsi.OpWriteSame16 || r.Status != scsi.Good || len(c.Buf) < int(d.desc.BlockSize) {
		return refuse(errEINVAL)
	}
	if r.WSLen == 0 {
		c.WriteSame([]target.Range{{LBA: c.LBA, Blocks: uint64(c.DataLen) / uint64(d.desc.BlockSize)}})
		return nil
	}
	n := len(r.WriteSame)
	switch {
	case r.WSLen > PageSize:
		return refuse(errEOVERFLOW)
	case r.WSLen < 0 || r.WSLen%writeSameDescrSize != 0 || n != int(r.WSLen)/writeSameDescrSize || r.WriteSame[n-1].Blocks != 0:
		return refuse(errEINVAL)
	}
	var ranges []target.Range
	for _, x := range r.WriteSame[:n-1] {
		ranges = append(ranges, target.Range{LBA: x.LBA, Blocks: x.Blocks})
	}
	c.WriteSame(ranges)
	return nil
}

// finishBackground takes the COMPLETED that follows a BACKGROUND reply; its
// status is ignored (rule R59). What on-free left for it is done now.
// Caller holds mu, which is released.
func (d *Device) finishBackground(u *Ucmd) {
	u.backgroundExec = false
	pending := u.onFreePending
	u.onFreePending = false
	if pending {
		d.get(u, OwnerTransient) // the background reference may be the last
	}
	d.put(u, OwnerBackground)
	if !pending {
		d.mu.Unlock()
		return
	}
	if u.state == StateOnFreeSkipped || d.released {
		creation := u.owners[OwnerCreation] > 0
		d.mu.Unlock()
		d.finishOnFree(u, creation)
	} else {
		d.setState(u, StateOnFreeing)
		d.addReady(u)
		d.mu.Unlock()
		d.kick()
	}
	d.putUnlocked(u, OwnerTransient)
}
