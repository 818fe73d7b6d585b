package target

import "scstuser/scsi"

// cmdState is the stage that a command enters when it is run next. Only the
// methods in this file assign it.
//
//	new ─ parse ─ alloc ─ xfer ─ exec ─ executing ─ done ─ responding ─ finished
//	        └───────┴───────┴──────┴──── completed early ──┘
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

// run moves c as far as it goes. The caller owns c and has no lock; after run
// returns c may be anywhere.
func (c *Cmd) run() {
	h := c.sess.dev.handler
	for {
		if c.completed && c.state < stateDone {
			c.state = stateDone
		}
		// The next state is set before a stage is entered: a stage that says
		// Stop may have been resumed elsewhere by the time it returns.
		switch c.state {
		case stateParse:
			c.state = stateAlloc
			c.parsed = true
			if h.Parse(c) == Stop {
				return
			}
		case stateAlloc:
			c.state = stateXfer
			if c.BufLen == 0 && c.OutBufLen == 0 {
				continue
			}
			if h.AllocBuf(c) == Stop {
				return
			}
		case stateXfer:
			c.state = stateExec
			if c.Dir&scsi.DirWrite == 0 || c.Dir == scsi.DirNone || c.BufLen == 0 {
				continue
			}
			c.sess.xferStart(c)
			if c.sess.front(c).RdyToXfer(c) == Stop {
				return
			}
			if !c.sess.xferEnd(c) {
				return
			}
		case stateExec:
			if !c.sess.admit(c) {
				return
			}
			if c.completed { // aborted while it waited for its turn
				continue
			}
			c.state = stateExecuting
			h.Exec(c)
			return
		case stateDone:
			if c.askSense() {
				return
			}
			c.state = stateResponding
			c.sess.execOver(c)
			c.sess.front(c).XmitResponse(c)
			return
		default:
			panic("target: command run in state " + c.state.String())
		}
	}
}

// String names the state for messages.
func (s cmdState) String() string {
	return [...]string{"new", "parse", "alloc", "xfer", "exec", "executing", "done", "responding", "finished"}[s]
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

// DataFailed ends a command whose data never came (the client is gone).
func (c *Cmd) DataFailed() {
	c.SetSense(scsi.SenseAbortedInternalFailure)
	c.completed = true
	c.DataReceived()
}

// Complete ends a command before exec with the outcome that is set. The
// caller is a stage that returns Continue then.
func (c *Cmd) Complete() { c.completed = true }

// AbnormalDone ends a command that a stage holds (it said Stop), with the
// outcome that is set.
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
// front end does not need Buf any more. OnFree and Frontend.Freed follow.
func (c *Cmd) Delivered(d Delivery) {
	if c.state != stateResponding {
		panic("target: Delivered for a command in state " + c.state.String())
	}
	c.state = stateFinished
	c.Delivery = d
	s := c.sess
	if c.aborted.Load() {
		c.Delivery = DeliveryAborted
	}
	if c.parsed {
		s.dev.handler.OnFree(c)
	}
	f := s.front(c)
	s.finish(c)
	f.Freed(c)
}

// AwaitsDelivery says whether the front end has the response and has not
// called Delivered yet. Only the front end may ask.
func (c *Cmd) AwaitsDelivery() bool { return c.state == stateResponding }
