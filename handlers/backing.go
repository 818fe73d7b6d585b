package handlers

import (
	"errors"

	"scstuser/ucmd"
)

// ErrWouldBlock is what the non-blocking attempts of a Backing return when
// the bytes can't be moved without waiting. Nothing has been moved then.
var ErrWouldBlock = errors.New("would block")

// ErrNotSupported is what an optional operation of a Backing returns when the
// medium turns out not to have it (a file system without hole punching, say).
// The caller falls back to a way that always works.
var ErrNotSupported = errors.New("not supported by the backing")

// ErrLost is wrapped by the errors of Sync and WriteAtDurable once bytes that
// were answered may not have become durable: from then on, for as long as the
// Backing is open, it can't vouch for what it has (see Syncer).
var ErrLost = errors.New("writes may be lost")

// Backing is where a disk's bytes are: a file, a block device, memory, a
// network object. Offsets and lengths are in bytes; all methods may be called
// from many goroutines at once.
//
// A Backing that can do more says so by implementing the optional interfaces
// below. What is missing is emulated (Zeroer by writing zeroes) or not offered
// to the initiator (Puncher).
type Backing interface {
	// ReadAt fills p from off and returns how many bytes it read. It reads
	// fewer than len(p) only with an error that says why.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes all of p at off, or returns an error with the number of
	// bytes written. It never makes the medium larger.
	WriteAt(p []byte, off int64) (int, error)
	// Size is the medium's size in bytes as last seen; see Resizer.
	Size() int64
	// ReadOnly says whether WriteAt and the like are refused.
	ReadOnly() bool
	// Close gives the medium back. Nothing else is called afterwards.
	Close() error
}

// NonBlocker is a Backing that can try without waiting. The disk handler asks
// it first when it runs on a goroutine that must not wait (a connection's).
type NonBlocker interface {
	// TryReadAt is ReadAt for bytes that are in memory already, all of them;
	// otherwise it returns ErrWouldBlock.
	TryReadAt(p []byte, off int64) error
	// TryWriteAt is WriteAt into the page cache; otherwise ErrWouldBlock.
	TryWriteAt(p []byte, off int64) error
}

// FileReader is a NonBlocker whose bytes are in a file, from where they can be
// sent without being copied.
type FileReader interface {
	// TryFile returns where the n bytes at off are, if all of them are in
	// memory, so that sending them hardly ever waits; false otherwise.
	TryFile(off, n int64) (ucmd.FileRange, bool)
}

// Syncer is a Backing with a volatile write cache.
type Syncer interface {
	// Sync makes every write that was answered before the call durable. An
	// error is never dropped, and stays: once data could not be made
	// durable, later calls fail as well (a page cache forgets the failed
	// pages, the initiator must not be told GOOD about them). It wraps
	// ErrLost.
	Sync() error
}

// DurableWriter is a Backing that can write through its cache for less than a
// write and a Sync.
type DurableWriter interface {
	// WriteAtDurable is WriteAt that returns when the bytes are stable.
	WriteAtDurable(p []byte, off int64) (int, error)
}

// Puncher is a Backing that can give ranges back to the medium.
type Puncher interface {
	// Punch deallocates a range, which then reads as zeroes.
	// ErrNotSupported if the medium can't.
	Punch(off, n int64) error
	// PunchGranularity is the natural unit of Punch in bytes, for the
	// initiator's information.
	PunchGranularity() int64
}

// Zeroer is a Backing that can zero a range faster than writing it.
type Zeroer interface {
	// Zero makes a range read as zeroes and keeps it allocated.
	// ErrNotSupported if the medium has no faster way than writing.
	Zero(off, n int64) error
}

// FastZeroer is a Puncher or Zeroer that knows whether those are fast. One that
// is no FastZeroer is taken to be.
type FastZeroer interface {
	// FastZero says whether Punch and Zero take less time than writing
	// zeroes. Not to know is false.
	FastZero() (punch, zero bool)
}

// Extent describes a run of bytes of a Backing.
type Extent struct {
	Off, Len int64
	// Hole says that nothing is allocated here; it reads as zeroes.
	Hole bool
}

// Mapper is a Backing that knows its holes.
type Mapper interface {
	// NextExtent describes the run that starts at off, which is below
	// Size(). The run may be shorter than it could be, never empty.
	NextExtent(off int64) (Extent, error)
}

// Prefetcher is a Backing that can start to read ahead.
type Prefetcher interface {
	// Prefetch starts reading a range into memory; it need not wait.
	Prefetch(off, n int64) error
}

// Resizer is a Backing whose medium can change its size under it.
type Resizer interface {
	// Refresh looks at the medium again and returns its size in bytes.
	Refresh() (int64, error)
}

// Described is a Backing that can tell an operator what it is.
type Described interface {
	// Describe returns a short description such as the path.
	Describe() string
}

// Aligned is a Backing that needs its buffers, offsets and lengths aligned
// (O_DIRECT).
type Aligned interface {
	// Alignment is in bytes, a power of two. Buffers from the handler's
	// Arena are page aligned.
	Alignment() int
}
