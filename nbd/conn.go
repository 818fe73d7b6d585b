package nbd

import (
	"errors"
	"io"
	"math"
	"sync"
	"sync/atomic"
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
	// What was negotiated: the shape of messages, whether there is
	// base:allocation, and whether the client has promised to keep to the size
	// constraints.
	mode            replyMode
	allocation      bool
	blockSizesAsked bool
	// changing counts the changes of the medium that are under way and have
	// claimed nothing (changes.go).
	changing atomic.Int64

	// in is what was received, halfway how much of it is left when sendHalfway
	// sends, glanceEnd until when glance looks for more. They belong to the
	// connection's goroutine.
	in        inbox
	halfway   int
	glanceEnd time.Time

	// batch and vec are the replies being sent. They belong to whoever has
	// set sending.
	batch []*request
	vec   vector
	// flushers are the goroutines that wait for the client to take replies
	// on behalf of those that must not.
	flushers sync.WaitGroup

	// pulse counts what was received; payload is set while more of a payload
	// is waited for. idle.go reads both.
	pulse   atomic.Uint64
	payload atomic.Bool
	idle    idleState

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

func newConn(s *Server, n *negotiated, tr transport) *conn {
	c := &conn{
		srv: s, exp: n.export.(*Export), tr: tr,
		mode: n.mode, allocation: n.allocation(), blockSizesAsked: n.blockSizesAsked,
	}
	c.changed.L = &c.mu
	return c
}

// run serves the connection until the client leaves or breaks the protocol, or
// the server or the device goes away, and then until all that is outstanding
// is finished (row 25). It returns nil for an orderly end.
func (c *conn) run() error {
	c.srv.busy.Add(1)
	err := c.loop()
	c.srv.busy.Add(-1)
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
	size := c.mode.requestSize()
	for {
		if c.in.len() < size {
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
		h, ok := c.mode.decode(c.in.next(size))
		switch {
		case !ok:
			return protocolErrorf("bad request magic")
		case h.typ == cmdDisc:
			return nil // whatever flags it has (row 25)
		case c.hangsUp():
			c.leave() // Shutdown may not have come to it yet
			return nil
		}
		if err := c.request(h); err != nil {
			return err
		}
		c.sendHalfway()
	}
}

// request takes one request whose header has been read.
func (c *conn) request(h requestHeader) error {
	if c.mode == modeExtended && h.flags&cmdFlagPayloadLen != 0 {
		if h.length > math.MaxUint32 {
			return protocolErrorf("a payload of %d bytes", h.length)
		}
		if h.typ == cmdBlockStatus {
			return c.blockStatusPayload(h)
		}
	}
	why := c.check(&h)
	if c.srv.draining.Load() {
		why = refuseShutdown
	}
	if why.errno != errnoNone {
		return c.refuse(h, why)
	}
	r := c.admit(h, errnoNone)
	switch {
	case h.length == 0 && h.typ != cmdFlush: // nothing to do (row 24)
		c.answer(r)
		return nil
	case c.exp.needsParts(&h):
		return c.unaligned(r)
	case h.typ == cmdWrite:
		return c.write(r)
	case h.typ == cmdTrim || h.typ == cmdWriteZeroes:
		c.enter(r)
	}
	r.start()
	return nil
}

// refuse answers a request with an error, and skips its payload (row 19).
func (c *conn) refuse(h requestHeader, why refusal) error {
	r := c.admit(h, why.errno)
	r.fail(why)
	if h.payloadLength(c.mode) > 0 {
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
