package nbd

import "sync"

// inboxSize is the size of a receive buffer: enough for the headers of any
// queue depth, and for all small writes of a client with some in flight.
const inboxSize = 128 << 10

var inboxes = sync.Pool{New: func() any { return new([inboxSize]byte) }}

// inbox holds bytes that were received and not used yet. Its buffer is on loan
// from a pool, and goes back while the connection waits for its client: idle
// connections have none. It belongs to the connection's goroutine.
type inbox struct {
	buf *[inboxSize]byte // nil: given back
	// buf[pos:end] are the bytes.
	pos, end int
}

// len is how many bytes there are.
func (in *inbox) len() int { return in.end - in.pos }

// next returns the first n bytes, which are there, and removes them. They are
// valid until more is received.
func (in *inbox) next(n int) []byte {
	b := in.buf[in.pos : in.pos+n]
	in.pos += n
	return b
}

// take moves bytes into p and returns how many.
func (in *inbox) take(p []byte) int {
	if in.len() == 0 {
		return 0
	}
	n := copy(p, in.buf[in.pos:in.end])
	in.pos += n
	return n
}

// room returns the space behind the bytes, which are moved to the front of the
// buffer: it is called when there are few, less than a header at most.
func (in *inbox) room() []byte {
	if in.buf == nil {
		in.buf = inboxes.Get().(*[inboxSize]byte)
	}
	in.end = copy(in.buf[:], in.buf[in.pos:in.end])
	in.pos = 0
	return in.buf[in.end:]
}

// filled says that n bytes have been put into room.
func (in *inbox) filled(n int) { in.end += n }

// full says whether there was no room for more when something was received.
func (in *inbox) full() bool { return in.end == inboxSize }

// drop forgets the bytes and returns the buffer.
func (in *inbox) drop() {
	in.pos = in.end
	in.giveBack()
}

// giveBack returns the buffer to the pool if there is nothing in it.
func (in *inbox) giveBack() {
	if in.buf != nil && in.pos == in.end {
		inboxes.Put(in.buf)
		*in = inbox{}
	}
}
