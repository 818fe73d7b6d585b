package target

import (
	"slices"

	"scstuser/scsi"
)

// UnitAttention is a condition that a session has to hear of once.
type UnitAttention = scsi.Sense

// maxUA bounds the unit attentions that wait in one session; SPC-4 5.14 lets a
// device server drop the rest.
const maxUA = 16

// Notify tells the session of a condition: by an AEN if the front end takes
// it, else with a unit attention on its next command. One that waits already
// is not queued again. A session that is gone is not told.
func (s *Session) Notify(ua UnitAttention) {
	if !s.enter() {
		return
	}
	defer s.leave()
	if s.frontend.AEN(s, ua) {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ua) < maxUA && !slices.Contains(s.ua, ua) {
		s.ua = append(s.ua, ua)
		s.uaPending.Store(true)
	}
}

// takeUA removes and returns the oldest unit attention.
func (s *Session) takeUA() (ua UnitAttention, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.ua) == 0 {
		return ua, false
	}
	ua = s.ua[0]
	s.ua = slices.Delete(s.ua, 0, 1)
	s.uaPending.Store(len(s.ua) > 0)
	return ua, true
}

// HasLocalEvents says whether CheckLocalEvents has anything to do. It takes no
// lock, and changes nothing.
func (c *Cmd) HasLocalEvents() bool {
	if c.aborted.Load() {
		return true
	}
	if c.internal {
		return false // its parent has been looked at
	}
	s := c.sess
	return s.uaPending.Load() || s.dev.reservedBy.Load() != nil || reserves(c.Op())
}

// CheckLocalEvents looks, right before the handler would get the command,
// whether the target has to answer it itself: it was aborted, a unit
// attention is due, or another session holds a reservation (rule R33). If so
// it sets the outcome and returns true; the caller calls Done.
func (c *Cmd) CheckLocalEvents() bool {
	if c.aborted.Load() {
		c.setAborted()
		return true
	}
	if c.internal {
		return false // its parent has been looked at
	}
	s := c.sess
	if s.uaPending.Load() && !ignoresUA(c.Op()) {
		if ua, ok := s.takeUA(); ok {
			c.SetSense(ua)
			return true
		}
	}
	return c.checkReservation()
}

// setAborted sets the outcome of a command that task management ended.
func (c *Cmd) setAborted() {
	if c.sess.dev.tas.Load() {
		c.SetStatus(scsi.TaskAborted)
		return
	}
	c.SetSense(scsi.SenseAbortedInternalFailure)
}

// ignoresUA: SPC-4 5.14: these are carried out with a unit attention pending,
// which stays pending.
func ignoresUA(op scsi.Opcode) bool {
	return op == scsi.OpInquiry || op == scsi.OpReportLUNs || op == scsi.OpRequestSense
}
