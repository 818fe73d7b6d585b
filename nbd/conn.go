package nbd

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/scsi"
	"scstuser/target"
)

// conn is a connection in transmission. Its goroutine (run) reads requests
// and moves each as far as it goes; replies are queued by whoever finishes a
// request and sent in batches, many with one system call.
//
// The goroutine corks the queue while it has requests in its buffer, so that
// their replies leave together; it sends them before it waits for anything.
// Whoever else queues a reply sends at once, unless it is corked or somebody
// is sending already, who then takes the new reply along.
type conn struct {
	srv  *Server
	exp  *Export
	sess *target.Session
	tr   transport
	log  *logrus.Entry

	// rbuf[rpos:rend] are bytes received and not used; the goroutine's own.
	rbuf       []byte
	rbufp      *[]byte // what rbuf is of, for the pool
	rpos, rend int
	idleFn     func()
	bufFn      func() []byte

	// wake wakes the goroutine when it waits for room or for a buffer.
	wake chan struct{}

	// batch, vec, pos are the replies being sent; they belong to whoever set
	// sending.
	batch []*request
	vec   [][]byte
	pos   sendPos

	// mu guards what follows.
	mu sync.Mutex
	// out are the replies to be sent.
	out []*request
	// corked: run will send. sending: somebody sends. dead: nothing can be
	// sent any more. waiting: run waits on wake.
	corked, sending, dead, waiting bool
	// outBytes are the bytes in out; inflight and inflightBytes count the
	// requests that are not finished, and their payloads.
	outBytes      int
	inflight      int
	inflightBytes int64
	spare         *request
	// flushers counts the goroutines that send for a worker.
	flushers sync.WaitGroup
}

var _ target.Frontend = (*conn)(nil)

// rbufSize is the receive buffer: enough for the headers of any queue depth,
// and for some small writes.
const rbufSize = 64 << 10

var rbufs = sync.Pool{New: func() any { b := make([]byte, rbufSize); return &b }}

// A batch of replies is sent when it has grown to this, even if more requests
// are at hand, so that the client can go on.
const (
	batchBytes   = 256 << 10
	batchReplies = 64
)

func newConn(s *Server, e *Export, tr transport, log *logrus.Entry) *conn {
	c := &conn{srv: s, exp: e, tr: tr, log: log, wake: make(chan struct{}, 1)}
	c.idleFn, c.bufFn = c.dropBuf, c.takeBuf
	return c
}

// run serves the connection until the client leaves, breaks the protocol, or
// the server shuts down; then it finishes what is outstanding (row 25).
func (c *conn) run() error {
	err := c.loop()
	c.uncork()
	c.drain()
	c.dropBuf()
	c.flushers.Wait()
	return err
}

// loop reads requests. A clean end is nil.
func (c *conn) loop() error {
	var hdr [requestSize]byte
	for {
		if c.rend-c.rpos < requestSize {
			if err := c.fillBuf(); err != nil {
				if errors.Is(err, os.ErrDeadlineExceeded) && !c.quiet() {
					// Shutting down: as long as there are commands to wait
					// for, new ones get their ESHUTDOWN (row 26).
					c.tr.stopReading(c.srv.opt.Linger)
					continue
				}
				if errors.Is(err, io.EOF) && c.rend == c.rpos {
					return nil // EOF without DISC
				}
				return err
			}
			continue
		}
		copy(hdr[:], c.rbuf[c.rpos:])
		h, ok := decodeRequest(hdr[:])
		if !ok {
			return protocolErrorf("bad request magic")
		}
		c.rpos += requestSize
		if h.typ == cmdDisc {
			return nil // whatever flags it has (row 25)
		}
		if err := c.request(h); err != nil {
			return err
		}
	}
}

// fillBuf receives more; it sends what is queued first, because it may wait.
func (c *conn) fillBuf() error {
	c.uncork()
	if c.rpos > 0 {
		c.rend = copy(c.rbuf, c.rbuf[c.rpos:c.rend])
		c.rpos = 0
	}
	n, err := c.tr.recv(nil, c.bufFn, c.idleFn, c.quiet())
	if err != nil {
		return err
	}
	c.rend += n
	c.cork()
	return nil
}

// quiet says that no other goroutine works for the connection: then this one
// may wait inside the kernel without holding one up.
func (c *conn) quiet() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.inflight == 0
}

