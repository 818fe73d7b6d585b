package nbd

import (
	"errors"
	"io"
	"os"
	"time"
)

// receive waits for bytes: into p, and what comes beyond it into the inbox. It
// sends what is queued first, and corks the queue when something has come. When
// the connection is leaving, stay says whether to wait on.
func (c *conn) receive(p []byte, stay func() bool) (int, error) {
	c.uncork()
	for {
		c.srv.busy.Add(-1)
		n, err := c.tr.recv(p, &c.in)
		c.srv.busy.Add(1)
		switch {
		case err == nil:
			c.pulse.Add(1)
			c.cork()
			c.planHalfway()
			return n, nil
		case !errors.Is(err, os.ErrDeadlineExceeded) || !stay():
			return 0, err
		}
		c.tr.stopReading(time.Now().Add(c.srv.opt.Linger))
	}
}

// readFull fills p with the next bytes of the stream.
func (c *conn) readFull(p []byte) error {
	for p = p[c.in.take(p):]; len(p) > 0; {
		n, err := c.receivePayload(p)
		if err != nil {
			return midRequest(err)
		}
		p = p[n:]
	}
	return nil
}

// skip reads n bytes and forgets them.
func (c *conn) skip(n uint64) error {
	for {
		m := min(uint64(c.in.len()), n)
		if m > 0 {
			c.in.next(int(m))
		}
		if n -= m; n == 0 {
			return nil
		}
		if _, err := c.receivePayload(nil); err != nil {
			return midRequest(err)
		}
	}
}

// midRequest is what an error means within a request.
func midRequest(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
