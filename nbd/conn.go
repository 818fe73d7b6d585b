package nbd

import (
	"errors"
	"io"
	"sync"
	"time"

	"scstuser/target"
)

// conn is a connection in transmission. Its goroutine (run) reads requests and
// moves each as far as it goes; whoever finishes a request queues its reply;
// replies leave in batches, many with one system call (send.go).
type conn struct {
	srv  *Server
	exp  *Export
	sess *target.Session
	tr   transport

	// in is what was received, glanceEnd until when glance looks for more. They
	// belong to the connection's goroutine.
	in        inbox
	glanceEnd time.Time

	// batch and vec are the replies being sent. They belong to whoever has
	// set sending.
	batch []*request
	vec   vector
	// flushers are the goroutines that wait for the client to take replies
	// on behalf of those that must not.
	flushers sync.WaitGroup

	// mu guards what follows, and request.phase.
	mu sync.Mutex
	// changed is signalled to the connection's goroutine when something has
	// happened that it may be waiting for: see await.
	changed sync.Cond
	// out are the replies to be sent, outBytes their size.
	out      []*request
	outBytes int
	// corked: the connection's goroutine is going to send. sending: somebody
	// sends, and will send what is added to out. If neither is set, out is
	// empty.
	corked, sending bool
	// failed is why nothing can be sent any more.
	failed error
	// inflight and inflightBytes count the requests that are not finished and
	// their payloads. A request is finished when its reply has left.
	inflight      int
	inflightBytes int64
	// graceEnd is set once the connection is leaving, that is, has to come to
	// its end: until when the client may finish the payload that it is sending.
	graceEnd time.Time
}

var _ target.Frontend = (*conn)(nil)

func newConn(s *Server, e *Export, tr transport) *conn {
	c := &conn{srv: s, exp: e, tr: tr}
	c.changed.L = &c.mu
	return c
}

// run serves the connection until the client leaves or breaks the protocol, or
// the server or the device goes away, and then until all that is outstanding
// is finished (row 25). It returns nil for an orderly end.
func (c *conn) run() error {
	err := c.loop()
	c.await(func() bool { return c.inflight == 0 })
	c.flushers.Wait()
	c.in.drop()
	if c.failed != nil { // nobody else is left to touch it
		return c.failed
	}
	return err
}

// loop reads requests.
func (c *conn) loop() error {
	for {
		if c.in.len() < requestSize {
			switch _, err := c.receive(nil, c.owes); {
			case err == nil:
				continue
			case errors.Is(err, io.EOF) && c.in.len() == 0:
				return nil // EOF without DISC
			case c.endOfLinger(err):
				if c.glance() {
					continue
				}
				return nil
			default:
				return midRequest(err)
			}
		}
		h, ok := decodeRequest(c.in.next(requestSize))
		switch {
		case !ok:
			return protocolErrorf("bad request magic")
		case h.typ == cmdDisc:
			return nil // whatever flags it has (row 25)
		}
		if err := c.request(h); err != nil {
			return err
		}
	}
}

// request takes one request whose header has been read.
func (c *conn) request(h requestHeader) error {
	errno := c.exp.check(h)
	if c.srv.draining.Load() {
		errno = errnoShutdown
	}
	r := c.admit(h, errno)
	switch {
	case errno == errnoNone && h.typ == cmdWrite && h.length > 0:
		return c.write(r)
	case errno == errnoNone && (h.length > 0 || h.typ == cmdFlush):
		r.start()
		return nil
	}
	// Refused, or nothing to do (row 24).
	r.errno = errno
	if h.typ == cmdWrite {
		return c.skipAndAnswer(r)
	}
	c.answer(r)
	return nil
}

// await waits, on the connection's goroutine, until ready says so, which is
// called with mu held. What is queued is sent first: the client may be waiting
// for it with whatever we are waiting for.
func (c *conn) await(ready func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	corked := c.corked
	for !ready() {
		if c.corked {
			c.mu.Unlock()
			c.uncork()
			c.mu.Lock()
			continue
		}
		c.changed.Wait()
	}
	c.corked = corked
}

// leave makes the connection come to its end (row 26): it goes on for the
// server's Linger, then until nothing is outstanding. It may be called by
// anybody, more than once; the first call counts.
func (c *conn) leave() {
	now := time.Now()
	c.mu.Lock()
	if !c.graceEnd.IsZero() {
		c.mu.Unlock()
		return
	}
	c.graceEnd = now.Add(c.srv.opt.Grace)
	c.mu.Unlock()
	c.tr.stopSending(now.Add(c.srv.opt.Grace))
	c.tr.stopReading(now.Add(c.srv.opt.Linger))
}

func (c *conn) leaving() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.graceEnd.IsZero()
}

// owes says whether a connection that is leaving has requests to finish: new
// ones are answered meanwhile.
func (c *conn) owes() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.graceEnd.IsZero() && c.failed == nil && c.inflight > 0
}

// graced says whether the client of a connection that is leaving may go on
// with what it is sending.
func (c *conn) graced() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.graceEnd.IsZero() && c.failed == nil && time.Now().Before(c.graceEnd)
}
