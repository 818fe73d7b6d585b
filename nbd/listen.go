package nbd

import (
	"errors"
	"fmt"
	"net"
	"syscall"
)

// Listen begins to listen on a. The error is one line that says what is in the
// way and what to do. A unix socket's file is gone once the listener is
// closed; see [ListenUnix] for what happens to one that is there before. What
// stdin gives is told at [Inherit].
//
// TCP connections that the listener accepts have Nagle's algorithm off, as
// proto.md asks for.
func Listen(a ListenAddr) (net.Listener, error) {
	switch a.Network {
	case "unix":
		return ListenUnix(a.Address, SocketAccess{})
	case "vsock":
		return listenVsock(a.Address)
	case "stdin":
		return inheritStdin()
	}
	l, err := net.Listen(a.Network, a.Address)
	switch {
	case err == nil:
		return l, nil
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("%s is in use by another program: stop it, or choose another port with --listen tcp:host:port", a.Address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("%s is not an address of this machine: choose one that is with --listen tcp:host:port", a.Address)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("no permission to listen on %s: choose a port above 1023 with --listen tcp:host:port", a.Address)
	}
	return nil, fmt.Errorf("can't listen on %s: %w", a.Address, err)
}
