package nbd

// A client with some requests in flight sends them all at once, waits for the
// replies, and gets them all at once: then either it works or the server, but
// never both. So when this connection is the only one that has work, the replies
// to the first half of what has come are sent before the second half is begun.
// With many requests in flight, or many connections, there is always something to
// do, and more replies in one system call are worth more.

// Replies that are worth a system call of their own, and so many that the client
// has others in flight all the same.
const (
	halfwayMin = 4
	halfwayMax = 16
)

// planHalfway decides, when something has been received, at how many bytes of
// the inbox what is queued is sent; -1: when all of them are used.
func (c *conn) planHalfway() {
	c.halfway = -1
	if !c.in.full() && c.srv.busy.Load() == 1 {
		c.halfway = c.in.len() / 2
	}
}

// sendHalfway sends what is queued if that is due. It does not wait for the
// client.
func (c *conn) sendHalfway() {
	if c.in.len() > c.halfway {
		return
	}
	c.halfway = -1
	c.mu.Lock()
	if n := len(c.out); c.sending || n < halfwayMin || n > halfwayMax {
		c.mu.Unlock()
		return
	}
	c.sending = true
	c.mu.Unlock()
	c.flush(false)
}
