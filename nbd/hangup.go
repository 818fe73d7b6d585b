package nbd

import (
	"errors"
	"net"
	"os"
	"time"
)

// A connection that is closed while bytes of the client's are unread is reset,
// and the client gets ECONNRESET for a device or a server that left in order.
// Bytes can be unread that came while the connection's goroutine was busy, and
// others come after it has stopped reading. The former are what glance is for,
// the latter what hangUp is.

// glanceTime is how long glance looks.
const glanceTime = time.Millisecond

// glance takes, once the Linger of a connection that is leaving is over, what
// the client had sent by then and nobody has read: the deadline that ends the
// Linger also keeps the transport from bytes that are there. It does so for
// another Linger, and not for as long as a client goes on sending.
func (c *conn) glance() bool {
	now := time.Now()
	if c.glanceEnd.IsZero() {
		c.glanceEnd = now.Add(c.srv.opt.Linger)
	}
	if now.After(c.glanceEnd) {
		return false
	}
	c.tr.stopReading(now.Add(glanceTime))
	_, err := c.receive(nil, c.owes)
	return err == nil
}

// endOfLinger says whether err is the end of the time in which a connection
// that is leaving reads.
func (c *conn) endOfLinger(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) && c.leaving()
}

// stopTalking tells a client that nothing comes any more, without hanging up.
// false: that can't be said on this connection.
func stopTalking(nc net.Conn) bool {
	w, ok := nc.(interface{ CloseWrite() error })
	return ok && w.CloseWrite() == nil
}

// hangUp closes a connection after stopTalking, when the client has closed it,
// or after wait. What the client sends meanwhile is forgotten: it has been told.
func hangUp(nc net.Conn, wait time.Duration) {
	_ = nc.SetReadDeadline(time.Now().Add(wait))
	var b [512]byte
	for {
		if _, err := nc.Read(b[:]); err != nil {
			_ = nc.Close()
			return
		}
	}
}
