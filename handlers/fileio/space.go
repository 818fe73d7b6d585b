package fileio

import (
	"sync/atomic"

	"scstuser/handlers"

	"golang.org/x/sys/unix"
)

const (
	// punchMode keeps the size and frees the blocks. On a block device it
	// is the discard that guarantees zeroes (or fails), unlike BLKDISCARD.
	punchMode = unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE
	// zeroMode keeps the size and the blocks.
	zeroMode = unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE
)

// Punch gives a range back to the file system or device; it then reads as
// zeroes. Blocks that it covers in part are zeroed there. It is
// handlers.ErrNotSupported where that can't be done, and then has done
// nothing; other errors are ErrRange, ErrReadOnly or an errno, wrapped.
func (f *File) Punch(off, n int64) error {
	return f.allocate("punch", punchMode, &f.noPunch, off, n)
}

// PunchGranularity is the size of the file system's blocks, or what the device
// says about discarding, in bytes.
func (f *File) PunchGranularity() int64 { return f.punchGrain }

// Zero makes a range read as zeroes and keeps, or makes, it allocated. Blocks
// that it covers in part are zeroed there. Errors are as for Punch. A device
// without a command for it has its zeroes written by the kernel.
func (f *File) Zero(off, n int64) error {
	return f.allocate("zero", zeroMode, &f.noZero, off, n)
}

// allocate is fallocate, with the edges done by writing where it wants whole
// blocks, and durable with WriteThrough.
func (f *File) allocate(op string, mode uint32, no *atomic.Bool, off, n int64) error {
	if err := f.checkChange(op, off, n); err != nil {
		return err
	}
	if no.Load() {
		return handlers.ErrNotSupported
	}
	if n == 0 {
		return nil
	}
	if f.opts.WriteThrough {
		if err := f.commit.failure(); err != nil {
			return err
		}
	}
	// The blocks that are covered whole: [in, out).
	in := (off + f.zeroGrain - 1) / f.zeroGrain * f.zeroGrain
	out := (off + n) / f.zeroGrain * f.zeroGrain
	if in >= out {
		return f.writeZeroes(off, off+n)
	}
	if err := f.fallocate(mode, in, out); err != nil {
		if unsupported(err) {
			no.Store(true)
			return handlers.ErrNotSupported
		}
		return f.failed(op, off, n, err)
	}
	if err := f.writeZeroes(off, in); err != nil {
		return err
	}
	if err := f.writeZeroes(out, off+n); err != nil {
		return err
	}
	if f.opts.WriteThrough {
		return f.commit.wait()
	}
	return nil
}

func (f *File) fallocate(mode uint32, start, end int64) error {
	if f.opts.Direct {
		// Not while somebody is about to write an old copy of a sector.
		first, last := f.sectors(start, end-start)
		held := f.ranges.lock(first, last, false)
		defer f.ranges.unlock(held)
	}
	f.holders.Add(1)
	defer f.holders.Add(-1)
	return ignoringEINTR(func() error { return f.sys.fallocate(f.fd, mode, start, end-start) })
}

var zeroes [4096]byte

// writeZeroes is for less than a block of the device at each end.
func (f *File) writeZeroes(start, end int64) error {
	for start < end {
		n, err := f.WriteAt(zeroes[:min(end-start, int64(len(zeroes)))], start)
		if err != nil {
			return err
		}
		start += int64(n)
	}
	return nil
}

// NextExtent says whether data or a hole is at off and how far it goes, at
// most to Size. A block device is all data. The errors are ErrRange,
// ErrTruncated or an errno, wrapped.
//
// It asks the file system every time (lseek), so it costs a system call or
// two, and others who write at the same time may make it outdated at once, but
// what it calls a hole was one, all of it, at some moment of the call. lseek
// moves the file's offset; nothing here uses that, so calls don't disturb each
// other.
func (f *File) NextExtent(off int64) (handlers.Extent, error) {
	size := f.Size()
	if err := f.checkRange("map", off, 1); err != nil {
		return handlers.Extent{}, err
	}
	all := handlers.Extent{Off: off, Len: size - off}
	if f.device {
		return all, nil
	}
	data, err := unix.Seek(f.fd, off, unix.SEEK_DATA)
	switch {
	case err == unix.ENXIO: // no data from here to the end
		end, err := f.mediumSize()
		if err != nil {
			return handlers.Extent{}, f.failed("map", off, 1, err)
		}
		if end <= off {
			return handlers.Extent{}, f.failed("map", off, 1, ErrTruncated)
		}
		return handlers.Extent{Off: off, Len: min(end, size) - off, Hole: true}, nil
	case err == unix.EINVAL || unsupported(err): // the file system can't tell
		return all, nil
	case err != nil:
		return handlers.Extent{}, f.failed("map", off, 1, err)
	case data > off:
		return handlers.Extent{Off: off, Len: min(data, size) - off, Hole: true}, nil
	}
	hole, err := unix.Seek(f.fd, off, unix.SEEK_HOLE)
	if err != nil {
		return handlers.Extent{}, f.failed("map", off, 1, err)
	}
	if hole <= off {
		// Punched since the first question. To call a block data that
		// is a hole by now is always right.
		hole = off + int64(f.opts.BlockSize)
	}
	return handlers.Extent{Off: off, Len: min(hole, size) - off}, nil
}

// Prefetch asks the kernel to read a range into the page cache. It starts the
// reading and doesn't wait for it to end. With Options.Direct there is no cache
// to fill and it does nothing.
func (f *File) Prefetch(off, n int64) error {
	if err := f.checkRange("prefetch", off, n); err != nil {
		return err
	}
	if n == 0 || f.opts.Direct { // 0 would mean: to the end
		return nil
	}
	if err := unix.Fadvise(f.fd, off, n, unix.FADV_WILLNEED); err != nil {
		return f.failed("prefetch", off, n, err)
	}
	return nil
}
