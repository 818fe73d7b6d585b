package nbd

import (
	"errors"

	"scstuser/target"
)

// answer queues the reply to r; errno and data are set. If the reply belongs
// to a command that waits for its delivery, the command goes on when the bytes
// have left.
func (c *conn) answer(r *request) {
	if r.errno != errnoNone {
		r.data = nil
	}
	putSimpleReply(r.hdr[:], r.errno, r.h.cookie)
	c.mu.Lock()
	if c.dead || r.mute {
		c.mu.Unlock()
		r.delivered(target.DeliveryFailed)
		return
	}
	c.out = append(c.out, r)
	c.outBytes += simpleReplySize + len(r.data)
	if c.sending || c.corked {
		c.mu.Unlock()
		return
	}
	c.sending = true
	c.mu.Unlock()
	// Not waiting: this is a worker, which others need.
	c.flush(false)
}

// delivered ends r: its command, if it has one, else itself.
func (r *request) delivered(d target.Delivery) {
	if r.cmd.AwaitsDelivery() {
		r.cmd.Delivered(d)
		return
	}
	r.c.drop(r)
}

// cork: run is going to send.
func (c *conn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

// uncork sends what is queued, and waits for room if the client is slow: the
// connection reads no more meanwhile, which is what slows the client down.
func (c *conn) uncork() {
	c.mu.Lock()
	c.corked = false
	if c.sending || len(c.out) == 0 {
		c.mu.Unlock()
		return
	}
	c.sending = true
	c.mu.Unlock()
	c.flush(true)
}

// flush sends until the queue is empty. The caller has set sending. Without
// wait it does not hold up its goroutine for a slow client: another one goes
// on.
func (c *conn) flush(wait bool) {
	for {
		if len(c.batch) == 0 && !c.nextBatch() {
			return
		}
		err := c.tr.send(c.vec, &c.pos, wait)
		if errors.Is(err, errWouldBlock) {
			c.flushers.Go(func() { c.flush(true) })
			return
		}
		d := target.Delivered
		if err != nil {
			d = target.DeliveryFailed
			c.kill()
		}
		c.endBatch(d)
	}
}

// nextBatch takes the queue over; false: it is empty and nobody sends now.
func (c *conn) nextBatch() bool {
	c.mu.Lock()
	if len(c.out) == 0 {
		c.sending = false
		wake := c.waiting
		c.mu.Unlock()
		if wake {
			c.signal()
		}
		return false
	}
	c.batch, c.out = c.out, c.batch
	c.outBytes = 0
	c.mu.Unlock()
	for _, r := range c.batch {
		c.vec = append(c.vec, r.hdr[:])
		if len(r.data) > 0 {
			c.vec = append(c.vec, r.data)
		}
	}
	return true
}

// endBatch ends the requests of the batch.
func (c *conn) endBatch(d target.Delivery) {
	clear(c.vec)
	c.vec, c.pos = c.vec[:0], sendPos{}
	for i, r := range c.batch {
		c.batch[i] = nil
		r.delivered(d)
	}
	c.batch = c.batch[:0]
}

// kill notes that the client is gone; the goroutine hears of it by its recv.
func (c *conn) kill() {
	c.mu.Lock()
	c.dead = true
	c.mu.Unlock()
	c.tr.stopReading(0)
}
