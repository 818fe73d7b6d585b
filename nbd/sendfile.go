package nbd

import (
	"syscall"

	"golang.org/x/sys/unix"

	"scstuser/target"
)

// fileSender sends a part that is in a file: from the page cache to the socket,
// where the kernel passes its pages on instead of copying them. It belongs to
// the socket's sender. The function is made once, as what is given to RawConn
// escapes; its arguments and results are beside it.
type fileSender struct {
	fn   func(fd uintptr)
	sock int
	part []byte // what is left of the part, as room for its bytes
	off  int64  // of part in the file
	n    int
	errn syscall.Errno
}

// send sends as much of the file as the socket takes now. part is what is left
// of the part, done how much of it has been sent before.
//
// If the kernel can't send from this file the bytes are read into part: copied
// says that they are there. Whatever goes wrong in the file then ends the
// connection: the reply has begun, and said that all was well.
func (s *fileSender) send(sock uintptr, part []byte, from target.FileRange, done int) (n int, copied bool, errn syscall.Errno) {
	if s.fn == nil {
		s.fn = s.try
	}
	s.sock, s.part, s.off = int(sock), part, from.Off+int64(done)
	s.n, s.errn = 0, 0
	err := from.Source.Control(s.fn)
	s.part = nil
	switch {
	case err != nil: // the file is closed
		return 0, false, unix.EIO
	case s.errn == 0 && s.n == 0:
		return 0, true, 0
	}
	return s.n, false, s.errn
}

// try is called with the file's descriptor. The scheduler is told of the calls:
// a page that has left the cache is waited for.
func (s *fileSender) try(fd uintptr) {
	for {
		off := s.off
		n, err := unix.Sendfile(s.sock, int(fd), &off, len(s.part))
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN, err != nil && gone(err): // not the file's doing
			s.errn = err.(syscall.Errno)
		case err != nil || n == 0:
			s.errn = readAll(int(fd), s.part, s.off)
		default:
			s.n = n
		}
		return
	}
}

// readAll fills p from off; EIO if the file has become shorter.
func readAll(fd int, p []byte, off int64) syscall.Errno {
	for len(p) > 0 {
		n, err := unix.Pread(fd, p, off)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return err.(syscall.Errno)
		case n == 0:
			return unix.EIO
		default:
			p, off = p[n:], off+int64(n)
		}
	}
	return 0
}
