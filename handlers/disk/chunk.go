package disk

import "unsafe"

const (
	// chunkSize is a multiple of every block size.
	chunkSize = 256 << 10
	// numChunks bounds the memory of one disk's chunks to 1 MiB.
	numChunks  = 4
	chunkAlign = 4096
)

// chunkPool holds the buffers of commands that move more than they were sent.
// Chunks are made when they are first needed, and kept.
type chunkPool chan []byte

func newChunkPool() chunkPool {
	p := make(chunkPool, numChunks)
	for range numChunks {
		p <- nil
	}
	return p
}

// get returns a chunk of chunkSize bytes with arbitrary content, aligned for
// O_DIRECT. It waits while all are in use; nobody holds one and waits for a
// second.
func (p chunkPool) get() []byte {
	b := <-p
	if b == nil {
		b = make([]byte, chunkSize+chunkAlign)
		skip := -int(uintptr(unsafe.Pointer(unsafe.SliceData(b)))) & (chunkAlign - 1)
		b = b[skip:][:chunkSize:chunkSize]
	}
	return b
}

func (p chunkPool) put(b []byte) { p <- b }
