package target

import "scstuser/scsi"

// cmdState is the stage that a command enters when it is run next. Only the
// methods in this file assign it, and Submit and submitInternal at the start.
//
//	new ─ parse ─ alloc ─ xfer ─ exec ─ executing ─ done ─ responding ─ finished
//	        └───────┴───────┴──────┴──── ended early ─┘
type cmdState uint8

const (
	stateNew cmdState = iota
	stateParse
	stateAlloc
	stateXfer
	stateExec
	stateExecuting
	stateDone
	stateResponding
	stateFinished
)

// String names the state for messages.
func (s cmdState) String() string {
	return [...]string{"new", "parse", "alloc", "xfer", "exec", "executing", "done", "responding", "finished"}[s]
}

// run moves c as far as it goes. The caller owns c and has no lock; after run
// returns c may be anywhere, and its memory in use for another command.
func (c *Cmd) run() {
	s := c.sess
	for {
		if c.completed && c.state < stateDone {
			c.state = stateDone
		}
		// The next state is set before a stage is entered: a stage that says
		// Stop may have been resumed elsewhere by the time it returns.
		switch c.state {
		case stateParse:
			if c.endEarly() || c.answerLocally() {
				continue
			}
			c.state = stateAlloc
			c.parsed = true
			c.handler = s.handler
			if c.handler.Parse(c) == Stop {
				return
			}
		case stateAlloc:
			c.state = stateXfer
			if c.BufLen == 0 && c.OutBufLen == 0 {
				continue
			}
			if c.handler.AllocBuf(c) == Stop {
				return
			}
		case stateXfer:
			if c.endEarly() {
				continue
			}
			c.state = stateExec
			if !c.takesData() {
				continue
			}
			if c.kept != nil {
				c.restorePayload()
				continue
			}
			s.xferStart(c)
			if s.front(c).RdyToXfer(c) == Stop {
				return
			}
			if !s.xferEnd(c) {
				return
			}
		case stateExec:
			if !s.admit(c) {
				return
			}
			if c.endEarly() {
				continue
			}
			c.state = stateExecuting
			c.handler.Exec(c)
			return
		case stateDone:
			if c.askSense() {
				return
			}
			c.settleReservation()
			c.state = stateResponding
			ready := s.execOver(c)
			// First the response: what runs now may take its time.
			s.front(c).XmitResponse(c)
			ready.run()
			return
		default:
			panic("target: command run in state " + c.state.String())
		}
	}
}

// endEarly ends a command that need not go on, before a stage that would do
// something for it: task management aborted it (rule R68), or the device or
// the session is gone. false: it goes on.
func (c *Cmd) endEarly() bool {
	switch {
	case c.aborted.Load():
		c.setAborted()
	case c.sess.gone.Load():
		c.SetSense(scsi.SenseLUNotSupported)
	default:
		return false
	}
	c.completed = true
	return true
}

// takesData says whether the initiator sends data for the command.
func (c *Cmd) takesData() bool {
	return c.Dir == scsi.DirWrite && c.BufLen > 0 || c.Dir == scsi.DirBidi && c.OutBufLen > 0
}

// ParseDone goes on after DevHandler.Parse said Stop.
func (c *Cmd) ParseDone() { c.run() }

// AllocDone calls DevHandler.AllocBuf again after it said Stop.
func (c *Cmd) AllocDone() {
	c.state = stateAlloc
	c.run()
}

// DataReceived goes on after Frontend.RdyToXfer said Stop: the initiator's
// data is in Buf.
func (c *Cmd) DataReceived() {
	if c.sess.xferEnd(c) {
		c.run()
	}
}

// DataFailed ends a command whose data never came (the client is gone), in
// place of DataReceived.
func (c *Cmd) DataFailed() {
	c.SetSense(scsi.SenseAbortedInternalFailure)
	c.completed = true
	c.DataReceived()
}

// Complete ends a command before exec with the outcome that is set. The
// caller is a stage that returns Continue then.
func (c *Cmd) Complete() { c.completed = true }

// AbnormalDone ends a command that a stage before exec holds (it said Stop),
// with the outcome that is set.
func (c *Cmd) AbnormalDone() {
	c.completed = true
	c.run()
}

// Done says that exec is over: Status, sense, RespLen and, for a read, Buf
// are set. The rest of the pipeline may run before Done returns.
func (c *Cmd) Done() {
	c.state = stateDone
	c.run()
}

// Delivered says that the response has left (or never will) and that the
// front end does not need Buf any more. OnFree and Frontend.Freed follow. A
// command that was aborted counts as DeliveryAborted (fact 45).
func (c *Cmd) Delivered(d Delivery) {
	if c.state != stateResponding {
		panic("target: Delivered for a command in state " + c.state.String())
	}
	c.state = stateFinished
	c.Delivery = d
	if c.aborted.Load() {
		c.Delivery = DeliveryAborted
	}
	c.kept = nil
	s := c.sess
	if c.parsed {
		c.handler.OnFree(c)
	}
	s.front(c).Freed(c) // c is the front end's from here on
	s.leave()
}

// AwaitsDelivery says whether the front end has the response and has not
// called Delivered yet. Only the front end may ask.
func (c *Cmd) AwaitsDelivery() bool { return c.state == stateResponding }
