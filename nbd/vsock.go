package nbd

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// vsockAddr is an address of AF_VSOCK: a virtual machine or its host, by
// context ID, and a port.
type vsockAddr struct{ cid, port uint32 }

var _ net.Addr = vsockAddr{}

// Network implements net.Addr.
func (vsockAddr) Network() string { return "vsock" }

// String implements net.Addr: port, or cid:port, as ParseListen reads it.
func (a vsockAddr) String() string {
	port := strconv.FormatUint(uint64(a.port), 10)
	if a.cid == unix.VMADDR_CID_ANY {
		return port
	}
	return strconv.FormatUint(uint64(a.cid), 10) + ":" + port
}

// readVsock reads what String writes.
func readVsock(address string) (vsockAddr, error) {
	a := vsockAddr{cid: unix.VMADDR_CID_ANY}
	cid, port, ok := strings.Cut(address, ":")
	if !ok {
		cid, port = "", address
	}
	if ok {
		n, err := strconv.ParseUint(cid, 10, 32)
		if err != nil {
			return a, fmt.Errorf("%q is not a context ID", cid)
		}
		a.cid = uint32(n)
	}
	n, err := strconv.ParseUint(port, 10, 32)
	if err != nil || n == unix.VMADDR_PORT_ANY {
		return a, fmt.Errorf("%q is not a port from 0 to %d", port, uint32(unix.VMADDR_PORT_ANY-1))
	}
	a.port = uint32(n)
	return a, nil
}

func parseVsock(s, address string) (ListenAddr, error) {
	a, err := readVsock(address)
	if err != nil {
		return ListenAddr{}, fmt.Errorf("listen address %q: %w; write vsock:port, or vsock:cid:port", s, err)
	}
	return ListenAddr{Network: "vsock", Address: a.String()}, nil
}

// vsockURI is ListenAddr.URI of a vsock. A client on this machine reaches what
// listens on all addresses by the loopback's.
func vsockURI(address, name string) string {
	a, err := readVsock(address)
	if err == nil && a.cid == unix.VMADDR_CID_ANY {
		a.cid = unix.VMADDR_CID_LOCAL
	}
	return "nbd+vsock://" + a.String() + "/" + escapeURI(name)
}

// listenVsock listens for virtual machines.
func listenVsock(address string) (net.Listener, error) {
	a, err := readVsock(address)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_VSOCK, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return nil, errors.New("the kernel has no vsock: load its module (modprobe vsock; in a virtual machine vmw_vsock_virtio_transport)")
	}
	if err != nil {
		return nil, fmt.Errorf("can't make a vsock: %w", err)
	}
	f := os.NewFile(uintptr(fd), "vsock:"+address)
	switch err = unix.Bind(fd, &unix.SockaddrVM{CID: a.cid, Port: vsockPort(a.port)}); {
	case err == nil:
		err = unix.Listen(fd, unix.SOMAXCONN)
	case errors.Is(err, unix.EADDRINUSE):
		err = fmt.Errorf("vsock port %d is in use by another program: stop it, or choose another one", a.port)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		err = fmt.Errorf("%d is not a context ID of this machine: leave it out", a.cid)
	case errors.Is(err, unix.EACCES):
		err = fmt.Errorf("no permission to listen on vsock port %d: choose one above 1023", a.port)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("can't listen on vsock:%s: %w", address, err)
	}
	return newFDListener(f)
}

// vsockPort is what bind(2) takes: as for TCP, 0 lets the system choose.
func vsockPort(port uint32) uint32 {
	if port == 0 {
		return unix.VMADDR_PORT_ANY
	}
	return port
}
