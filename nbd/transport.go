package nbd

import (
	"errors"
	"io"
	"net"
	"runtime"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// errWouldBlock: the peer does not take more bytes now.
var errWouldBlock = errors.New("the socket would block")

// transport moves bytes for the engine. recv is called by the connection's
// goroutine only; send by whoever has the right to send (conn.sending).
type transport interface {
	// recv reads into a and then, if b is not nil, into what b returns, in
	// one call of the kernel where possible. At least one byte, or an
	// error; io.EOF at the end of the stream. idle is called before it
	// parks for long; b is asked for again then. quiet: nobody minds if the
	// thread waits in the kernel for a moment.
	recv(a []byte, b func() []byte, idle func(), quiet bool) (int, error)
	// send writes the vector from *pos on (an index into the bytes of all)
	// and advances it. wait: until all is written; else errWouldBlock.
	send(vec [][]byte, pos *sendPos, wait bool) error
	// stopReading makes recv end with os.ErrDeadlineExceeded after a while.
	stopReading(after time.Duration)
	// stopSending makes send fail if it has to wait longer than that from
	// now on.
	stopSending(after time.Duration)
	// close ends it all.
	close()
}

// sendPos is how far a vector has been sent: vec[:idx] whole, off bytes of
// vec[idx].
type sendPos struct{ idx, off int }

// advance moves p forward by n bytes.
func (p *sendPos) advance(vec [][]byte, n int) {
	for p.idx < len(vec) {
		left := len(vec[p.idx]) - p.off
		if n < left {
			p.off += n
			return
		}
		n -= left
		p.idx++
		p.off = 0
	}
}

// newTransport picks the way for a connection: system calls of our own on a
// socket, else the connection's own methods.
func newTransport(c net.Conn) transport {
	if sc, ok := c.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			if s, err := newSocket(c, rc); err == nil {
				return s
			}
		}
	}
	return &plain{c: c}
}

// A connection that has just answered usually has its next request a few
// microseconds later. Parking its goroutine in the runtime's poller and being
// woken by another thread costs more than that, so up to hotMax connections at
// a time wait inside recv(2) itself, for at most hotWait; then they park.
const hotWait = 5 * time.Millisecond

var (
	hot    atomic.Int32
	hotMax = int32(2 * runtime.GOMAXPROCS(0))
)

// socket is a transport on a socket's descriptor.
type socket struct {
	conn net.Conn
	rc   syscall.RawConn

	// The closures are made once: closures that are passed to RawConn
	// escape. Their arguments and results are in rx and tx.
	readFn  func(fd uintptr) bool
	writeFn func(fd uintptr) bool
	rx      struct {
		a    []byte
		b    func() []byte
		idle func()
		// quiet: may wait in recv(2).
		quiet bool
		n     int
		errn  syscall.Errno
		iov   [2]unix.Iovec
		msg   unix.Msghdr
	}
	tx struct {
		vec  [][]byte
		pos  *sendPos
		wait bool
		errn syscall.Errno
		iov  []unix.Iovec
		msg  unix.Msghdr
	}
}

func newSocket(c net.Conn, rc syscall.RawConn) (*socket, error) {
	s := &socket{conn: c, rc: rc}
	var err error
	cerr := rc.Control(func(fd uintptr) {
		tv := unix.NsecToTimeval(hotWait.Nanoseconds())
		if err = unix.SetsockoptTimeval(int(fd), unix.SOL_SOCKET, unix.SO_RCVTIMEO, &tv); err != nil {
			return
		}
		// Blocking mode, so that recv may wait in the kernel. Whoever must
		// not wait says MSG_DONTWAIT; the runtime's poller does not mind.
		err = unix.SetNonblock(int(fd), false)
	})
	if cerr != nil || err != nil {
		return nil, errors.Join(cerr, err)
	}
	s.readFn, s.writeFn = s.readReady, s.writeReady
	return s, nil
}

func (s *socket) recv(a []byte, b func() []byte, idle func(), quiet bool) (int, error) {
	s.rx.a, s.rx.b, s.rx.idle, s.rx.quiet = a, b, idle, quiet
	err := s.rc.Read(s.readFn)
	s.rx.a, s.rx.b = nil, nil
	switch {
	case err != nil:
		return 0, err
	case s.rx.errn != 0:
		return 0, s.rx.errn
	case s.rx.n == 0:
		return 0, io.EOF
	}
	return s.rx.n, nil
}