// takeBuf returns the free part of the receive buffer.
func (c *conn) takeBuf() []byte {
	if c.rbuf == nil {
		c.rbufp = rbufs.Get().(*[]byte)
		c.rbuf = *c.rbufp
	}
	return c.rbuf[c.rend:]
}

// dropBuf lends the receive buffer to others while the connection is idle.
func (c *conn) dropBuf() {
	if c.rbuf != nil && c.rend == c.rpos {
		rbufs.Put(c.rbufp)
		c.rbuf, c.rbufp, c.rpos, c.rend = nil, nil, 0, 0
	}
}

// request takes one request: its header is read, a WRITE's payload is not.
func (c *conn) request(h requestHeader) error {
	r := c.admit(h)
	errno := r.check()
	if c.srv.draining.Load() {
		errno = errnoShutdown
	}
	if errno != errnoNone || h.length == 0 && h.typ != cmdFlush {
		if h.typ == cmdWrite {
			if err := c.skip(int64(h.length)); err != nil {
				c.drop(r)
				return err
			}
		}
		r.errno, r.data = errno, nil
		c.answer(r)
		return nil
	}
	if h.typ != cmdWrite {
		r.start()
		return nil
	}
	r.start()
	return c.writePayload(r)
}

// writePayload reads a WRITE's payload into the command's buffer, once it has
// one.
func (c *conn) writePayload(r *request) error {
	for {
		switch r.phase.Load() {
		case phaseReady:
			if err := c.readFull(r.cmd.Buf[:r.h.length]); err != nil {
				r.mute = true
				r.cmd.DataFailed()
				return err
			}
			r.cmd.DataReceived()
			return nil
		case phaseAnswered:
			return c.writeRefused(r)
		}
		c.sleep(func() bool { return r.phase.Load() == phaseSubmitted })
	}
}

// writeRefused deals with a WRITE that has ended before it got a buffer: its
// payload is still in the socket (row 19). If it is worth another try the
// payload is kept for that.
func (c *conn) writeRefused(r *request) error {
	answered, wait := r.over()
	if answered {
		err := c.skip(int64(r.h.length))
		r.mute = err != nil
		c.answer(r)
		return err
	}
	r.payload = make([]byte, r.h.length)
	if err := c.readFull(r.payload); err != nil {
		r.mute = true
		c.answer(r)
		return err
	}
	r.again(wait)
	return nil
}

// readFull fills p from the receive buffer and the socket. What the socket
// has beyond p goes into the receive buffer with the same call.
func (c *conn) readFull(p []byte) error {
	n := copy(p, c.rbuf[c.rpos:c.rend])
	c.rpos += n
	p = p[n:]
	for len(p) > 0 {
		if c.rpos == c.rend {
			c.rpos, c.rend = 0, 0
		}
		c.uncork()
		n, err := c.tr.recv(p, c.bufFn, c.idleFn, true)
		if errors.Is(err, os.ErrDeadlineExceeded) && c.srv.mayFinish() {
			c.tr.stopReading(c.srv.opt.Linger)
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		m := min(n, len(p))
		p = p[m:]
		c.rend += n - m
		c.cork()
	}
	return nil
}

// skip reads n bytes and forgets them, in pieces.
func (c *conn) skip(n int64) error {
	for n > 0 {
		if m := min(n, int64(c.rend-c.rpos)); m > 0 {
			c.rpos += int(m)
			n -= m
			continue
		}
		if err := c.fillBuf(); err != nil {
			return err
		}
	}
	return nil
}

// admit makes a request, when the connection has room for one more.
func (c *conn) admit(h requestHeader) *request {
	payload := int64(0)
	if h.typ == cmdRead || h.typ == cmdWrite {
		payload = int64(min(h.length, c.exp.maxPayload))
	}
	c.mu.Lock()
	for {
		large := c.outBytes >= batchBytes || len(c.out) >= batchReplies
		full := c.full(payload)
		if !full && !(large && !c.sending) {
			break
		}
		canSend := len(c.out) > 0 && !c.sending
		c.mu.Unlock()
		if canSend {
			c.uncork()
			c.cork()
		} else {
			c.sleep(func() bool {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.full(payload) && (len(c.out) == 0 || c.sending)
			})
		}
		c.mu.Lock()
	}
	r := c.spare
	if r != nil {
		c.spare = r.next
		r.next = nil
	}
	c.inflight++
	c.inflightBytes += payload
	c.mu.Unlock()
	if r == nil {
		r = &request{c: c}
		r.cmd.Front = r
	}
	r.h, r.mute = h, false
	return r
}

// full says whether one more request with this payload has to wait. Caller
// holds mu. A lone request is never refused.
func (c *conn) full(payload int64) bool {
	return c.inflight > 0 &&
		(c.inflight >= c.srv.opt.MaxInflight || c.inflightBytes+payload > c.srv.opt.MaxInflightBytes)
}

// drop forgets a request that is over.
func (c *conn) drop(r *request) {
	payload := int64(0)
	if r.h.typ == cmdRead || r.h.typ == cmdWrite {
		payload = int64(min(r.h.length, c.exp.maxPayload))
	}
	r.data, r.payload = nil, nil
	c.mu.Lock()
	c.inflight--
	c.inflightBytes -= payload
	r.next = c.spare
	c.spare = r
	wake := c.waiting
	c.mu.Unlock()
	if wake {
		c.signal()
	}
}

// sleep waits for a wake-up while cond holds; what is queued is sent first.
func (c *conn) sleep(cond func() bool) {
	c.uncork()
	for {
		c.mu.Lock()
		c.waiting = true
		c.mu.Unlock()
		if !cond() {
			break
		}
		<-c.wake
	}
	c.mu.Lock()
	c.waiting = false
	c.mu.Unlock()
	c.cork()
}

func (c *conn) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// drain waits until every request is finished.
func (c *conn) drain() {
	c.sleep(func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.inflight > 0
	})
	c.uncork()
}

