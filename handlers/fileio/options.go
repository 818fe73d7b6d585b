package fileio

import "math/bits"

// Block sizes that Options.BlockSize may have.
const (
	DefaultBlockSize = 512
	MinBlockSize     = 512
	MaxBlockSize     = 64 << 10
)

// Options says how to open and use a file. The zero value is good: read and
// write through the page cache, blocks of DefaultBlockSize.
type Options struct {
	// ReadOnly opens for reading only; every change is refused with
	// ErrReadOnly. Sync then has nothing to do and succeeds.
	ReadOnly bool
	// WriteThrough makes every write, Punch and Zero durable before it
	// returns. TryWriteAt never succeeds then.
	WriteThrough bool
	// Direct goes around the page cache (O_DIRECT). Requests may still have
	// any offset, length and memory; see File.Alignment for those that need
	// no copy. TryReadAt and TryWriteAt never succeed.
	Direct bool
	// NVCache promises that the machine's memory survives a power failure:
	// Sync does nothing and succeeds, WriteAtDurable is WriteAt. Whoever
	// sets it without such memory loses acknowledged writes in a crash of
	// the machine. WriteThrough wins over it, for writes.
	NVCache bool
	// BlockSize is the device's logical block size in bytes, a power of two
	// from MinBlockSize to MaxBlockSize; 0 is DefaultBlockSize. Size is
	// rounded down to it; it doesn't restrict requests.
	BlockSize int
}

// EnsureDefaults fills in what was left zero.
func (o *Options) EnsureDefaults() {
	if o.BlockSize == 0 {
		o.BlockSize = DefaultBlockSize
	}
}

func validBlockSize(n int) bool {
	return n >= MinBlockSize && n <= MaxBlockSize && bits.OnesCount(uint(n)) == 1
}
