package disk

import (
	"errors"
	"math"

	"scstuser/handlers"
	"scstuser/scsi"
)

const (
	// maxRuns bounds one GET LBA STATUS; initiators ask again from where
	// the answer ended.
	maxRuns = 128
	// maxExtents bounds the questions to the Backing that one answer takes.
	maxExtents = 4 * maxRuns
)

// getLBAStatus is GET LBA STATUS. Without a Mapper everything is mapped.
func (d *Disk) getLBAStatus(r *handlers.Request, c scsi.Command) {
	if _, ok := d.toEnd(r, c.LBA, 0); !ok {
		return
	}
	room := (int(min(uint64(c.AllocLen), uint64(len(r.Buf)))) - scsi.LBAStatusHeaderLen) / scsi.LBAStatusDescriptorLen
	var space [maxRuns]scsi.LBAStatus
	runs, err := d.runs(space[:0:min(max(room, 1), maxRuns)], c.LBA)
	if err != nil {
		r.Fail(d.readSense(err, c.LBA, 0))
		return
	}
	var b [scsi.LBAStatusHeaderLen + maxRuns*scsi.LBAStatusDescriptorLen]byte
	answer(r, scsi.AppendLBAStatus(b[:0], runs...), c.AllocLen)
}

// runs appends the runs of blocks from lba on, as many as dst has capacity for.
func (d *Disk) runs(dst []scsi.LBAStatus, lba uint64) ([]scsi.LBAStatus, error) {
	blocks := d.blocks.Load()
	for range maxExtents {
		if lba >= blocks {
			break
		}
		end, status, err := d.extent(lba, blocks)
		if err != nil && len(dst) > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		if n := len(dst); n > 0 && dst[n-1].Status == status && end-dst[n-1].LBA <= math.MaxUint32 {
			dst[n-1].Blocks = uint32(end - dst[n-1].LBA)
			lba = end
			continue
		}
		if len(dst) == cap(dst) {
			break
		}
		end = min(end, lba+math.MaxUint32)
		dst = append(dst, scsi.LBAStatus{LBA: lba, Blocks: uint32(end - lba), Status: status})
		lba = end
	}
	return dst, nil
}

// extent finds the end of the run that starts at lba, and its status. A block that
// is a hole only in part is mapped.
func (d *Disk) extent(lba, blocks uint64) (end uint64, status uint8, err error) {
	if d.mapper == nil {
		return blocks, scsi.LBAMapped, nil
	}
	off := int64(lba << d.shift)
	e, err := d.mapper.NextExtent(off)
	switch {
	case errors.Is(err, handlers.ErrNotSupported):
		return blocks, scsi.LBAMapped, nil
	case err != nil:
		return 0, 0, err
	case e.Off > off || e.Len <= off-e.Off:
		return 0, 0, errNoProgress
	}
	last := uint64(e.Off) + uint64(e.Len) - 1
	if !e.Hole {
		return min(last>>d.shift+1, blocks), scsi.LBAMapped, nil
	}
	if end = (last + 1) >> d.shift; end <= lba {
		return lba + 1, scsi.LBAMapped, nil
	}
	return min(end, blocks), scsi.LBADeallocated, nil
}
