package ucmd

import (
	"scstuser/scsi"
	"scstuser/target"
)

// Parse creates the ucmd of a command and parses it, inside or by the
// handler (rule R43). It implements target.DevHandler.
func (d *Device) Parse(c *target.Cmd) target.Verdict {
	err := d.parseStandard(c)
	if c.QueueType == scsi.QueueUntagged {
		// SIMPLE from here on, but HEAD OF QUEUE was not implied: so the first
		// INQUIRY of an initiator that does not know yet whether there are
		// task attributes (fact 22).
		c.SetQueueType(scsi.QueueSimple)
	}
	byHandler := d.parses(err)
	var b buffer
	switch {
	case byHandler:
		if err != nil {
			parseExpected(c)
		}
		c.Timeout = handlerTimeout
	case err != nil:
		c.SetSense(scsi.SenseOf(err))
		c.Complete()
	default:
		// Here already, so that a command whose buffer is there takes mu once.
		b = d.takeBuffer(c)
	}
	d.mu.Lock()
	if d.count >= d.limits.MaxUcmds {
		d.stats.Refused++
		d.mu.Unlock()
		d.returnBuffer(b)
		c.FailBusy()
		c.Complete()
		return target.Continue
	}
	u := d.newUcmd(StateNew)
	u.cmd = c
	u.since = c.Started()
	u.onFreeType = d.onFree()
	c.Priv = u
	c.DevTag.Store(uint64(u.h) + 1)
	if byHandler {
		d.setState(u, StateParsing)
		d.addReady(u)
		d.kickUnlock()
		return target.Stop
	}
	d.useBuffer(u, b)
	d.mu.Unlock()
	return target.Continue
}

// parses says whether the handler parses a command of which the standard parse
// said err (rule R43).
func (d *Device) parses(err error) bool {
	switch d.parseType() {
	case ParseCall:
		return true
	case ParseException:
		return err == scsi.ErrUnknownOpcode || err == scsi.ErrUnknownServiceAction
	}
	return false
}

// parseStandard fills in what the SBC tables know: nothing about devices
// without blocks, which are always parsed by their handlers (rule R12).
func (d *Device) parseStandard(c *target.Cmd) error {
	if !d.desc.hasBlocks() {
		return scsi.ErrUnknownOpcode
	}
	t, err := scsi.ParseSBC(c.CDB(), d.desc.BlockSize)
	if err != nil {
		return err
	}
	c.Dir, c.LBA, c.DataLen = t.Dir, t.LBA, t.DataLen
	c.BufLen, c.OutBufLen = int32(t.BufLen), 0
	c.Timeout, c.OpFlags = t.Timeout, t.OpFlags
	if t.HeadOfQueue && c.QueueType == scsi.QueueSimple {
		c.SetQueueType(scsi.QueueHeadOfQueue)
	}
	return nil
}

// handlerTimeout is the time, in seconds, for commands that the handler parses:
// its reply has none, and the tables' is for those that were parsed by them
// (fact 42).
const handlerTimeout = 30

// parseExpected is all there is to say about an unknown command: what the
// initiator expects.
func parseExpected(c *target.Cmd) {
	c.Dir, c.BufLen, c.DataLen = scsi.DirNone, 0, 0
	if c.ExpectedSet {
		c.Dir, c.BufLen, c.DataLen = c.ExpectedDir, c.ExpectedLen, int64(c.ExpectedLen)
	}
}

// fillParse writes the PARSE subcommand. READ and WRITE lengths are in
// blocks here, as on the module; the reply's are in bytes (fact 42).
func (d *Device) fillParse(u *Ucmd, s *Subcommand) {
	c := u.cmd
	d.fillCommon(u, s)
	s.LBA, s.DataLen, s.BufLen, s.OutBufLen = c.LBA, c.DataLen, c.BufLen, c.OutBufLen
	if c.OpFlags&scsi.OpBlocksLength != 0 {
		s.DataLen /= int64(d.desc.BlockSize)
		s.BufLen = int32(int64(s.BufLen) / int64(d.desc.BlockSize))
	}
	s.Timeout, s.OpFlags = c.Timeout, c.OpFlags
	s.ExpectedSet, s.ExpectedDir, s.ExpectedLen = c.ExpectedSet, c.ExpectedDir, c.ExpectedLen
	if !c.ExpectedSet && c.OpFlags&scsi.OpInfoValid != 0 {
		// NBD has no expected length, but its initiators ask for just what
		// their CDBs say; handlers rely on being told (SCST's own refuses a
		// command without).
		s.ExpectedSet, s.ExpectedDir, s.ExpectedLen, s.ExpectedOut = true, c.Dir, c.BufLen, c.OutBufLen
	}
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

// replyParse takes the handler's parse (rules R45 to R47, fact 43).
func (d *Device) replyParse(u *Ucmd, r *Reply) error {
	c := u.cmd
	if r.Status != scsi.Good {
		return parseFailed(c, r)
	}
	if r.QueueType > scsi.QueueACA || r.LBA < 0 || r.DataLen < 0 || r.BufLen < 0 || r.OutBufLen < 0 ||
		int(r.CDBLen) > len(c.CDB()) || r.OpFlags&scsi.OpInfoValid == 0 ||
		r.Dir < scsi.DirWrite || r.Dir > scsi.DirNone ||
		// R47 would make this NONE, but it was seen to be refused.
		r.Dir != scsi.DirNone && r.BufLen == 0 {
		c.SetSense(scsi.SenseHardwareInternalFailure)
		c.AbnormalDone()
		return errEINVAL
	}
	c.SetQueueType(r.QueueType)
	c.Dir, c.LBA, c.DataLen, c.BufLen, c.OutBufLen = r.Dir, uint64(r.LBA), r.DataLen, r.BufLen, 0
	switch r.Dir {
	case scsi.DirBidi:
		c.OutBufLen = r.OutBufLen
	case scsi.DirNone:
		c.BufLen = 0
	}
	c.OpFlags = r.OpFlags
	c.SetCDBLen(int(r.CDBLen))
	c.ParseDone()
	return nil
}

// parseFailed ends a command with the status that the handler's parse gave
// (rule R46, fact 43).
func parseFailed(c *target.Cmd, r *Reply) error {
	if r.BadSense {
		c.SetSense(scsi.SenseAbortedInternalFailure)
		c.AbnormalDone()
		return errEFAULT
	}
	c.SetStatus(r.Status)
	c.SetSenseBytes(r.Sense)
	if r.Status == scsi.CheckCondition && len(r.Sense) == 0 {
		c.SetSense(scsi.SenseHardwareInternalFailure)
	}
	c.AbnormalDone()
	return nil
}
