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

// MgmtCmd is one task management function on its way.
type MgmtCmd struct {
	Fn      TMFunc
	Session *Session
	// Tag names the command that AbortTask is for.
	Tag uint64
	// Priv is the device handler's own; Front the front end's.
	Priv, Front any
	// TargetTag is the DevTag of the command that AbortTask found, or 0.
	TargetTag uint64
	// Result is the outcome, valid in Frontend.TMDone.
	Result int32

	waiting atomic.Int64
}

// TaskMgmt starts m. It aborts what the function covers: commands that wait
// are ended at once, those that the handler has run on until it is done with
// them (rule R68). Frontend.TMDone comes when all are over.
func (s *Session) TaskMgmt(m *MgmtCmd) {
	m.Session = s
	m.Result = tmNotYetDecided
	m.waiting.Store(1)
	var waiting []*Cmd
	found := false
	sessions := []*Session{s}
	if m.wholeDevice() {
		sessions = s.dev.Sessions()
	}
	for _, x := range sessions {
		w, hit := x.abort(m)
		waiting = append(waiting, w...)
		found = found || hit
	}
	if m.Fn == AbortTask && !found {
		m.Result = TMTaskNotExist
	}
	for _, c := range waiting {
		c.setAborted()
		c.completed = true
		c.run()
	}
	if m.Fn == LUNReset || m.Fn == TargetReset {
		s.dev.reservedBy.Store(nil)
	}
	s.dev.handler.TaskMgmtReceived(m)
	m.cmdOver()
}

func (m *MgmtCmd) wholeDevice() bool {
	switch m.Fn {
	case ClearTaskSet, LUNReset, TargetReset, NexusLoss, AbortAllTasks:
		return true
	}
	return false
}

// abort marks the session's commands that m covers and takes out those that
// wait at the door or for their turn.
func (s *Session) abort(m *MgmtCmd) (waiting []*Cmd, found bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Fn == ClearACA {
		return nil, true
	}
	for c := s.first; c != nil; c = c.next {
		if m.Fn == AbortTask && c.Tag != m.Tag || c.internal && m.Fn == AbortTask {
			continue
		}
		found = true
		if m.Fn == AbortTask {
			m.TargetTag = c.DevTag.Load()
		}
		if c.execDone.Load() {
			continue
		}
		c.aborted.Store(true)
		c.abortedBy = append(c.abortedBy, m)
		m.waiting.Add(1)
	}
	for _, q := range []*cmdQueue{&s.held, &s.blocked} {
		var rest cmdQueue
		for c := q.pop(); c != nil; c = q.pop() {
			if c.aborted.Load() {
				waiting = append(waiting, c)
			} else {
				rest.push(c)
			}
		}
		*q = rest
	}
	return waiting, found
}

// cmdOver is called once for each affected command, and once by TaskMgmt.
func (m *MgmtCmd) cmdOver() {
	if m.waiting.Add(-1) > 0 {
		return
	}
	m.Session.dev.handler.TaskMgmtDone(m)
}

// Done is the handler's outcome of the function (rule R66).
func (m *MgmtCmd) Done(result int32) {
	if result == TMTaskNotExist {
		result = TMSuccess
	}
	if m.Result == tmNotYetDecided || result != TMSuccess {
		m.Result = result
	}
	m.attentions()
	m.Session.frontend.TMDone(m)
}

// attentions tells the other sessions what happened to them (SAM-5 7).
func (m *MgmtCmd) attentions() {
	switch m.Fn {
	case LUNReset, TargetReset:
		for _, x := range m.Session.dev.Sessions() {
			x.Notify(scsi.SensePowerOnReset)
		}
	case ClearTaskSet, AbortAllTasks:
		for _, x := range m.Session.dev.Sessions() {
			if x != m.Session {
				x.Notify(scsi.SenseCommandsClearedByOther)
			}
		}
	case NexusLoss:
		for _, x := range m.Session.dev.Sessions() {
			x.Notify(scsi.SenseNexusLoss)
		}
	case NexusLossSess:
		m.Session.Notify(scsi.SenseNexusLoss)
	}
}
