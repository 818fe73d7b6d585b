package target

import "scstuser/scsi"

// Task attributes (SAM-5 8.6). SIMPLE commands run side by side; an ORDERED
// one waits for everything older and holds up everything newer; while a HEAD
// OF QUEUE command is out, SIMPLE and ORDERED ones wait (fact 22). The common
// case, nothing but SIMPLE commands, costs one atomic load.

// markSpecial counts c among the commands that others must look at.
func (s *Session) markSpecial(c *Cmd) {
	if !c.special {
		c.special = true
		s.special.Add(1)
	}
}

// SetQueueType changes the task attribute, as parse may (rule R48).
func (c *Cmd) SetQueueType(q scsi.QueueType) {
	if q == c.QueueType {
		return
	}
	s := c.sess
	s.mu.Lock() // the session's other commands look at the attribute
	defer s.mu.Unlock()
	c.QueueType = q
	if q == scsi.QueueHeadOfQueue || q == scsi.QueueOrdered {
		s.markSpecial(c)
	}
}

// admit decides whether c may execute now. false: c waits in blocked.
func (s *Session) admit(c *Cmd) bool {
	if s.special.Load() == 0 || s.dev.ownOrder.Load() {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mayExec(c) {
		return true
	}
	s.blocked.push(c)
	return false
}

// mayExec applies the rules. Caller holds mu.
func (s *Session) mayExec(c *Cmd) bool {
	if c.QueueType == scsi.QueueHeadOfQueue || c.completed || c.aborted.Load() {
		return true
	}
	older := true
	for x := s.first; x != nil; x = x.next {
		if x == c {
			older = false
			continue
		}
		if x.execDone.Load() {
			continue
		}
		switch {
		case x.QueueType == scsi.QueueHeadOfQueue && x.special:
			return false
		case older && (c.QueueType == scsi.QueueOrdered || x.QueueType == scsi.QueueOrdered):
			return false
		}
	}
	return true
}

// execOver notes that c is done: it is not active any more, waiting ORDERED
// commands and task management functions look again.
func (s *Session) execOver(c *Cmd) {
	c.execDone.Store(true)
	if c.special {
		s.special.Add(-1)
	}
	s.mu.Lock()
	quiet := s.deactivate(c)
	tms := c.abortedBy
	c.abortedBy = nil
	var ready cmdQueue
	if s.blocked.first != nil {
		ready = s.takeUnblocked()
	}
	s.mu.Unlock()
	if quiet {
		s.dev.signalQuiet()
	}
	for _, m := range tms {
		m.cmdOver()
	}
	for x := ready.pop(); x != nil; x = ready.pop() {
		x.run()
	}
}

// takeUnblocked removes from blocked what may execute now. Caller holds mu.
func (s *Session) takeUnblocked() (ready cmdQueue) {
	var rest cmdQueue
	for x := s.blocked.pop(); x != nil; x = s.blocked.pop() {
		if s.mayExec(x) {
			ready.push(x)
		} else {
			rest.push(x)
		}
	}
	s.blocked = rest
	return ready
}
