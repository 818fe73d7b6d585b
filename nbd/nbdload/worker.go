package nbdload

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// worker is one connection.
type worker struct {
	conn net.Conn
	load *Load
	// blocks is how many blocks its offsets are in, from first on; next is
	// the next one of a sequential load.
	first, blocks, next uint64
	random              *rand.Rand

	// sent is when the request of each cookie was.
	sent []time.Time
	// due are the cookies whose next request is to be sent; headers and vec
	// are what is sent for them.
	due     []int
	headers []byte
	vec     net.Buffers
	payload []byte
	// in has what was received and not looked at: in[lo:hi].
	in     []byte
	lo, hi int
	// cookie is the request whose reply is being received, -1 between replies;
	// skip is how much of its data is still to come.
	cookie, skip int

	requests int64
	latency  Histogram
}

// maxReceive is the most that is received at once, in bytes.
const maxReceive = 512 << 10

// receiveSize is how much a worker can receive at once: all that it is owed, if
// that is not too much. A thousand workers are to leave the server some cache.
func (l *Load) receiveSize() int {
	reply := replySize
	if !l.Write {
		reply += l.BlockSize
	}
	return min(maxReceive, max(l.Depth*reply, 4096))
}

func newWorker(c net.Conn, l *Load, i int, size uint64) *worker {
	w := &worker{conn: c, load: l, cookie: -1, in: make([]byte, l.receiveSize()), sent: make([]time.Time, l.Depth)}
	all := size / uint64(l.BlockSize)
	w.blocks = max(all/uint64(l.Connections), 1)
	w.first = w.blocks * uint64(i) % all
	if l.Random {
		w.first, w.blocks = 0, all
		w.random = rand.New(rand.NewPCG(1, uint64(i)))
	}
	w.headers = make([]byte, l.Depth*requestSize)
	if l.Write {
		w.payload = make([]byte, l.BlockSize)
		fill := rand.NewChaCha8([32]byte{byte(i)})
		_, _ = fill.Read(w.payload)
	}
	for cookie := range l.Depth {
		w.due = append(w.due, cookie)
	}
	return w
}

// run sends requests until end, and returns when all are answered.
func (w *worker) run(end time.Time) error {
	out := 0 // requests in flight
	for {
		now := time.Now()
		if now.Before(end) {
			n := len(w.due)
			if err := w.send(now); err != nil {
				return fmt.Errorf("send requests: %w", err)
			}
			out += n
		}
		if out == 0 {
			return nil
		}
		n, err := w.receive()
		if err != nil {
			return fmt.Errorf("receive replies: %w", err)
		}
		out -= n
	}
}

// send sends the requests that are due, with one call.
func (w *worker) send(now time.Time) error {
	if len(w.due) == 0 {
		return nil
	}
	vec := w.vec[:0]
	typ := uint16(cmdRead)
	if w.load.Write {
		typ = cmdWrite
	}
	for i, cookie := range w.due {
		h := w.headers[i*requestSize:][:requestSize]
		binary.BigEndian.PutUint32(h, magicRequest)
		binary.BigEndian.PutUint16(h[4:], 0)
		binary.BigEndian.PutUint16(h[6:], typ)
		binary.BigEndian.PutUint64(h[8:], uint64(cookie))
		binary.BigEndian.PutUint64(h[16:], w.offset())
		binary.BigEndian.PutUint32(h[24:], uint32(w.load.BlockSize))
		w.sent[cookie] = now
		if w.load.Write {
			vec = append(vec, h, w.payload)
		}
	}
	n := len(w.due)
	w.due = w.due[:0]
	if !w.load.Write {
		_, err := w.conn.Write(w.headers[:n*requestSize])
		return err
	}
	w.vec = vec
	_, err := vec.WriteTo(w.conn)
	return err
}

// offset is where the next request goes.
func (w *worker) offset() uint64 {
	n := w.next
	if w.random != nil {
		n = w.random.Uint64N(w.blocks)
	} else if w.next++; w.next == w.blocks {
		w.next = 0
	}
	return (w.first + n) * uint64(w.load.BlockSize)
}

// receive reads once and takes the replies that are there. It returns how many
// were completed.
func (w *worker) receive() (done int, err error) {
	if w.lo > 0 {
		w.hi = copy(w.in, w.in[w.lo:w.hi])
		w.lo = 0
	}
	n, err := w.conn.Read(w.in[w.hi:])
	if err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return 0, err
	}
	w.hi += n
	now := time.Now()
	for {
		if w.cookie >= 0 {
			n := min(w.skip, w.hi-w.lo)
			w.lo += n
			w.skip -= n
			if w.skip > 0 {
				return done, nil
			}
			w.complete(now)
			done++
		}
		if w.hi-w.lo < replySize {
			return done, nil
		}
		if err := w.header(w.in[w.lo:]); err != nil {
			return done, err
		}
		w.lo += replySize
	}
}

// header reads the header of a reply.
func (w *worker) header(h []byte) error {
	cookie := binary.BigEndian.Uint64(h[8:])
	switch e := binary.BigEndian.Uint32(h[4:]); {
	case binary.BigEndian.Uint32(h) != magicReply || cookie >= uint64(w.load.Depth):
		return fmt.Errorf("this is no reply to any of our requests: %x", h[:replySize])
	case e != 0:
		return fmt.Errorf("a request failed with error %d", e)
	}
	w.cookie = int(cookie)
	if !w.load.Write {
		w.skip = w.load.BlockSize
	}
	return nil
}

// complete counts the request whose reply is there.
func (w *worker) complete(now time.Time) {
	w.latency.count(now.Sub(w.sent[w.cookie]))
	w.requests++
	w.due = append(w.due, w.cookie)
	w.cookie = -1
}

// disconnect ends the connection as the protocol wants it.
func (w *worker) disconnect() {
	var h [requestSize]byte
	binary.BigEndian.PutUint32(h[:], magicRequest)
	binary.BigEndian.PutUint16(h[6:], cmdDisc)
	_, _ = w.conn.Write(h[:]) // it is over either way
	w.conn.Close()
}