// RdyToXfer implements target.Frontend.
func (c *conn) RdyToXfer(cmd *target.Cmd) target.Verdict {
	r := cmd.Front.(*request)
	if int(cmd.BufLen) != r.sends() {
		// The handler's parse has a length of its own for the command.
		cmd.SetSense(scsi.SenseHardwareInternalFailure)
		cmd.Complete()
		return target.Continue
	}
	if r.fill(cmd.Buf[:cmd.BufLen]) {
		return target.Continue
	}
	r.phase.Store(phaseReady)
	c.signalWaiting()
	return target.Stop
}

// signalWaiting wakes the goroutine if it waits.
func (c *conn) signalWaiting() {
	c.mu.Lock()
	wake := c.waiting
	c.mu.Unlock()
	if wake {
		c.signal()
	}
}

// XmitResponse implements target.Frontend.
func (c *conn) XmitResponse(cmd *target.Cmd) {
	r := cmd.Front.(*request)
	if r.phase.CompareAndSwap(phaseSubmitted, phaseAnswered) {
		c.signalWaiting() // writeRefused goes on
		return
	}
	if answered, wait := r.over(); !answered {
		r.again(wait)
		return
	}
	c.answer(r)
}

// again ends the present command; Freed submits the request's next one, after
// a while.
func (r *request) again(wait time.Duration) {
	if r.h.typ == cmdWrite && r.payload == nil {
		r.payload = append([]byte(nil), r.cmd.Buf[:r.h.length]...)
	}
	r.rerun, r.wait = true, wait
	r.cmd.Delivered(target.Delivered)
}

// Freed implements target.Frontend.
func (c *conn) Freed(cmd *target.Cmd) {
	r := cmd.Front.(*request)
	if !r.rerun {
		c.drop(r)
		return
	}
	// A goroutine of its own: the pieces of a long request would nest.
	r.rerun = false
	time.AfterFunc(r.wait, r.submit)
}

// AEN implements target.Frontend: a client can't be told of unit attentions,
// and need not: a grown export is seen by the next client.
func (c *conn) AEN(*target.Session, target.UnitAttention) bool { return true }

// SessionGone implements target.Frontend: the device is being released.
func (c *conn) SessionGone(*target.Session) { c.tr.stopReading(c.srv.opt.Linger) }

// TMDone implements target.Frontend; connections send no task management.
func (c *conn) TMDone(*target.MgmtCmd) {}

// open attaches the connection to its export's device.
func (c *conn) open(ctx context.Context, initiator string) error {
	s, err := c.exp.dev.NewSession(ctx, c, target.SessionInfo{
		Initiator: initiator, Target: c.exp.name, TransportVersion: transportVersion,
	})
	c.sess = s
	return err
}

// transportVersion is what ATTACH_SESS tells: SAS, as the recordings show for
// a transport without a code of its own.
const transportVersion = 0x0BE0
