package fileio

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"

	"scstuser/handlers"

	"golang.org/x/sys/unix"
)

var (
	// ErrRange is wrapped by the errors for requests that aren't inside
	// [0, Size). Nothing has been moved then.
	ErrRange = errors.New("outside of the medium")
	// ErrReadOnly is wrapped by the errors for changes to a File that was
	// opened with Options.ReadOnly; it is EROFS to errors.Is.
	ErrReadOnly = fmt.Errorf("opened read-only: %w", unix.EROFS)
	// ErrTruncated is wrapped by the errors for reads of bytes that the
	// medium doesn't have any more; it is EIO and io.ErrUnexpectedEOF to
	// errors.Is.
	ErrTruncated = fmt.Errorf("the medium has become smaller: %w (%w)", unix.EIO, io.ErrUnexpectedEOF)
)

// A File is an open image file or block device. Its methods may be called from
// many goroutines, Close once and last.
type File struct {
	path   string
	opts   Options
	fd     int  // for everything but Sync; -1 after Close
	syncFd int  // for Sync only, see the package comment; -1 if ReadOnly
	device bool // a block device, not a regular file
	memory bool // a regular file on tmpfs or ramfs
	// foreign: a regular file on one of the foreign file systems.
	foreign bool
	align   int // of offsets, lengths and memory; 1 unless Direct
	// zeroGrain is what fallocate wants offsets and lengths aligned to:
	// a device's logical block, 1 for files.
	zeroGrain int64
	// punchGrain is PunchGranularity.
	punchGrain int64
	// cacheUnit is what the page cache reads before a part of it is
	// written: a page, or the file system's block where that is larger.
	cacheUnit int64
	speed     speed // of Punch and Zero, as far as it is known
	sys       kernel

	// size and tail are set by Open and Refresh.
	size, tail atomic.Int64

	// What the medium turned out not to have; each is set once, by the
	// first call that was told so, or by Open.
	noNowaitRead, noNowaitWrite atomic.Bool
	noDsync, noPunch, noZero    atomic.Bool

	// holders counts the operations under way that have the file's lock in the
	// kernel for long: long writes, punching, zeroing.
	holders atomic.Int32

	patience patience  // of TryWriteAt
	commit   commit    // group commit of Sync
	ranges   rangeLock // Direct only: sectors being rewritten
	source   source    // for TryFile
}

var (
	_ handlers.Backing       = (*File)(nil)
	_ handlers.NonBlocker    = (*File)(nil)
	_ handlers.Syncer        = (*File)(nil)
	_ handlers.DurableWriter = (*File)(nil)
	_ handlers.Puncher       = (*File)(nil)
	_ handlers.Zeroer        = (*File)(nil)
	_ handlers.FastZeroer    = (*File)(nil)
	_ handlers.Mapper        = (*File)(nil)
	_ handlers.Prefetcher    = (*File)(nil)
	_ handlers.Resizer       = (*File)(nil)
	_ handlers.Described     = (*File)(nil)
	_ handlers.Aligned       = (*File)(nil)
)

// Size is the exported size in bytes: the medium's size as Open or Refresh saw
// it, rounded down to whole blocks.
func (f *File) Size() int64 { return f.size.Load() }

// Tail is the number of bytes behind Size that the medium has but that are no
// whole block. They are never read or written.
func (f *File) Tail() int64 { return f.tail.Load() }

// ReadOnly is Options.ReadOnly.
func (f *File) ReadOnly() bool { return f.opts.ReadOnly }

// Alignment is what offsets, lengths and memory must be multiples of to be
// transferred without a copy, in bytes: 1 unless Options.Direct is set.
// Anything else works as well, slower.
func (f *File) Alignment() int { return f.align }

// Describe is the path and what it is.
func (f *File) Describe() string {
	if f.device {
		return f.path + " (block device)"
	}
	return f.path + " (regular file)"
}

// Refresh takes note of the medium's present size, larger or smaller, and
// returns the new Size. On an error the old one stays. With Direct a size that
// O_DIRECT can't reach to its end is rounded down further, and Tail says so.
func (f *File) Refresh() (int64, error) {
	bytes, err := f.mediumSize()
	if err != nil {
		return 0, fmt.Errorf("find the size of %s: %w", f.path, err)
	}
	f.setSize(bytes)
	return f.Size(), nil
}

func (f *File) setSize(bytes int64) {
	tail := bytes % int64(max(f.opts.BlockSize, f.align))
	f.size.Store(bytes - tail)
	f.tail.Store(tail)
}

func (f *File) mediumSize() (int64, error) {
	if f.device {
		return deviceSize(f.fd)
	}
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return 0, err
	}
	return st.Size, nil
}

// Close gives the file back. It doesn't Sync: what has to be durable was made
// so when somebody asked for it. A second Close is os.ErrClosed.
func (f *File) Close() error {
	if f.fd < 0 {
		return fmt.Errorf("close %s: %w", f.path, os.ErrClosed)
	}
	return f.closeFds()
}

// closeFds leaves numbers behind that no later open file can get.
func (f *File) closeFds() error {
	errs := []error{f.source.close()}
	for _, fd := range []*int{&f.syncFd, &f.fd} {
		if *fd < 0 {
			continue
		}
		// Not repeated on EINTR: Linux has closed it then.
		if err := unix.Close(*fd); err != nil && err != unix.EINTR {
			errs = append(errs, fmt.Errorf("close %s: %w", f.path, err))
		}
		*fd = -1
	}
	return errors.Join(errs...)
}

// checkRange refuses what is not inside the medium.
func (f *File) checkRange(op string, off, n int64) error {
	if size := f.Size(); off < 0 || n < 0 || off > size || n > size-off {
		return fmt.Errorf("%s %d bytes at %d of %s (%d bytes): %w", op, n, off, f.path, size, ErrRange)
	}
	return nil
}

// checkChange is checkRange for operations that change the medium.
func (f *File) checkChange(op string, off, n int64) error {
	if f.opts.ReadOnly {
		return fmt.Errorf("%s %d bytes at %d of %s: %w", op, n, off, f.path, ErrReadOnly)
	}
	return f.checkRange(op, off, n)
}

// failed adds to an error what was being done.
func (f *File) failed(op string, off, n int64, err error) error {
	return fmt.Errorf("%s %d bytes at %d of %s: %w", op, n, off, f.path, err)
}
