package disk

import (
	"bytes"

	"scstuser/handlers"
	"scstuser/scsi"
)

// Values of BYTCHK (SBC-3, 5.31).
const (
	checkMedium  = 0 // read the blocks
	checkBytes   = 1 // compare the blocks with as many that were sent
	checkPattern = 3 // compare each block with the one that was sent
)

var senseBytChk = scsi.SenseInvalidFieldInCDB.AtCDB(1, 2)

// verify is VERIFY 10, 12 and 16.
func (d *Disk) verify(r *handlers.Request, c scsi.Command) {
	if !d.inRange(r, c.LBA, c.Blocks) {
		return
	}
	want, ok := []byte(nil), true
	switch {
	case c.BytChk != checkMedium && c.BytChk != checkBytes && c.BytChk != checkPattern:
		r.Fail(senseBytChk)
		return
	case c.Blocks == 0, c.BytChk == checkMedium:
	case c.BytChk == checkPattern:
		want, ok = data(r, 1<<d.shift)
	default:
		if !d.transferable(r, c.Op, c.Blocks) {
			return
		}
		want, ok = data(r, c.Blocks<<d.shift)
	}
	if !ok {
		return
	}
	if s, ok := d.compare(c.LBA, c.Blocks, want, c.BytChk == checkPattern); !ok {
		r.Fail(s)
	}
}

// writeVerify is WRITE AND VERIFY 10, 12 and 16. The blocks are stable before
// they are verified.
func (d *Disk) writeVerify(r *handlers.Request, c scsi.Command) {
	if c.BytChk > checkBytes {
		r.Fail(senseBytChk)
		return
	}
	p, ok := d.transfer(r, &c)
	if !ok || len(p) == 0 {
		return
	}
	s, ok := d.put(p, c.LBA, true)
	if ok {
		if c.BytChk == checkMedium {
			p = nil
		}
		s, ok = d.compare(c.LBA, c.Blocks, p, false)
	}
	if !ok {
		r.Fail(s)
	}
}

// compare reads n blocks from lba on, and compares them with want unless that
// is nil: with as many blocks, or, for a pattern, each with the one block. The
// INFORMATION field of the sense is the first block that can't be read or
// differs.
func (d *Disk) compare(lba, n uint64, want []byte, pattern bool) (s scsi.Sense, ok bool) {
	if n == 0 {
		return s, true
	}
	chunk := d.chunks.get()
	defer d.chunks.put(chunk)
	for n > 0 {
		step := min(n, chunkSize>>d.shift)
		got := chunk[:step<<d.shift]
		if done, err := d.readFull(got, int64(lba<<d.shift)); err != nil {
			return d.readSense(err, lba, done), false
		}
		if want != nil {
			if at, same := d.differs(got, want, pattern); !same {
				return scsi.SenseMiscompare.WithInfo(lba + at), false
			}
			if !pattern {
				want = want[len(got):]
			}
		}
		lba += step
		n -= step
	}
	return s, true
}

// differs finds the first block of got that is not as wanted.
func (d *Disk) differs(got, want []byte, pattern bool) (at uint64, same bool) {
	if !pattern && bytes.Equal(got, want[:len(got)]) {
		return 0, true
	}
	size := 1 << d.shift
	for i := 0; i < len(got); i += size {
		w := want[:size]
		if !pattern {
			w = want[i:][:size]
		}
		if !bytes.Equal(got[i:][:size], w) {
			return uint64(i) >> d.shift, false
		}
	}
	return 0, true
}
