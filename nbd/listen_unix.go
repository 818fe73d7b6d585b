package nbd

import (
	"net"

	"scstuser/internal/unixsocket"
)

// SocketAccess says who may connect to a unix socket. The zero value leaves that
// to the umask and to the directory.
type SocketAccess = unixsocket.Access

// ListenUnix is [Listen] on a unix socket with its access set before anybody can
// connect. A socket that a killed server left at path is replaced; one that a
// server still answers on, and a file that is no socket, are errors and stay as
// they are. Closing the listener removes the file.
func ListenUnix(path string, access SocketAccess) (net.Listener, error) {
	return unixsocket.Listen(path, access)
}
