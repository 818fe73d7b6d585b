package volatiledisk

import (
	"fmt"
	"io"
)

// SectorSize is what a cut leaves whole at least, in bytes. Everything is a multiple
// of it.
const SectorSize = 512

// chunkSize is the unit of copying on write, in bytes.
const chunkSize = 16 << 10

// chunk is a part of a state.
type chunk [chunkSize]byte

// Medium is what of a disk outlives its power. It is not safe for use by several
// goroutines, and must not be used but through its Disk while that is on.
type Medium struct {
	size   int64
	chunks []*chunk
	disk   *Disk // that is on, nil: none
}

// NewMedium returns a medium of zeroes; size is in bytes, and a multiple of
// SectorSize. Memory is used only for what is written.
func NewMedium(size int64) (*Medium, error) {
	if size <= 0 || size%SectorSize != 0 {
		return nil, fmt.Errorf("a disk of %d bytes: use a positive multiple of %d", size, SectorSize)
	}
	return &Medium{size: size, chunks: make([]*chunk, (size+chunkSize-1)/chunkSize)}, nil
}

// Size is in bytes.
func (m *Medium) Size() int64 { return m.size }

// ReadAt implements io.ReaderAt, for looking at it between two Disks.
func (m *Medium) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > m.size {
		return 0, fmt.Errorf("read at %d of %d: %w", off, m.size, io.EOF)
	}
	n := min(int64(len(p)), m.size-off)
	readChunks(m.chunks, p[:n], off)
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// readChunks copies a range of a state.
func readChunks(state []*chunk, p []byte, off int64) {
	for len(p) > 0 {
		at := off % chunkSize
		n := min(len(p), int(chunkSize-at))
		if c := state[off/chunkSize]; c != nil {
			copy(p[:n], c[at:])
		} else {
			clear(p[:n])
		}
		p, off = p[n:], off+int64(n)
	}
}
