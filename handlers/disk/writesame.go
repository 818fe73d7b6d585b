package disk

import (
	"errors"

	"scstuser/handlers"
	"scstuser/scsi"
)

// obsoleteDataBits are LBDATA and PBDATA of earlier WRITE SAME commands, which ask
// for blocks that differ from the pattern.
const obsoleteDataBits = 0x06

// writeSame is WRITE SAME 10 and 16.
func (d *Disk) writeSame(r *handlers.Request, c scsi.Command) {
	switch {
	case c.Anchor: // ANC_SUP=0 in VPD page B2h
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(1, 4))
		return
	case c.Unmap && d.puncher == nil: // LBPWS=0 there
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(1, 3))
		return
	case r.CDB[1]&obsoleteDataBits != 0:
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(1, 2))
		return
	}
	n, ok := d.toEnd(r, c.LBA, c.Blocks)
	if !ok {
		return
	}
	if n > uint64(d.opts.MaxWriteSame)>>d.shift {
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(lengthByte(c.Op), -1))
		return
	}
	var pattern []byte // nil: zeroes
	if !c.NDOB {
		if pattern, ok = data(r, 1<<d.shift); !ok {
			return
		}
		if allZero(pattern) {
			pattern = nil
		}
	}
	if s, ok := d.fill(c.LBA, n, pattern, c.Unmap); !ok {
		r.Fail(s)
	}
}

// fill writes pattern to n blocks from lba on, and makes them stable if they have
// to be.
func (d *Disk) fill(lba, n uint64, pattern []byte, unmap bool) (scsi.Sense, bool) {
	err := handlers.ErrNotSupported
	if pattern == nil {
		err = d.zero(int64(lba<<d.shift), int64(n<<d.shift), unmap)
	}
	switch {
	case errors.Is(err, handlers.ErrNotSupported):
		if s, ok := d.fillByWriting(lba, n, pattern); !ok {
			return s, false
		}
	case err != nil:
		return d.writeSense(err, lba, 0), false
	}
	d.faults.worked(writeWorked)
	return d.syncSense(d.settle(false))
}

// zero makes a range read as zeroes, in the fastest way that keeps it allocated
// unless unmap allows otherwise. handlers.ErrNotSupported: there is none.
func (d *Disk) zero(off, n int64, unmap bool) error {
	if unmap {
		if err := d.puncher.Punch(off, n); !errors.Is(err, handlers.ErrNotSupported) {
			return err
		}
	}
	if d.zeroer == nil {
		return handlers.ErrNotSupported
	}
	return d.zeroer.Zero(off, n)
}

// fillByWriting writes the pattern block by block, or zeroes if it is nil.
func (d *Disk) fillByWriting(lba, n uint64, pattern []byte) (s scsi.Sense, ok bool) {
	chunk := d.chunks.get()
	defer d.chunks.put(chunk)
	same := chunk[:min(n, chunkSize>>d.shift)<<d.shift]
	if pattern == nil {
		clear(same)
	} else {
		for filled := copy(same, pattern); filled < len(same); filled *= 2 {
			copy(same[filled:], same[:filled])
		}
	}
	for n > 0 {
		step := min(n, chunkSize>>d.shift)
		if done, err := d.writeFull(same[:step<<d.shift], int64(lba<<d.shift), false); err != nil {
			return d.writeSense(err, lba, done), false
		}
		lba += step
		n -= step
	}
	return s, true
}

func allZero(p []byte) bool {
	for _, b := range p {
		if b != 0 {
			return false
		}
	}
	return true
}
