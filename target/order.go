package target

import "scstuser/scsi"

// Task attributes (SAM-5 8.6). SIMPLE commands run side by side; an ORDERED
// one waits for everything older and holds up everything newer; while a HEAD
// OF QUEUE command is out, SIMPLE and ORDERED ones wait (fact 22). Nothing
// waits in a circle: HEAD OF QUEUE waits for nobody, ORDERED for older ones
// and HEAD OF QUEUE, SIMPLE for older ORDERED ones and HEAD OF QUEUE.
//
// What is waited for is always in the task set, wherever it is on its way
// there, held commands included. So a command that waits is not active: else
// it and a suspension could wait for each other.
//
// The common case, nothing but SIMPLE commands, costs one atomic load.

// countSpecial counts c among the commands that others must look at, if it is
// one. Internal ones are not: they run within the turn of their parent. Caller
// holds mu.
func (s *Session) countSpecial(c *Cmd) {
	special := !c.internal && (c.QueueType == scsi.QueueHeadOfQueue || c.QueueType == scsi.QueueOrdered)
	if special == c.special {
		return
	}
	c.special = special
	if special {
		s.special.Add(1)
	} else {
		s.special.Add(-1)
	}
}

// SetQueueType changes the task attribute, as parse may (rule R48). Only
// whoever has the command before exec may call it, without a lock: commands
// that waited for the old attribute may go on before it returns.
func (c *Cmd) SetQueueType(q scsi.QueueType) {
	if q == c.QueueType {
		return
	}
	s := c.sess
	s.mu.Lock() // the session's other commands look at the attribute
	c.QueueType = q
	s.countSpecial(c)
	ready := s.takeReady()
	s.mu.Unlock()
	ready.run()
}

// admit decides whether c may execute now. false: c waits in blocked.
func (s *Session) admit(c *Cmd) bool {
	if s.special.Load() == 0 || c.internal || s.dev.ownOrder.Load() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// One that ends without executing does not wait for its turn: whoever
	// took such commands out of blocked does not come back. Nor does one
	// whose handler is gone: it will be given back.
	if c.aborted.Load() || s.gone.Load() || s.orphaned || s.mayExec(c) {
		return true
	}
	s.deactivate(c)
	s.blocked.push(c)
	return false
}

// mayExec applies the rules. Caller holds mu.
func (s *Session) mayExec(c *Cmd) bool {
	if c.QueueType == scsi.QueueHeadOfQueue {
		return true
	}
	older := true
	for x := s.tasks.first; x != nil; x = x.next {
		switch {
		case x == c:
			older = false
		case x.internal:
			// Its parent is in the list, and older.
		case x.QueueType == scsi.QueueHeadOfQueue:
			return false
		case older && (c.QueueType == scsi.QueueOrdered || x.QueueType == scsi.QueueOrdered):
			return false
		}
	}
	return true
}

// takeReady removes from blocked what may execute now. It is returned, for the
// caller to run without mu; during a suspension it is held. Caller holds mu.
func (s *Session) takeReady() (ready cmdQueue) {
	if s.blocked.n == 0 {
		return ready
	}
	if s.suspended {
		s.blocked.take(&s.held, s.mayExec)
		return ready
	}
	s.blocked.take(&ready, s.mayExec)
	for c := ready.first; c != nil; c = c.qnext {
		s.activate(c)
	}
	return ready
}

// execOver takes c, which is done, out of the task set: it is not active any
// more, task management does not wait for it any longer. The commands that it
// returns may execute now: their turn has come.
func (s *Session) execOver(c *Cmd) (ready cmdQueue) {
	s.mu.Lock()
	s.tasks.remove(c)
	s.countCmd(c)
	if c.special {
		c.special = false
		s.special.Add(-1)
	}
	s.deactivate(c)
	tms := c.abortedBy
	c.abortedBy = nil
	ready = s.takeReady()
	s.mu.Unlock()
	for _, m := range tms {
		m.cmdOver()
	}
	return ready
}
