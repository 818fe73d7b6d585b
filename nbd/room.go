package nbd

// A batch of replies is sent when it has grown to this, even if more requests
// are at hand, so that the client can go on.
const (
	batchBytes   = 256 << 10
	batchReplies = 64
)

// admit makes a request, once the connection has room for it: the client's
// next requests stay in the socket until then. One that is refused (errno)
// needs no room for its payload.
func (c *conn) admit(h requestHeader, errno uint32) *request {
	payload := int64(0)
	if errno == errnoNone && (h.typ == cmdRead || h.typ == cmdWrite) {
		payload = int64(h.length)
	}
	c.mu.Lock()
	large := c.outBytes >= batchBytes || len(c.out) >= batchReplies
	counted := !large && c.hasRoom(payload)
	c.mu.Unlock()
	if large {
		c.uncork()
		c.cork()
	}
	if !counted {
		c.await(func() bool { return c.hasRoom(payload) })
	}
	r := requests.Get().(*request)
	r.c, r.h, r.payloadLen = c, h, payload
	return r
}

// hasRoom counts one more request in, if there is room. A lone request is never
// refused, however large. Caller holds mu.
func (c *conn) hasRoom(payload int64) bool {
	o := &c.srv.opt
	if c.inflight > 0 && (c.inflight >= o.MaxInflight || c.inflightBytes+payload > o.MaxInflightBytes) {
		return false
	}
	c.inflight++
	c.inflightBytes += payload
	return true
}

// finish forgets a request that is over. The target knows nothing of it.
func (c *conn) finish(r *request) {
	if k := r.call; k != nil {
		r.free()
		close(k.over)
		return
	}
	c.mu.Lock()
	c.inflight--
	c.inflightBytes -= r.payloadLen
	c.mu.Unlock()
	c.changed.Signal()
	r.free()
}
