package nbd

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Inherit makes a listener of a socket that somebody else has opened: systemd
// or inetd. It takes f over.
//
// A listening socket is served like one of our own, but a unix socket's file is
// not ours, and stays. A connected one (inetd's "nowait", systemd's Accept=yes)
// becomes a listener with that one client; [Server.Serve] returns when the
// client has left.
func Inherit(f *os.File) (net.Listener, error) {
	defer f.Close()
	// Not f.Fd(), which would make the socket block.
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	var listening, family, kind int
	var fd int
	cerr := rc.Control(func(s uintptr) {
		if kind, err = unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
			return
		}
		if listening, err = unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err != nil {
			return
		}
		if family, err = unix.GetsockoptInt(int(s), unix.SOL_SOCKET, unix.SO_DOMAIN); err != nil {
			return
		}
		if fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 3); err == nil {
			err = unix.SetNonblock(fd, true)
		}
	})
	switch err := errors.Join(cerr, err); {
	case errors.Is(err, unix.ENOTSOCK):
		return nil, fmt.Errorf("%s is no socket: it has to be started by systemd, inetd or the like", f.Name())
	case err != nil:
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	own := os.NewFile(uintptr(fd), f.Name())
	if kind != unix.SOCK_STREAM {
		own.Close()
		return nil, fmt.Errorf("%s is a socket of another type: NBD needs a stream", f.Name())
	}
	if listening != 0 {
		return inheritListener(own, family)
	}
	c, err := inheritConn(own, family)
	if err != nil {
		return nil, err
	}
	return newSingle(c), nil
}

// inheritStdin is Inherit of the standard input.
func inheritStdin() (net.Listener, error) {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, fmt.Errorf("the standard input is closed: %w", err)
	}
	return Inherit(os.NewFile(uintptr(fd), "the standard input"))
}

// netKnows says whether package net has types for the family.
func netKnows(family int) bool {
	return family == unix.AF_INET || family == unix.AF_INET6 || family == unix.AF_UNIX
}

func inheritListener(f *os.File, family int) (net.Listener, error) {
	if !netKnows(family) {
		return newFDListener(f)
	}
	defer f.Close() // package net makes a copy
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return l, nil
}

func inheritConn(f *os.File, family int) (net.Conn, error) {
	if netKnows(family) {
		defer f.Close()
		c, err := net.FileConn(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name(), err)
		}
		return c, nil
	}
	c := &fdConn{File: f, local: fdAddr(""), remote: fdAddr("")}
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	_ = rc.Control(func(s uintptr) {
		if sa, err := unix.Getpeername(int(s)); err == nil {
			c.remote = addrOf(sa)
		}
	})
	return c, nil
}

// single is a listener with one client, which is there already.
type single struct {
	addr net.Addr
	conn chan net.Conn
	over chan struct{} // closed when the client has left, or the listener is closed
	once sync.Once
}

var _ net.Listener = (*single)(nil)

func newSingle(c net.Conn) *single {
	l := &single{addr: stdinAddr{}, conn: make(chan net.Conn, 1), over: make(chan struct{})}
	l.conn <- &singleConn{Conn: c, left: l.end}
	return l
}

func (l *single) end() { l.once.Do(func() { close(l.over) }) }

// Accept implements net.Listener. Behind the one client it waits until that has
// left, and returns io.EOF.
func (l *single) Accept() (net.Conn, error) {
	select {
	case c := <-l.conn:
		return c, nil
	default:
	}
	<-l.over
	return nil, io.EOF
}

// Close implements net.Listener.
func (l *single) Close() error {
	l.end()
	select {
	case c := <-l.conn: // never served
		return c.Close()
	default:
		return nil
	}
}

// Addr implements net.Listener.
func (l *single) Addr() net.Addr { return l.addr }

// singleConn tells when it is closed.
type singleConn struct {
	net.Conn
	left func()
}

var _ syscall.Conn = (*singleConn)(nil)

// Close implements net.Conn.
func (c *singleConn) Close() error {
	defer c.left()
	return c.Conn.Close()
}

// SyscallConn implements syscall.Conn: what is inherited is a socket.
func (c *singleConn) SyscallConn() (syscall.RawConn, error) {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return nil, errors.ErrUnsupported
	}
	return sc.SyscallConn()
}

// NetConn returns the connection itself.
func (c *singleConn) NetConn() net.Conn { return c.Conn }

// stdinAddr is where a single listens.
type stdinAddr struct{}

// Network implements net.Addr.
func (stdinAddr) Network() string { return "stdin" }

// String implements net.Addr.
func (stdinAddr) String() string { return "" }
