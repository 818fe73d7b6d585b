package nbd

// phase is where a WRITE is whose payload is in the socket. The pipeline's
// goroutine moves it on from phaseSubmitted; the connection's goroutine waits
// for that, because the payload is in its way to the next request.
type phase uint8

const (
	phaseNone      phase = iota // the payload has been dealt with, or there is none
	phaseSubmitted              // the command has no buffer yet
	phaseBuffer                 // its buffer waits for the payload
	phaseEnded                  // it has ended without asking for the payload
)

// setPhase moves r on, and tells the connection's goroutine.
func (c *conn) setPhase(r *request, p phase) {
	c.mu.Lock()
	r.phase = p
	c.mu.Unlock()
	c.changed.Signal()
}

// write submits a WRITE and reads its payload into the command's buffer, once
// it has one.
func (c *conn) write(r *request) error {
	r.phase = phaseSubmitted
	r.start()
	var p phase
	c.await(func() bool {
		p = r.phase
		return p != phaseSubmitted
	})
	if p == phaseEnded {
		return c.writeEnded(r)
	}
	if err := c.readFull(r.cmd.Buf[:r.h.length]); err != nil {
		r.mute = true
		r.cmd.DataFailed()
		return err
	}
	c.enter(r)
	r.cmd.DataReceived()
	return nil
}

// writeEnded deals with a WRITE that ended before it took its payload, which
// is still in the socket (row 19). If it is worth another try the payload is
// kept for that.
func (c *conn) writeEnded(r *request) error {
	r.phase = phaseNone
	over, wait := r.outcome()
	if over {
		return c.skipAndAnswer(r)
	}
	r.payload = make([]byte, r.h.length)
	if err := c.readFull(r.payload); err != nil {
		r.mute = true
		c.answer(r)
		return err
	}
	c.enter(r)
	r.again(wait)
	return nil
}

// skipAndAnswer answers a request whose payload is of no use.
func (c *conn) skipAndAnswer(r *request) error {
	err := c.skip(r.h.length)
	r.mute = err != nil
	c.answer(r)
	return err
}
