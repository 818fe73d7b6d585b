package ucmd

import (
	"errors"

	"scstuser/scsi"
	"scstuser/target"
)

const (
	dirRead  = scsi.DirRead
	dirWrite = scsi.DirWrite
)

// flagBlocks in OpFlags: lengths are counted in blocks (fact 42).
const flagBlocks = 0x4

// flagInfoValid in OpFlags: parse knows the command (rules R43, R45).
const flagInfoValid = 0x20

// Parse creates the ucmd of a command and parses it, inside or by the
// handler (rule R43). It implements target.DevHandler.
func (d *Device) Parse(c *target.Cmd) target.Verdict {
	d.mu.Lock()
	if d.count >= d.limits.MaxUcmds {
		d.mu.Unlock()
		c.FailBusy()
		c.Complete()
		return target.Continue
	}
	u := d.newUcmd(StateNew)
	u.cmd = c
	c.Priv = u
	c.DevTag.Store(uint64(u.h) + 1)
	d.mu.Unlock()

	err := d.parseStandard(c)
	switch pt := d.parseType(); {
	case pt == ParseCall, pt == ParseException && errors.Is(err, scsi.ErrUnknownOpcode):
		if errors.Is(err, scsi.ErrUnknownOpcode) {
			d.parseExpected(c)
		}
		d.mu.Lock()
		d.setState(u, StateParsing)
		d.addReady(u)
		d.mu.Unlock()
		d.kick()
		return target.Stop
	case err != nil:
		c.SetSense(parseSense(err))
		c.Complete()
	}
	return target.Continue
}

// parseStandard fills in what the SBC tables know.
func (d *Device) parseStandard(c *target.Cmd) error {
	t, err := scsi.ParseSBC(c.CDB(), d.desc.BlockSize)
	if err != nil {
		return err
	}
	c.Dir, c.LBA, c.DataLen = t.Dir, t.LBA, t.DataLen
	c.BufLen, c.OutBufLen = int32(t.BufLen), 0
	c.Timeout, c.OpFlags = t.Timeout, t.OpFlags
	if t.HeadOfQueue {
		c.SetQueueType(scsi.QueueHeadOfQueue)
	}
	return nil
}

// parseExpected is all there is to say about an unknown command: what the
// initiator expects.
func (d *Device) parseExpected(c *target.Cmd) {
	c.Dir, c.BufLen, c.DataLen, c.Timeout = scsi.DirNone, 0, 0, 60
	if c.ExpectedSet {
		c.Dir, c.BufLen, c.DataLen = c.ExpectedDir, c.ExpectedLen, int64(c.ExpectedLen)
	}
}

func parseSense(err error) scsi.Sense {
	if errors.Is(err, scsi.ErrUnknownOpcode) {
		return scsi.SenseInvalidOpcode
	}
	return scsi.SenseInvalidFieldInCDB
}

// fillParse writes the PARSE subcommand. READ and WRITE lengths are in
// blocks here, as on the module (fact 42).
func (d *Device) fillParse(u *Ucmd, s *Subcommand) {
	c := u.cmd
	d.fillCommon(u, s)
	s.LBA, s.DataLen, s.BufLen, s.OutBufLen = c.LBA, c.DataLen, c.BufLen, c.OutBufLen
	if c.OpFlags&flagBlocks != 0 {
		s.DataLen /= int64(d.desc.BlockSize)
		s.BufLen /= int32(d.desc.BlockSize)
	}
	s.Timeout, s.OpFlags = c.Timeout, c.OpFlags
	s.ExpectedSet, s.ExpectedDir, s.ExpectedLen = c.ExpectedSet, c.ExpectedDir, c.ExpectedLen
}

// fillCommon writes what PARSE, ALLOC_MEM and EXEC have in common.
func (d *Device) fillCommon(u *Ucmd, s *Subcommand) {
	c := u.cmd
	cdb := c.CDB()
	s.SessH = c.Session().Handle()
	copy(s.CDB[:], cdb)
	s.CDBLen = uint16(len(cdb))
	s.QueueType, s.Dir = c.QueueType, c.Dir
}

// replyParse takes the handler's parse (rules R45 to R47).
func (d *Device) replyParse(u *Ucmd, r *Reply) error {
	c := u.cmd
	if r.Status != scsi.Good {
		return d.parseFailed(c, r)
	}
	dir := r.Dir
	if r.BufLen == 0 && r.OutBufLen == 0 {
		dir = scsi.DirNone // rule R47
	}
	bad := r.QueueType > scsi.QueueACA || r.LBA < 0 || r.DataLen < 0 || r.BufLen < 0 || r.OutBufLen < 0 ||
		int(r.CDBLen) > len(c.CDB()) || r.OpFlags&flagInfoValid == 0 ||
		r.Dir < scsi.DirWrite || r.Dir > scsi.DirNone ||
		// Fact 43: a zero length with a direction is refused; R47 turns it
		// into NONE. The observation wins.
		r.Dir != scsi.DirNone && r.BufLen == 0
	if bad {
		c.SetSense(scsi.SenseHardwareInternalFailure)
		c.AbnormalDone()
		return errEINVAL
	}
	c.SetQueueType(r.QueueType)
	c.Dir, c.LBA, c.DataLen, c.BufLen, c.OutBufLen = dir, uint64(r.LBA), r.DataLen, r.BufLen, r.OutBufLen
	if dir != scsi.DirBidi {
		c.OutBufLen = 0
	}
	c.OpFlags = r.OpFlags
	c.SetCDBLen(int(r.CDBLen))
	c.ParseDone()
	return nil
}

// parseFailed ends a command with the status that the handler's parse gave.
func (d *Device) parseFailed(c *target.Cmd, r *Reply) error {
	if r.BadSense {
		c.SetSense(scsi.SenseAbortedInternalFailure) // fact 43
		c.AbnormalDone()
		return errEFAULT
	}
	c.SetStatus(r.Status)
	c.SetSenseBytes(r.Sense)
	c.AbnormalDone()
	return nil
}