// readReady is called by RawConn.Read, again each time the poller says that
// there is something; false parks.
func (s *socket) readReady(fd uintptr) bool {
	rx := &s.rx
	n := 0
	if len(rx.a) > 0 {
		rx.iov[0].Base = &rx.a[0]
		rx.iov[0].SetLen(len(rx.a))
		n = 1
	}
	if rx.b != nil {
		b := rx.b()
		rx.iov[n].Base = &b[0]
		rx.iov[n].SetLen(len(b))
		n++
	}
	rx.msg.Iov = &rx.iov[0]
	rx.msg.SetIovlen(n)
	flags := unix.MSG_DONTWAIT
	if rx.quiet && hot.Add(1) <= hotMax {
		flags = 0
	}
	for {
		r, _, e := syscall.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&rx.msg)), uintptr(flags))
		if e == unix.EINTR {
			continue
		}
		rx.n, rx.errn = int(r), e
		break
	}
	if rx.quiet {
		hot.Add(-1)
	}
	if rx.errn != unix.EAGAIN {
		if rx.errn != 0 {
			rx.n = 0
		}
		return true
	}
	rx.idle()
	return false
}

// maxIov is how many pieces one sendmsg takes (IOV_MAX).
const maxIov = 1024

func (s *socket) send(vec [][]byte, pos *sendPos, wait bool) error {
	s.tx.vec, s.tx.pos, s.tx.wait = vec, pos, wait
	err := s.rc.Write(s.writeFn)
	s.tx.vec, s.tx.pos = nil, nil
	switch {
	case err != nil:
		return err
	case s.tx.errn == unix.EAGAIN:
		return errWouldBlock
	case s.tx.errn != 0:
		return s.tx.errn
	}
	return nil
}

// writeReady is called by RawConn.Write, again each time the poller says that
// there is room; false parks.
func (s *socket) writeReady(fd uintptr) bool {
	tx := &s.tx
	for tx.pos.idx < len(tx.vec) {
		iov := tx.iov[:0]
		off := tx.pos.off
		for _, p := range tx.vec[tx.pos.idx:] {
			if len(iov) == maxIov {
				break
			}
			if p = p[off:]; len(p) > 0 {
				v := unix.Iovec{Base: &p[0]}
				v.SetLen(len(p))
				iov = append(iov, v)
			}
			off = 0
		}
		tx.iov = iov
		if len(iov) == 0 {
			tx.pos.advance(tx.vec, 0)
			break
		}
		tx.msg.Iov = &iov[0]
		tx.msg.SetIovlen(len(iov))
		r, _, e := syscall.Syscall(unix.SYS_SENDMSG, fd, uintptr(unsafe.Pointer(&tx.msg)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
		switch e {
		case 0:
			tx.pos.advance(tx.vec, int(r))
		case unix.EINTR:
		case unix.EAGAIN:
			tx.errn = e
			return !tx.wait
		default:
			tx.errn = e
			return true
		}
	}
	tx.errn = 0
	return true
}

// stopReading does not shut the socket down: a client's next request would
// fail in its own hands, with EPIPE, instead of being answered with ESHUTDOWN.
func (s *socket) stopReading(after time.Duration) {
	_ = s.conn.SetReadDeadline(time.Now().Add(after))
}

func (s *socket) stopSending(after time.Duration) {
	_ = s.conn.SetWriteDeadline(time.Now().Add(after))
}

func (s *socket) close() {
	// Whoever is inside recv(2) or waits for room to send has to come back
	// before the descriptor can go.
	_ = s.rc.Control(func(fd uintptr) { _ = unix.Shutdown(int(fd), unix.SHUT_RDWR) })
	_ = s.conn.Close()
}

// plain is a transport on any connection. Its send always waits.
type plain struct{ c net.Conn }

func (p *plain) recv(a []byte, b func() []byte, _ func(), _ bool) (int, error) {
	if len(a) == 0 {
		a = b()
	}
	n, err := p.c.Read(a)
	if n > 0 {
		return n, nil
	}
	return 0, err
}

func (p *plain) send(vec [][]byte, pos *sendPos, _ bool) error {
	for pos.idx < len(vec) {
		n, err := p.c.Write(vec[pos.idx][pos.off:])
		pos.advance(vec, n)
		if err != nil {
			return err
		}
	}
	return nil
}

func (p *plain) stopReading(after time.Duration) {
	_ = p.c.SetReadDeadline(time.Now().Add(after))
}

func (p *plain) stopSending(after time.Duration) {
	_ = p.c.SetWriteDeadline(time.Now().Add(after))
}

func (p *plain) close() { _ = p.c.Close() }
