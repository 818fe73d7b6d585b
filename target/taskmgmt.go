package target

import (
	"sync/atomic"

	"scstuser/scsi"
)

// TMFunc is a task management function, numbered as the interface does (R67).
type TMFunc int32

// The task management functions.
const (
	AbortTask         TMFunc = 0
	AbortTaskSet      TMFunc = 1
	ClearACA          TMFunc = 2
	ClearTaskSet      TMFunc = 3
	LUNReset          TMFunc = 4
	TargetReset       TMFunc = 5
	NexusLossSess     TMFunc = 6
	AbortAllTasksSess TMFunc = 7
	NexusLoss         TMFunc = 8
	AbortAllTasks     TMFunc = 9
)

// The outcomes of a task management function (rule R66).
const (
	TMSuccess       int32 = 0
	TMTaskNotExist  int32 = -1
	TMLUNNotExist   int32 = -2
	TMNotSupported  int32 = -5
	TMRejected      int32 = -255
	TMFailed        int32 = -129
	tmNotYetDecided int32 = 1
)

// MgmtCmd is one task management function on its way. The front end owns its
// memory, from Frontend.TMDone on again.
type MgmtCmd struct {
	// Fn and Tag are set by the front end: the function, and the command
	// that AbortTask is for.
	Fn  TMFunc
	Tag uint64
	// Session is the nexus that the function came on.
	Session *Session
	// Priv is the device handler's own; Front the front end's.
	Priv, Front any
	// TargetTag is the DevTag of the command that AbortTask found, or 0.
	TargetTag uint64
	// Result is the outcome, valid in Frontend.TMDone.
	Result int32

	// waiting counts the commands that are waited for, and TaskMgmt itself.
	waiting atomic.Int64
	// own: the target's, no front end knows of it (ResetUnit).
	own bool
	// cleared are the other sessions that lost commands.
	cleared []*Session
	// handler is the session's when the function came.
	handler DevHandler
}

// TaskMgmt starts m. It aborts what the function covers: commands that wait
// here are ended at once; those that the handler or the front end has run on
// until that is done with them (rule R68). Frontend.TMDone comes when all are
// over, possibly before TaskMgmt returns. Functions that don't exist, and
// those for a device that is being released, are refused without the handler.
func (s *Session) TaskMgmt(m *MgmtCmd) {
	m.begin(s)
	if m.Fn < AbortTask || m.Fn > AbortAllTasks {
		m.Result = TMNotSupported
		s.countTM(m)
		s.frontend.TMDone(m)
		return
	}
	if !s.enter() {
		m.Result = TMLUNNotExist
		s.countTM(m)
		s.frontend.TMDone(m)
		return
	}
	m.carryOut()
}

// begin makes m a fresh function on s.
func (m *MgmtCmd) begin(s *Session) {
	m.Session, m.TargetTag, m.cleared = s, 0, nil
	m.Result = tmNotYetDecided
	m.waiting.Store(1)
}

// carryOut is TaskMgmt for a function that is not refused; its session is in
// use until Done.
func (m *MgmtCmd) carryOut() {
	s := m.Session
	m.handler = s.currentHandler()
	sessions := []*Session{s}
	if m.wholeDevice() {
		sessions = s.dev.Sessions()
	}
	waiting := make([]cmdQueue, len(sessions))
	found := false
	for i, x := range sessions {
		var hit bool
		waiting[i], hit = x.abort(m)
		found = found || hit
		if hit && x != s {
			m.cleared = append(m.cleared, x)
		}
	}
	if m.Fn == AbortTask && !found {
		m.Result = TMTaskNotExist
	}
	for i := range waiting {
		waiting[i].run() // they are marked, and end
	}
	m.clearReservation()
	m.handler.TaskMgmtReceived(m)
	m.cmdOver()
}

func (m *MgmtCmd) wholeDevice() bool {
	switch m.Fn {
	case ClearTaskSet, LUNReset, TargetReset, NexusLoss, AbortAllTasks:
		return true
	}
	return false
}

// covers says whether m aborts c. An internal command goes with its parent.
func (m *MgmtCmd) covers(c *Cmd) bool {
	switch {
	case m.Fn == ClearACA:
		return false
	case m.Fn != AbortTask:
		return true
	case c.internal:
		c = c.Front.(*internalCmd).parent
	}
	return c.Tag == m.Tag
}

// abort marks the session's commands that m covers and takes out those that
// wait at the door or for their turn, for the caller to run.
func (s *Session) abort(m *MgmtCmd) (waiting cmdQueue, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := s.tasks.first; c != nil; c = c.next {
		if !m.covers(c) {
			continue
		}
		found = true
		if m.Fn == AbortTask && !c.internal {
			m.TargetTag = c.DevTag.Load()
		}
		c.aborted.Store(true)
		c.abortedBy = append(c.abortedBy, m)
		m.waiting.Add(1)
	}
	if found {
		waiting = s.takeWaiting((*Cmd).Aborted)
	}
	return waiting, found
}

// cmdOver is called once for each affected command, and once by TaskMgmt.
func (m *MgmtCmd) cmdOver() {
	if m.waiting.Add(-1) > 0 {
		return
	}
	m.handler.TaskMgmtDone(m)
}

// Done is the handler's outcome of the function (rule R66). A command that was
// not there, as the target or the handler sees it, is success for the handler
// and TMTaskNotExist for the front end if the target did not find it either.
func (m *MgmtCmd) Done(result int32) {
	if result == TMTaskNotExist {
		result = TMSuccess
	}
	if m.Result == tmNotYetDecided || result != TMSuccess {
		m.Result = result
	}
	s := m.Session
	m.attentions()
	s.countTM(m)
	if !m.own {
		s.frontend.TMDone(m) // m is the front end's from here on
	}
	s.leave()
}

// clearReservation ends the reservation that the function ends.
func (m *MgmtCmd) clearReservation() {
	r := &m.Session.dev.reservedBy
	switch m.Fn {
	case LUNReset, TargetReset, NexusLoss:
		r.Store(nil)
	case NexusLossSess:
		r.CompareAndSwap(m.Session, nil)
	}
}

// attentions tells the sessions what happened to them (SAM-5 6.3.4, 7).
func (m *MgmtCmd) attentions() {
	d := m.Session.dev
	switch m.Fn {
	case LUNReset, TargetReset:
		notify(d.Sessions(), scsi.SensePowerOnReset)
	case ClearTaskSet, AbortAllTasks:
		if !d.tas.Load() { // else TASK ABORTED told them
			notify(m.cleared, scsi.SenseCommandsClearedByOther)
		}
	case NexusLoss:
		notify(d.Sessions(), scsi.SenseNexusLoss)
	case NexusLossSess:
		m.Session.Notify(scsi.SenseNexusLoss)
	}
}

func notify(sessions []*Session, ua UnitAttention) {
	for _, s := range sessions {
		s.Notify(ua)
	}
}
