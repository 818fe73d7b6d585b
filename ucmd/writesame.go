package ucmd

import (
	"math"

	"scstuser/scsi"
	"scstuser/target"
)

// writeSameDescrSize is the wire size of a WriteSameDescr (rule R60).
const writeSameDescrSize = 16

// execWriteSame lets the target carry out a WRITE SAME as WRITEs (rule R60,
// fact 41). A refused reply ends the command with HARDWARE ERROR.
func (d *Device) execWriteSame(u *Ucmd, r *Reply) error {
	c := u.cmd
	op := c.Op()
	if !d.desc.hasBlocks() || op != scsi.OpWriteSame10 && op != scsi.OpWriteSame16 ||
		r.Status != scsi.Good || len(c.Buf) < int(d.desc.BlockSize) {
		return execRefused(c, scsi.SenseHardwareInternalFailure, errEINVAL)
	}
	whole := target.Range{LBA: c.LBA, Blocks: uint64(c.DataLen) / uint64(d.desc.BlockSize)}
	ranges, err := writeSameRanges(whole, r)
	if err != nil {
		return execRefused(c, scsi.SenseHardwareInternalFailure, err)
	}
	c.WriteSame(ranges)
	return nil
}

// writeSameRanges returns what a reply wants written of the command's range:
// all of it, or what its descriptors name. The module writes wherever they
// point; here they have to lie inside the range, so that no reply makes the
// target write for ever, or around the end of the address space. A range of no
// blocks is up to the end of the medium, which only the handler knows.
func writeSameRanges(whole target.Range, r *Reply) ([]target.Range, error) {
	n := len(r.WriteSame)
	switch {
	case r.WSLen == 0:
		if whole.Blocks == 0 || whole.Blocks > math.MaxUint64-whole.LBA {
			return nil, errEINVAL
		}
		return []target.Range{whole}, nil
	case r.WSLen > PageSize:
		return nil, errEOVERFLOW
	case r.WSLen < 0, r.WSLen%writeSameDescrSize != 0, n != int(r.WSLen)/writeSameDescrSize, r.WriteSame[n-1].Blocks != 0:
		return nil, errEINVAL
	}
	blocks := whole.Blocks
	if blocks == 0 {
		blocks = math.MaxUint64 - whole.LBA
	}
	ranges := make([]target.Range, 0, n-1)
	for _, x := range r.WriteSame[:n-1] {
		// Offsets, not sums: those could overflow.
		at := x.LBA - whole.LBA
		if x.LBA < whole.LBA || at > blocks || x.Blocks > blocks-at {
			return nil, errEINVAL
		}
		ranges = append(ranges, target.Range{LBA: x.LBA, Blocks: x.Blocks})
	}
	return ranges, nil
}
