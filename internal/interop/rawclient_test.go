package interop

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"scstuser/internal/proc"
)

// The pieces of the protocol (proto.md) that a test needs where it has to
// decide when bytes are sent and read, which no real client lets it do.
const (
	handshakeSize = 18
	optMagic      = 0x49484156454f5054 // "IHAVEOPT"
	optExportName = 1
	fixedNoZeroes = 3 // the client flags FIXED_NEWSTYLE and NO_ZEROES

	requestMagic = 0x25609513
	replyMagic   = 0x67446698
	requestSize  = 28
	replySize    = 16

	cmdRead  = 0
	cmdWrite = 1
	cmdFlush = 3

	flagFUA = 1

	// Errors as the protocol numbers them.
	nbdEIO       = 5
	nbdESHUTDOWN = 108
)

// rawTimeout bounds everything that a rawClient does.
const rawTimeout = 30 * time.Second

// rawClient is an NBD client that sends what it is told to, in the
// transmission phase of the default export.
type rawClient struct{ net.Conn }

// dialRaw connects to the server's first endpoint and enters transmission.
func dialRaw(t *testing.T, s *proc.Server) rawClient {
	t.Helper()
	c, err := negotiate(s.Endpoint(0))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// negotiate makes the connection of a rawClient. It may be called from any
// goroutine.
func negotiate(e proc.Endpoint) (rawClient, error) {
	conn, err := e.Dial(context.Background())
	if err != nil {
		return rawClient{}, err
	}
	c := rawClient{conn}
	if err := c.handshake(); err != nil {
		conn.Close()
		return rawClient{}, fmt.Errorf("handshake: %w", err)
	}
	return c, nil
}

func (c rawClient) handshake() error {
	if err := c.SetDeadline(time.Now().Add(rawTimeout)); err != nil {
		return err
	}
	var hello [handshakeSize]byte
	if _, err := io.ReadFull(c, hello[:]); err != nil {
		return err
	}
	out := binary.BigEndian.AppendUint32(nil, fixedNoZeroes)
	out = binary.BigEndian.AppendUint64(out, optMagic)
	out = binary.BigEndian.AppendUint32(out, optExportName)
	out = binary.BigEndian.AppendUint32(out, 0) // the empty name
	if _, err := c.Write(out); err != nil {
		return err
	}
	var export [10]byte // size and flags
	_, err := io.ReadFull(c, export[:])
	return err
}

// request is one request's header.
func request(command, flags uint16, cookie, offset uint64, length uint32) []byte {
	p := make([]byte, 0, requestSize)
	p = binary.BigEndian.AppendUint32(p, requestMagic)
	p = binary.BigEndian.AppendUint16(p, flags)
	p = binary.BigEndian.AppendUint16(p, command)
	p = binary.BigEndian.AppendUint64(p, cookie)
	p = binary.BigEndian.AppendUint64(p, offset)
	return binary.BigEndian.AppendUint32(p, length)
}

// send writes bytes to the server.
func (c rawClient) send(t *testing.T, p []byte) {
	t.Helper()
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
}

// reply reads one reply without a payload, and returns its cookie and error.
func (c rawClient) reply() (cookie uint64, errno uint32, err error) {
	var p [replySize]byte
	if _, err := io.ReadFull(c, p[:]); err != nil {
		return 0, 0, err
	}
	if binary.BigEndian.Uint32(p[0:]) != replyMagic {
		return 0, 0, errors.New("this is not a simple reply")
	}
	return binary.BigEndian.Uint64(p[8:]), binary.BigEndian.Uint32(p[4:]), nil
}

// do sends one request, with payload if it is a write, and returns its error.
func (c rawClient) do(t *testing.T, command, flags uint16, offset uint64, payload []byte) uint32 {
	t.Helper()
	c.send(t, append(request(command, flags, 1, offset, uint32(len(payload))), payload...))
	_, errno, err := c.reply()
	if err != nil {
		t.Fatal(err)
	}
	return errno
}
