package nbd

import (
	"errors"
	"net"
	"syscall"
	"time"

	"scstuser/target"
)

// errWouldBlock: the client takes no more bytes now.
var errWouldBlock = errors.New("the client is not reading")

// transport moves bytes for a connection. recv is called by the connection's
// goroutine only, send by whoever has the right to send (conn.sending), the
// others by anybody at any time. Closing the net.Conn ends all calls.
type transport interface {
	// recv waits for bytes and puts them into a, and what comes beyond it
	// into in, with one system call where possible. n is how many came into
	// a. It returns io.EOF at the end of the stream, and no error if it
	// received anything at all. While it waits for long it gives back in's
	// buffer, if that is empty.
	recv(a []byte, in *inbox) (n int, err error)
	// send sends v from where its position is, and moves the position. With
	// wait it returns when all of v is sent; without, it may return
	// errWouldBlock before that, and has not waited for the client.
	send(v *vector, wait bool) error
	// sendsFiles says whether send takes parts that are in files.
	sendsFiles() bool
	// stopReading makes recv fail with os.ErrDeadlineExceeded from then on.
	stopReading(then time.Time)
	// stopSending makes send fail in that way.
	stopSending(then time.Time)
}

// newTransport picks the way for a connection: system calls of our own on a
// socket, else (TLS, a pipe) the connection's own methods.
func newTransport(c net.Conn) transport {
	if sc, ok := c.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			return newSocket(c, rc)
		}
	}
	return &plain{c}
}

// vector is a list of byte slices to be sent, and how far it has been sent.
type vector struct {
	parts [][]byte
	// files says which of the parts are in files, in their order; only a
	// transport that sends files gets any.
	files []filePart
	// idx, off: parts[:idx] are sent whole, and off bytes of parts[idx].
	idx, off int
}

// add appends a part.
func (v *vector) add(p []byte) {
	if len(p) > 0 {
		v.parts = append(v.parts, p)
	}
}

// filePart is a part of a vector that only has room for the bytes, which are
// in a file.
type filePart struct {
	idx  int // of the part
	from target.FileRange
}

// addFile appends a part that is in a file.
func (v *vector) addFile(p []byte, from target.FileRange) {
	v.files = append(v.files, filePart{len(v.parts), from})
	v.add(p)
}

// nextFile is the first part in a file that is not sent yet, nil if there is
// none.
func (v *vector) nextFile() *filePart {
	for i := range v.files {
		if v.files[i].idx >= v.idx {
			return &v.files[i]
		}
	}
	return nil
}

// sent says whether nothing is left.
func (v *vector) sent() bool { return v.idx == len(v.parts) }

// advance moves the position forward by n bytes.
func (v *vector) advance(n int) {
	for v.idx < len(v.parts) {
		left := len(v.parts[v.idx]) - v.off
		if n < left {
			v.off += n
			return
		}
		n -= left
		v.idx++
		v.off = 0
	}
}

// reset makes v empty and forgets the parts.
func (v *vector) reset() {
	clear(v.parts)
	clear(v.files)
	v.parts, v.files, v.idx, v.off = v.parts[:0], v.files[:0], 0, 0
}
