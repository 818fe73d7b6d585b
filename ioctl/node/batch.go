package node

import (
	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// batch is what one call needs to move replies in and subcommands out.
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
	one  [1]Piece
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

// forget drops what belongs to a call, and keeps the room.
func (b *batch) forget() {
	clear(b.replies)
	clear(b.subs)
	clear(b.pieces)
	clear(b.probes)
	clear(b.news)
	clear(b.one[:])
	b.reset()
}

// reset forgets the replies of one step.
func (b *batch) reset() {
	b.pieces, b.loads, b.probes, b.news = b.pieces[:0], b.loads[:0], b.probes[:0], b.news[:0]
	b.offered = false
}

// read reads one stretch, and returns how many bytes of it there are.
func (b *batch) read(m CallerMemory, at abi.Addr, buf []byte) int {
	b.one[0] = Piece{at, buf}
	return m.Read(b.one[:])
}

// grown returns s with room and length n; what is new is zero.
func grown[T any](s []T, n int) []T {
	if cap(s) < n {
		return append(make([]T, 0, n), s...)[:n]
	}
	return s[:n]
}
