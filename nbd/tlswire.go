package nbd

import (
	"errors"
	"io"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// tlsWire is the socket below a tls.Conn. While the client negotiates it is just
// that. For transmission (engine) it never waits in the middle of package tls:
//
//   - Read returns errNotYet instead, which package tls takes for a timeout: it
//     keeps what it has, and may be asked again after fill has waited.
//   - Write only collects; flush sends, and says if that would wait.
type tlsWire struct {
	net.Conn
	rc     syscall.RawConn // nil: no socket, and never engine
	engine bool            // set once, before transmission

	// The functions are made once, because what is given to RawConn escapes.
	readFn, fillFn, writeFn func(fd uintptr) bool

	// rx belongs to the connection's goroutine.
	rx struct {
		p    []byte
		n    int
		errn error
		// early[pos:end] is what fill received.
		early    [1 << 10]byte
		pos, end int
		// dry: the last call took all that there was.
		dry bool
	}
	// tx belongs to whoever may send.
	tx struct {
		buf  *wireBuffer // nil: nothing is left to be sent
		off  int         // of what is left
		wait bool
		errn error
	}

	// mu guards out: package tls also writes on behalf of Read.
	mu  sync.Mutex
	out *wireBuffer // collected and not taken over by flush; may be nil
}

// wireBuffer holds encrypted bytes: what send encrypts at a time, with the
// overhead of its records, and something that package tls has to say itself.
type wireBuffer struct {
	b [secureBatch + recordSize + 8<<10]byte
	n int
}

var wireBuffers = sync.Pool{New: func() any { return new(wireBuffer) }}

// errWireFull: a client makes package tls say more (key updates) than it takes.
var errWireFull = errors.New("the client asks for too many key updates")

// errNotYet: nothing has come yet. For package tls it is an error that passes.
var errNotYet = notYet{}

type notYet struct{}

var _ net.Error = notYet{}

func (notYet) Error() string   { return "nothing has come yet" }
func (notYet) Timeout() bool   { return true }
func (notYet) Temporary() bool { return true }

func newTLSWire(c net.Conn) *tlsWire {
	w := &tlsWire{Conn: c}
	if sc, ok := c.(syscall.Conn); ok {
		w.rc, _ = sc.SyscallConn()
	}
	w.readFn, w.fillFn, w.writeFn = w.readOnce, w.fillReady, w.writeReady
	return w
}

// Read implements net.Conn, for package tls.
func (w *tlsWire) Read(p []byte) (int, error) {
	if !w.engine {
		return w.Conn.Read(p)
	}
	rx := &w.rx
	if rx.pos < rx.end {
		n := copy(p, rx.early[rx.pos:rx.end])
		rx.pos += n
		return n, nil
	}
	if rx.dry || len(p) == 0 {
		return 0, errNotYet
	}
	rx.p = p
	err := w.rc.Read(w.readFn)
	rx.p = nil
	switch {
	case err != nil:
		return 0, err
	case rx.errn == error(unix.EAGAIN):
		rx.dry = true
		return 0, errNotYet
	case rx.errn != nil:
		return 0, rx.errn
	case rx.n == 0:
		return 0, io.EOF
	}
	rx.dry = rx.n < len(p)
	return rx.n, nil
}

// readOnce is called by RawConn.Read; it does not park.
func (w *tlsWire) readOnce(fd uintptr) bool {
	w.rx.n, w.rx.errn = readSocket(fd, w.rx.p)
	return true
}

// fill waits until there is something to read. It may read the beginning of it.
func (w *tlsWire) fill() error {
	if err := w.rc.Read(w.fillFn); err != nil {
		return err
	}
	rx := &w.rx
	if rx.errn != nil {
		return rx.errn
	}
	// At the end of the stream (0) package tls has to see it for itself.
	rx.pos, rx.end = 0, rx.n
	rx.dry = rx.n > 0 && rx.n < len(rx.early)
	return nil
}

// fillReady is called by RawConn.Read, and again each time the poller says that
// there is something; false parks.
func (w *tlsWire) fillReady(fd uintptr) bool {
	w.rx.n, w.rx.errn = readSocket(fd, w.rx.early[:])
	return w.rx.errn != error(unix.EAGAIN)
}

// readSocket is read(2) on a socket that does not block.
func readSocket(fd uintptr, p []byte) (int, error) {
	for {
		n, err := unix.Read(int(fd), p)
		if err != unix.EINTR {
			return n, err
		}
	}
}

// Write implements net.Conn, for package tls.
func (w *tlsWire) Write(p []byte) (int, error) {
	if !w.engine {
		return w.Conn.Write(p)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.out == nil {
		w.out = wireBuffers.Get().(*wireBuffer)
	}
	if len(p) > len(w.out.b)-w.out.n {
		return 0, errWireFull
	}
	w.out.n += copy(w.out.b[w.out.n:], p)
	return len(p), nil
}

// flush sends what was collected. It is called by whoever may send. Without
// wait it may return errWouldBlock, and has not waited.
func (w *tlsWire) flush(wait bool) error {
	tx := &w.tx
	for {
		if tx.buf == nil {
			w.mu.Lock()
			tx.buf, w.out = w.out, nil
			w.mu.Unlock()
			if tx.buf == nil {
				return nil
			}
			tx.off = 0
		}
		tx.wait = wait
		switch err := w.rc.Write(w.writeFn); {
		case err != nil:
			return err
		case tx.errn == error(unix.EAGAIN):
			return errWouldBlock
		case tx.errn != nil:
			return tx.errn
		}
		tx.buf.n = 0
		wireBuffers.Put(tx.buf)
		tx.buf = nil
	}
}

// writeReady is called by RawConn.Write, and again each time the poller says
// that there is room; false parks.
func (w *tlsWire) writeReady(fd uintptr) bool {
	tx := &w.tx
	for tx.errn = nil; tx.off < tx.buf.n; {
		n, err := unix.SendmsgN(int(fd), tx.buf.b[tx.off:tx.buf.n], nil, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch err {
		case nil:
			tx.off += n
		case unix.EINTR:
		default:
			tx.errn = err
			return err != unix.EAGAIN || !tx.wait
		}
	}
	return true
}

// Close implements net.Conn. What package tls said last (that this is the end)
// is sent if the socket takes it. It is called when nobody sends any more.
func (w *tlsWire) Close() error {
	if w.engine {
		_ = w.Conn.SetWriteDeadline(time.Time{}) // package tls wants no more written, by anybody
		_ = w.flush(false)
	}
	return w.Conn.Close()
}
