package node

import (
	"sync"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// batch is what one call needs to move replies in and subcommands out. Batches
// are used again, so that a call allocates nothing in steady state.
type batch struct {
	raw     []byte // reply_cmds as they came
	replies []ucmd.Reply
	ptrs    []abi.Pointers
	sense   []byte // abi.MaxSense for each reply

	// pieces are read, or written, with one system call; loads tell, for
	// each, what it is.
	pieces []Piece
	loads  []load
	// probes are bytes that are written back to where they came from.
	probes []Piece
	bytes  []byte
	// news are the buffers that the replies bring; offered: some were made
	// ready.
	news    []newBuffer
	offered bool

	subs []ucmd.Subcommand
	out  []byte // get_cmds, abi.SizeGetCmd for each
	lens []int  // their lengths
}

// kind says what a piece of a reply is.
type kind uint8

const (
	loadSense kind = iota
	loadWriteSame
	loadRemap
	loadData  // READ data, into the command's buffer
	loadProbe // one byte per page of a new buffer
	loadFresh // READ data, into a new buffer
)

// load is what a piece is and belongs to.
type load struct {
	kind  kind
	reply int // index, -1: none
	news  int // index, for loadProbe and loadFresh
}

// newBuffer is a buffer that a reply brings.
type newBuffer struct {
	addr   abi.Addr
	n      int
	handle uint32
	host   []byte // nil: it can't be had
}

var batches = sync.Pool{New: func() any { return new(batch) }}

func getBatch() *batch { return batches.Get().(*batch) }

// put gives the batch back for use by others.
func (b *batch) put() {
	clear(b.replies)
	clear(b.subs)
	clear(b.pieces)
	clear(b.probes)
	clear(b.news)
	b.reset()
	batches.Put(b)
}

// reset forgets the replies of one step.
func (b *batch) reset() {
	b.pieces, b.loads, b.probes, b.news = b.pieces[:0], b.loads[:0], b.probes[:0], b.news[:0]
	b.offered = false
}

// grown returns s with room and length n; what is new is zero.
func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return append(make([]T, 0, n), s...)[:n]
	}
	return s[:n]
}
