package status

import (
	"fmt"
	"net"

	"scstuser/internal/unixsocket"
)

// Listen makes a control socket at path, which only this user can connect to.
// What a killed process left at path is replaced; a socket that is answered, and
// a file that is no socket, are errors. Closing the listener removes the socket.
func Listen(path string) (net.Listener, error) {
	l, err := unixsocket.Listen(path, unixsocket.Access{Mode: 0o600})
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return l, nil
}
