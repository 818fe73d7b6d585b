package nbd

import (
	"errors"
	"time"

	"scstuser/target"
)

// answer queues the reply to r; errno and data are set. A request whose payload
// did not come gets none. r is over when its reply has left, or can't.
func (c *conn) answer(r *request) {
	if r.entry != entryNone {
		c.left(r)
	}
	if r.call != nil {
		r.call.returned(r)
		r.delivered(target.Delivered)
		return
	}
	if c.mode == modeSimple {
		r.encodeSimple()
	} else {
		r.encode()
	}
	c.queue(r)
}

// queue queues the encoded reply to r, or a part of it.
func (c *conn) queue(r *request) {
	size := r.size()
	c.mu.Lock()
	if r.mute || c.failed != nil {
		c.mu.Unlock()
		r.delivered(target.DeliveryFailed)
		return
	}
	c.out = append(c.out, r)
	c.outBytes += size
	if c.sending || c.corked {
		c.mu.Unlock()
		return
	}
	c.sending = true
	c.mu.Unlock()
	// Without waiting: this may be a worker, whom others need too.
	c.flush(false)
}

// cork says that the connection's goroutine is going to send.
func (c *conn) cork() {
	c.mu.Lock()
	c.corked = true
	c.mu.Unlock()
}

// uncork sends what is queued, and waits for the client to take it: the
// connection reads nothing meanwhile, which is what slows the client down.
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
// wait it does not hold its goroutine up for a slow client: another one takes
// over, with the right to send.
func (c *conn) flush(wait bool) {
	for {
		ok := true
		if len(c.batch) == 0 {
			var more bool
			if more, ok = c.nextBatch(); !more {
				return
			}
		}
		var err error
		if ok {
			err = c.tr.send(&c.vec, wait)
		}
		switch {
		case errors.Is(err, errWouldBlock):
			c.flushers.Go(func() { c.flush(true) })
			return
		case err != nil:
			c.fail(err)
			ok = false
		}
		c.endBatch(ok)
	}
}

// nextBatch takes the queue over. more: there was something in it; else the
// right to send has been given up. ok: it can be sent.
func (c *conn) nextBatch() (more, ok bool) {
	c.mu.Lock()
	if len(c.out) == 0 {
		c.sending = false
		c.mu.Unlock()
		return false, false
	}
	c.batch, c.out = c.out, c.batch
	c.outBytes = 0
	ok = c.failed == nil
	leaving := !c.graceEnd.IsZero()
	c.mu.Unlock()
	if leaving {
		// What ends long after the Grace has a right to be answered too.
		c.tr.stopSending(time.Now().Add(c.srv.opt.Grace))
	}
	for _, r := range c.batch {
		r.addTo(&c.vec)
	}
	return true, ok
}

// endBatch ends the requests of the batch: their replies have left, or never
// will.
func (c *conn) endBatch(ok bool) {
	d := target.Delivered
	if !ok {
		d = target.DeliveryFailed
	}
	c.vec.reset()
	for i, r := range c.batch {
		c.batch[i] = nil
		r.delivered(d)
	}
	c.batch = c.batch[:0]
}

// fail notes that nothing can be sent any more: what the client would get now
// might be the middle of something. The connection's goroutine hears of it by
// its recv.
func (c *conn) fail(err error) {
	c.mu.Lock()
	if c.failed == nil {
		c.failed = err
	}
	c.mu.Unlock()
	c.tr.stopReading(time.Unix(1, 0))
}
