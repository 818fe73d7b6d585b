package nbd

import (
	"io"
	"net"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// socket is a transport on a socket's descriptor. Its system calls scatter and
// gather, so that a payload goes into its SCSI buffer and the next headers into
// the inbox at once, and many replies leave together. None of them waits: the
// runtime's poller does.
//
// Waiting inside recvmsg(2) instead looks cheaper for a client with one request
// at a time, and is not: it keeps a P from the other connections, and nobody
// may be left to look at the poller for them (the runtime's monitor helps out
// after 10 ms). Neither does it help to try a few times before parking.
type socket struct {
	conn net.Conn
	rc   syscall.RawConn

	// The functions are made once, because what is given to RawConn escapes.
	// Their arguments and results are in rx and tx.
	readFn, writeFn func(fd uintptr) bool

	rx struct {
		a    []byte
		in   *inbox
		n    int
		errn syscall.Errno
		iov  [2]unix.Iovec
		msg  unix.Msghdr
	}
	tx struct {
		v    *vector
		wait bool
		errn syscall.Errno
		iov  []unix.Iovec
		msg  unix.Msghdr
		file fileSender
	}
}

// unixSendBuffer is the send buffer of a unix socket, in bytes; the system may
// allow less. The default (208 KiB) has no room for a queue depth of 64 reads
// of 4 KiB, and makes longer reads wait for the client several times each. TCP
// finds its own size, unless one is set.
const unixSendBuffer = 512 << 10

func newSocket(c net.Conn, rc syscall.RawConn) *socket {
	s := &socket{conn: c, rc: rc}
	s.readFn, s.writeFn = s.readReady, s.writeReady
	if u, ok := c.(*net.UnixConn); ok {
		_ = u.SetWriteBuffer(unixSendBuffer) // it works with less
	}
	return s
}

func (s *socket) recv(a []byte, in *inbox) (int, error) {
	rx := &s.rx
	rx.a, rx.in = a, in
	err := s.rc.Read(s.readFn)
	rx.a, rx.in = nil, nil
	switch {
	case err != nil: // a deadline, or closed; nothing was received
		return 0, err
	case rx.errn != 0:
		return 0, rx.errn
	case rx.n == 0:
		return 0, io.EOF
	}
	n := min(rx.n, len(a))
	in.filled(rx.n - n)
	return n, nil
}

// readReady is called by RawConn.Read, and again each time the poller says that
// there is something; false parks.
func (s *socket) readReady(fd uintptr) bool {
	rx := &s.rx
	iov := rx.iov[:0]
	if len(rx.a) > 0 {
		iov = appendIovec(iov, rx.a)
	}
	iov = appendIovec(iov, rx.in.room())
	rx.msg.Iov = &rx.iov[0]
	rx.msg.SetIovlen(len(iov))
	n, e := retried(unix.SYS_RECVMSG, fd, &rx.msg, unix.MSG_DONTWAIT)
	clear(iov) // or it keeps the buffer that is given back
	if e == unix.EAGAIN {
		rx.in.giveBack()
		return false
	}
	rx.n, rx.errn = n, e
	return true
}

// maxIov is how many pieces one sendmsg takes (IOV_MAX).
const maxIov = 1024

func (s *socket) send(v *vector, wait bool) error {
	tx := &s.tx
	tx.v, tx.wait = v, wait
	err := s.rc.Write(s.writeFn)
	tx.v = nil
	switch {
	case err != nil:
		return err
	case tx.errn == unix.EAGAIN:
		return errWouldBlock
	case tx.errn != 0:
		return tx.errn
	}
	return nil
}

// writeReady is called by RawConn.Write, and again each time the poller says
// that there is room; false parks.
func (s *socket) writeReady(fd uintptr) bool {
	tx := &s.tx
	for tx.errn = 0; !tx.v.sent(); {
		var n int
		var e syscall.Errno
		file := tx.v.nextFile()
		if file != nil && file.idx == tx.v.idx {
			n, e = s.sendPart(fd, file)
		} else {
			n, e = s.sendParts(fd, file)
		}
		if e != 0 {
			tx.errn = e
			return e != unix.EAGAIN || !tx.wait
		}
		tx.v.advance(n)
	}
	return true
}

// sendParts sends what is in memory, up to the next part that is in a file.
func (s *socket) sendParts(fd uintptr, file *filePart) (int, syscall.Errno) {
	tx := &s.tx
	end, flags := len(tx.v.parts), uintptr(unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	if file != nil {
		end, flags = file.idx, flags|unix.MSG_MORE // a packet of its own would be wasted on a header
	}
	tx.iov = tx.iov[:0]
	off := tx.v.off
	for _, p := range tx.v.parts[tx.v.idx:min(end, tx.v.idx+maxIov)] {
		tx.iov = appendIovec(tx.iov, p[off:])
		off = 0
	}
	tx.msg.Iov = &tx.iov[0]
	tx.msg.SetIovlen(len(tx.iov))
	n, e := retried(unix.SYS_SENDMSG, fd, &tx.msg, flags)
	clear(tx.iov)
	return n, e
}

// sendPart sends from the part that is in a file, and is next.
func (s *socket) sendPart(fd uintptr, file *filePart) (int, syscall.Errno) {
	v := s.tx.v
	n, copied, e := s.tx.file.send(fd, v.parts[v.idx][v.off:], file.from, v.off)
	if copied {
		file.idx = -1 // it is in memory now
	}
	return n, e
}

func (s *socket) sendsFiles() bool { return true }

// appendIovec appends p, which is not empty.
func appendIovec(iov []unix.Iovec, p []byte) []unix.Iovec {
	v := unix.Iovec{Base: &p[0]}
	v.SetLen(len(p))
	return append(iov, v)
}

// retried makes a sendmsg or recvmsg call, again if a signal interrupts it.
//
// The scheduler isn't told (RawSyscall): the call does not wait, and copies no
// more than the socket's buffer holds. Telling it costs more than its own time:
// the runtime's monitor is woken each time, when the client has made the process
// idle, and looks for calls that take long every 20 us for the next millisecond.
func retried(trap, fd uintptr, msg *unix.Msghdr, flags uintptr) (int, syscall.Errno) {
	for {
		n, _, e := syscall.RawSyscall6(trap, fd, uintptr(unsafe.Pointer(msg)), flags, 0, 0, 0)
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// stopReading does not shut the socket down: a client's next request would
// fail in its own hands, with EPIPE, instead of being answered with ESHUTDOWN.
func (s *socket) stopReading(then time.Time) { _ = s.conn.SetReadDeadline(then) }
func (s *socket) stopSending(then time.Time) { _ = s.conn.SetWriteDeadline(then) }
