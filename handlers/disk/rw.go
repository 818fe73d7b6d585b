package disk

import (
	"scstuser/handlers"
	"scstuser/scsi"
)

// transfer makes the checks of READ and WRITE and returns their bytes.
func (d *Disk) transfer(r *handlers.Request, c *scsi.Command) ([]byte, bool) {
	n := c.Count()
	if !d.inRange(r, c.LBA, n) || !d.transferable(r, c.Op, n) {
		return nil, false
	}
	return data(r, n<<d.shift)
}

// transferable enforces the MAXIMUM TRANSFER LENGTH of VPD page B0h.
func (d *Disk) transferable(r *handlers.Request, op scsi.Opcode, n uint64) bool {
	if n > uint64(d.opts.MaxTransfer)>>d.shift {
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(lengthByte(op), -1))
		return false
	}
	return true
}

// lengthByte is where a block command has its number of blocks.
func lengthByte(op scsi.Opcode) uint16 {
	switch scsi.CDBLen(op) {
	case 6:
		return 4
	case 10:
		return 7
	case 12:
		return 6
	}
	return 10
}

// read is READ 6, 10, 12 and 16. DPO is a hint; FUA has nothing to add, as what
// is read from the cache is what was last written.
func (d *Disk) read(r *handlers.Request, c scsi.Command) {
	p, ok := d.transfer(r, &c)
	if !ok {
		return
	}
	if done, err := d.readFull(p, int64(c.LBA<<d.shift)); err != nil {
		r.Fail(d.readSense(err, c.LBA, done))
		return
	}
	d.faults.worked(readWorked)
	r.RespLen = int32(len(p))
}

// tryRead is read for bytes that can be had without waiting.
func (d *Disk) tryRead(r *handlers.Request, c scsi.Command) bool {
	p, ok := d.transfer(r, &c)
	if !ok {
		return true
	}
	if len(p) > 0 {
		if off := int64(c.LBA << d.shift); !d.leaveInFile(r, off, len(p)) && !d.tryCopy(p, off) {
			return false
		}
		d.faults.worked(readWorked)
	}
	r.RespLen = int32(len(p))
	return true
}

// leaveInFile answers with n bytes that stay where they are, if that is worth it
// and they are in memory.
func (d *Disk) leaveInFile(r *handlers.Request, off int64, n int) bool {
	if d.fileReader == nil || d.opts.FileRead <= 0 || n < d.opts.FileRead || !r.Sub.TakesFile {
		return false
	}
	file, ok := d.fileReader.TryFile(off, int64(n))
	if ok {
		r.File = file
	}
	return ok
}

// tryCopy fills p, if that is short enough and needs no waiting. Whatever the
// error was, read finds it again and where.
func (d *Disk) tryCopy(p []byte, off int64) bool {
	return d.nonBlocker != nil && len(p) <= d.opts.InlineRead && d.nonBlocker.TryReadAt(p, off) == nil
}

// write is WRITE 6, 10, 12 and 16. DPO is a hint.
func (d *Disk) write(r *handlers.Request, c scsi.Command) {
	p, ok := d.transfer(r, &c)
	if !ok || len(p) == 0 {
		return
	}
	if s, ok := d.put(p, c.LBA, c.FUA); !ok {
		r.Fail(s)
	}
}

// tryWrite is write for what the cache can take without waiting.
func (d *Disk) tryWrite(r *handlers.Request, c scsi.Command) bool {
	p, ok := d.transfer(r, &c)
	if !ok || len(p) == 0 {
		return true
	}
	if d.nonBlocker == nil || len(p) > d.opts.InlineWrite || d.mustBeDurable(c.FUA) {
		return false
	}
	if d.nonBlocker.TryWriteAt(p, int64(c.LBA<<d.shift)) != nil {
		return false
	}
	d.faults.worked(writeWorked)
	// If WCE was turned off meanwhile, write does it again and syncs.
	return !d.mustBeDurable(c.FUA)
}
