package node

import "scstuser/ioctl/abi"

// Piece is a stretch of a caller's memory, and the bytes that come from there
// or go there.
type Piece struct {
	Addr abi.Addr
	Buf  []byte
}

// CallerMemory is the memory of who makes an ioctl. It is used during that
// ioctl only, by one goroutine.
type CallerMemory interface {
	// Read fills the pieces, in order, and returns how many bytes of all of
	// them; fewer than they have: the piece in which those end, or the next
	// one, can't be read.
	Read(pieces []Piece) int
	// Write is the same in the other direction.
	Write(pieces []Piece) int
	// Process names the process: the same comparable value for its threads
	// and another one for any other process, now and later. nil: unknown.
	Process() any
}

// eachFault moves all pieces by move (Read or Write). Where a piece can't be
// moved it asks skip, which returns the piece to go on with, at least i+1.
func eachFault(pieces []Piece, move func([]Piece) int, skip func(i int) (next int)) {
	for base := 0; base < len(pieces); {
		n := move(pieces[base:])
		i := base
		for i < len(pieces) && n >= len(pieces[i].Buf) {
			n -= len(pieces[i].Buf)
			i++
		}
		if i == len(pieces) {
			return
		}
		base = skip(i)
	}
}

// readAll reads one stretch whole.
func readAll(m CallerMemory, at abi.Addr, b []byte) bool {
	return m.Read([]Piece{{at, b}}) == len(b)
}

// writeAll writes one stretch whole.
func writeAll(m CallerMemory, at abi.Addr, b []byte) bool {
	return m.Write([]Piece{{at, b}}) == len(b)
}

// readString reads a string of at most limit bytes, its NUL included, as far as
// there is memory: what lies behind the NUL need not be mapped (rule R7).
// false: it does not end before its memory does.
func readString(m CallerMemory, at abi.Addr, limit int) ([]byte, bool) {
	if at == 0 || at+abi.Addr(limit) < at {
		return nil, false
	}
	b := make([]byte, limit)
	// Memory ends at pages: the first piece up to there, if it gets so far.
	first := min(int(pageSize-at%pageSize), limit)
	n := m.Read([]Piece{{at, b[:first]}, {at + abi.Addr(first), b[first:]}})
	for i, c := range b[:n] {
		if c == 0 {
			return b[:i+1], true
		}
	}
	return b[:n], n == limit
}
