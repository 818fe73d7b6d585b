package powercut

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"scstuser/nbd/nbdtest"
)

// dialTimeout and replyTimeout are far longer than anything takes on a busy
// machine under emulation.
const (
	dialTimeout  = 30 * time.Second
	replyTimeout = time.Minute
)

// Dialer connects to a server.
type Dialer func(context.Context) (net.Conn, error)

// Dial returns the Dialer of an address as package net has them.
func Dial(network, address string) Dialer {
	return func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}
}

// client is a connection in transmission, with simple replies. It belongs to one
// goroutine.
type client struct {
	conn  net.Conn
	r     *bufio.Reader
	out   []byte // the request that is being made
	size  uint64 // of the export, in bytes
	flags uint16 // of the export
}

// connect makes a connection and negotiates.
func connect(ctx context.Context, dial Dialer, export string) (*client, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("connect to the server: %w", err)
	}
	c := newClient(conn)
	if err := c.negotiate(export); err != nil {
		conn.Close()
		return nil, fmt.Errorf("negotiate with the server: %w", err)
	}
	return c, nil
}

func newClient(conn net.Conn) *client {
	return &client{conn: conn, r: bufio.NewReaderSize(conn, 64<<10)}
}

// negotiate asks for the export with GO and nothing else.
func (c *client) negotiate(export string) error {
	if err := c.conn.SetDeadline(time.Now().Add(dialTimeout)); err != nil {
		return err
	}
	var greeting [18]byte
	if _, err := io.ReadFull(c.r, greeting[:]); err != nil {
		return err
	}
	if binary.BigEndian.Uint64(greeting[8:]) != nbdtest.MagicOption {
		return errors.New("it does not speak the newstyle protocol")
	}
	c.out = binary.BigEndian.AppendUint32(c.out[:0], nbdtest.FixedNewstyle|nbdtest.NoZeroes)
	c.out = append(c.out, nbdtest.OptionBytes(nbdtest.OptGo, nbdtest.InfoData(export))...)
	if _, err := c.conn.Write(c.out); err != nil {
		return err
	}
	for {
		var h [20]byte
		if _, err := io.ReadFull(c.r, h[:]); err != nil {
			return err
		}
		data := make([]byte, min(binary.BigEndian.Uint32(h[16:]), 4096))
		if _, err := io.ReadFull(c.r, data); err != nil {
			return err
		}
		switch typ := binary.BigEndian.Uint32(h[12:]); {
		case typ == nbdtest.RepAck && c.flags == 0:
			return errors.New("it did not describe the export")
		case typ == nbdtest.RepAck:
			return nil
		case typ != nbdtest.RepInfo:
			return fmt.Errorf("it refuses export %q (reply %#x: %s)", export, typ, data)
		case len(data) >= 12 && binary.BigEndian.Uint16(data) == nbdtest.InfoExport:
			c.size, c.flags = binary.BigEndian.Uint64(data[2:]), binary.BigEndian.Uint16(data[10:])
		}
	}
}

// begin makes the header of a request and returns room for its payload behind
// it, which send sends as well.
func (c *client) begin(typ, flags uint16, cookie, offset uint64, length, payload int) []byte {
	const header = nbdtest.RequestSize
	if cap(c.out) < header+payload {
		c.out = make([]byte, header+payload)
	}
	c.out = c.out[:header+payload]
	binary.BigEndian.PutUint32(c.out, nbdtest.MagicRequest)
	binary.BigEndian.PutUint16(c.out[4:], flags)
	binary.BigEndian.PutUint16(c.out[6:], typ)
	binary.BigEndian.PutUint64(c.out[8:], cookie)
	binary.BigEndian.PutUint64(c.out[16:], offset)
	binary.BigEndian.PutUint32(c.out[24:], uint32(length))
	return c.out[header:]
}

// send sends what begin has made.
func (c *client) send() error {
	if err := c.conn.SetDeadline(time.Now().Add(replyTimeout)); err != nil {
		return err
	}
	_, err := c.conn.Write(c.out)
	return err
}

// reply receives the header of the next reply. errDesync means that the server
// is wrong and not gone.
func (c *client) reply() (cookie uint64, errno nbdtest.Errno, err error) {
	var h [nbdtest.SimpleReplySize]byte
	if _, err := io.ReadFull(c.r, h[:]); err != nil {
		return 0, 0, err
	}
	if magic := binary.BigEndian.Uint32(h[:]); magic != nbdtest.MagicSimpleReply {
		return 0, 0, fmt.Errorf("%w: a reply with magic %#x", errDesync, magic)
	}
	return binary.BigEndian.Uint64(h[8:]), nbdtest.Errno(binary.BigEndian.Uint32(h[4:])), nil
}

// errDesync says that the server does not keep to the protocol.
var errDesync = errors.New("broken protocol")

// close says goodbye, if anybody is there to hear it.
func (c *client) close() {
	c.begin(nbdtest.CmdDisc, 0, 0, 0, 0, 0)
	_ = c.send()
	c.conn.Close()
}
