package fusenode

import (
	"context"
	"errors"
	"syscall"

	"scstuser/scsi"
)

// sizeOf is a capacity in bytes.
func sizeOf(c scsi.Capacity) int64 { return int64(c.LastLBA+1) * int64(c.BlockSize) }

// widen is the whole blocks around n bytes at off: the first, how many, and
// where the bytes begin in them.
func widen(c scsi.Capacity, off int64, n int) (lba uint64, blocks uint32, skip int) {
	b := int64(c.BlockSize)
	first, last := off/b, (off+int64(n)-1)/b
	return uint64(first), uint32(last - first + 1), int(off % b)
}

// readAt reads as much of p as there is; nothing at and beyond the end.
func (d *disk) readAt(ctx context.Context, c scsi.Capacity, p []byte, off int64) (n int, err error) {
	end := sizeOf(c)
	if off >= end {
		return 0, nil
	}
	p = p[:min(int64(len(p)), end-off)]
	for n < len(p) {
		k := min(len(p)-n, maxIO-int(off%int64(c.BlockSize)))
		if err := d.readPiece(ctx, c, p[n:n+k], off); err != nil {
			return n, err
		}
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

// readPiece reads what one command can.
func (d *disk) readPiece(ctx context.Context, c scsi.Capacity, p []byte, off int64) error {
	lba, blocks, skip := widen(c, off, len(p))
	b, err := d.do(ctx, scsi.EncodeRead16(lba, blocks, false), nil)
	if err != nil {
		return err
	}
	if len(b) < skip+len(p) {
		return syscall.EIO // fewer bytes than asked for
	}
	copy(p, b[skip:])
	return nil
}

// writeAt writes p; ENOSPC at and beyond the end. n bytes are written even if
// there is an error.
func (d *disk) writeAt(ctx context.Context, c scsi.Capacity, p []byte, off int64) (n int, err error) {
	end := sizeOf(c)
	if off >= end && len(p) > 0 {
		return 0, syscall.ENOSPC
	}
	p = p[:min(int64(len(p)), end-off)]
	for n < len(p) {
		k := min(len(p)-n, maxIO-int(off%int64(c.BlockSize)))
		if err := d.writePiece(ctx, c, p[n:n+k], off); err != nil {
			return n, err
		}
		n, off = n+k, off+int64(k)
	}
	return n, nil
}

// writePiece writes what one command can. Bytes that are no whole blocks are
// put among what is there, while no other write is under way.
func (d *disk) writePiece(ctx context.Context, c scsi.Capacity, p []byte, off int64) error {
	lba, blocks, skip := widen(c, off, len(p))
	write := scsi.EncodeWrite16(lba, blocks, false)
	if whole := int(blocks) * int(c.BlockSize); whole != len(p) {
		d.edges.Lock()
		defer d.edges.Unlock()
		b, err := d.do(ctx, scsi.EncodeRead16(lba, blocks, false), nil)
		if err != nil {
			return err
		}
		if len(b) < whole {
			return syscall.EIO
		}
		copy(b[skip:], p)
		_, err = d.do(ctx, write, b[:whole])
		return err
	}
	d.edges.RLock()
	defer d.edges.RUnlock()
	_, err := d.do(ctx, write, p)
	return err
}

// zeroBlocks is how many blocks one WRITE SAME covers.
const zeroBlocks = 65536

// zero makes n bytes zeroes, by unmapping them if punch is set. A device that
// does not take WRITE SAME without data gets zeroes written, or EOPNOTSUPP for
// a hole.
func (d *disk) zero(ctx context.Context, c scsi.Capacity, off, n int64, punch bool) error {
	b := int64(c.BlockSize)
	for n > 0 {
		k := min(n, zeroBlocks*b)
		if off%b != 0 || n < b { // the edge of a block
			k = min(n, b-off%b)
			if _, err := d.writeAt(ctx, c, make([]byte, k), off); err != nil {
				return err
			}
		} else {
			k -= k % b
			if err := d.zeroBlocks(ctx, c, off, k, punch); err != nil {
				return err
			}
		}
		off, n = off+k, n-k
	}
	return nil
}

// zeroBlocks makes whole blocks zeroes.
func (d *disk) zeroBlocks(ctx context.Context, c scsi.Capacity, off, n int64, punch bool) error {
	lba, blocks := uint64(off)/uint64(c.BlockSize), uint32(n/int64(c.BlockSize))
	d.edges.RLock()
	_, err := d.do(ctx, scsi.EncodeWriteSame16(lba, blocks, punch, true), nil)
	d.edges.RUnlock()
	var s *senseError
	if !errors.As(err, &s) || s.sense.Key != scsi.KeyIllegalRequest {
		return err
	}
	if punch {
		return syscall.EOPNOTSUPP
	}
	zeroes := make([]byte, min(n, maxIO))
	for n > 0 {
		k := min(n, int64(len(zeroes)))
		if _, err := d.writeAt(ctx, c, zeroes[:k], off); err != nil {
			return err
		}
		off, n = off+k, n-k
	}
	return nil
}

// seek finds the next data, or the next hole, from off on. A device without
// provisioning has data everywhere and its only hole at the end.
func (d *disk) seek(ctx context.Context, c scsi.Capacity, off int64, hole bool) (int64, error) {
	end, b := sizeOf(c), int64(c.BlockSize)
	if off < 0 || off >= end {
		return 0, syscall.ENXIO
	}
	at := off
	for c.LBPME && at < end {
		data, err := d.do(ctx, scsi.EncodeGetLBAStatus16(uint64(at/b), 8+64*16), nil)
		var s *senseError
		if errors.As(err, &s) && s.sense.Key == scsi.KeyIllegalRequest {
			break // it does not tell
		}
		if err != nil {
			return 0, err
		}
		runs, err := scsi.ParseLBAStatus(nil, data)
		if err != nil || len(runs) == 0 {
			return 0, syscall.EIO
		}
		before := at
		for _, r := range runs {
			if (r.Status == scsi.LBADeallocated) == hole {
				return max(int64(r.LBA)*b, at), nil
			}
			at = max(at, (int64(r.LBA)+int64(r.Blocks))*b)
		}
		if at == before {
			return 0, syscall.EIO // a list that does not get on
		}
	}
	switch {
	case hole:
		return end, nil
	case at >= end:
		return 0, syscall.ENXIO
	}
	return off, nil
}
