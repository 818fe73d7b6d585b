package nbd

import (
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// fdConn is a connected stream socket of a family that package net does not
// know. An os.File has all that it needs, the runtime's poller included.
type fdConn struct {
	*os.File
	local, remote net.Addr
}

var (
	_ net.Conn     = (*fdConn)(nil)
	_ syscall.Conn = (*fdConn)(nil)
)

// LocalAddr implements net.Conn.
func (c *fdConn) LocalAddr() net.Addr { return c.local }

// RemoteAddr implements net.Conn.
func (c *fdConn) RemoteAddr() net.Addr { return c.remote }

// fdListener listens on such a socket.
type fdListener struct {
	f    *os.File
	rc   syscall.RawConn
	addr net.Addr
}

var _ net.Listener = (*fdListener)(nil)

// newFDListener takes over f, a listening socket that does not block.
func newFDListener(f *os.File) (*fdListener, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		f.Close()
		return nil, err
	}
	l := &fdListener{f: f, rc: rc, addr: fdAddr("")}
	_ = rc.Control(func(fd uintptr) {
		if sa, err := unix.Getsockname(int(fd)); err == nil {
			l.addr = addrOf(sa)
		}
	})
	return l, nil
}

// Accept implements net.Listener.
func (l *fdListener) Accept() (net.Conn, error) {
	var fd int
	var sa unix.Sockaddr
	var accepted error
	err := l.rc.Read(func(listening uintptr) bool {
		fd, sa, accepted = unix.Accept4(int(listening), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		return accepted != unix.EAGAIN && accepted != unix.EINTR
	})
	if err != nil {
		return nil, err
	}
	if accepted != nil {
		return nil, os.NewSyscallError("accept4", accepted)
	}
	return newFDConn(fd, l.addr, addrOf(sa)), nil
}

// newFDConn takes over fd, which does not block.
func newFDConn(fd int, local, remote net.Addr) *fdConn {
	return &fdConn{File: os.NewFile(uintptr(fd), remote.String()), local: local, remote: remote}
}

// Close implements net.Listener.
func (l *fdListener) Close() error { return l.f.Close() }

// Addr implements net.Listener.
func (l *fdListener) Addr() net.Addr { return l.addr }

// fdAddr is an address of a family that nobody knows here.
type fdAddr string

// Network implements net.Addr.
func (fdAddr) Network() string { return "socket" }

// String implements net.Addr.
func (a fdAddr) String() string { return string(a) }

func addrOf(sa unix.Sockaddr) net.Addr {
	switch sa := sa.(type) {
	case *unix.SockaddrVM:
		return vsockAddr{sa.CID, sa.Port}
	case *unix.SockaddrUnix:
		return &net.UnixAddr{Net: "unix", Name: sa.Name}
	}
	return fdAddr(fmt.Sprintf("%T", sa))
}
