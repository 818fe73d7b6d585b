package ucmd

import "scstuser/target"

// TaskMgmtReceived announces a task management function to the handler (rule
// R66). It implements target.DevHandler.
func (d *Device) TaskMgmtReceived(m *target.MgmtCmd) { d.queueTM(m, StateTMReceived) }

// TaskMgmtDone tells the handler that the commands of a task management
// function are over and asks for its outcome. It implements target.DevHandler.
func (d *Device) TaskMgmtDone(m *target.MgmtCmd) { d.queueTM(m, StateTMDone) }

// queueTM queues one stage; each has a ucmd of its own (fact 49). Task
// management is never refused for lack of resources (rule R69).
func (d *Device) queueTM(m *target.MgmtCmd, s State) {
	d.mu.Lock()
	if d.cleanupDone {
		d.mu.Unlock()
		if s == StateTMDone {
			m.Done(target.TMFailed)
		}
		return
	}
	u := d.newUcmd(s)
	u.tm = m
	d.addReady(u)
	d.mu.Unlock()
	d.kick()
}

// fillTM writes TM_RECEIVED or TM_DONE. The handle of the command to abort is
// told only if the handler has it now (facts 49, 50). Caller holds mu.
func (d *Device) fillTM(u *Ucmd, s *Subcommand) {
	m := u.tm
	s.SessH = m.Session.Handle()
	s.TMFunc = int32(m.Fn)
	if u.state == StateTMReceived && m.Fn == target.AbortTask && m.TargetTag > 0 {
		if x := d.find(uint32(m.TargetTag - 1)); x != nil && x.cmd != nil && x.sentToUser {
			s.CmdHToAbort = x.h
		}
	}
}

// replyTM takes the answer to a stage; the first one's does not count.
func (d *Device) replyTM(u *Ucmd, state State, result int32) {
	d.mu.Lock()
	m := u.tm
	u.tm = nil
	d.put(u, OwnerCreation)
	d.mu.Unlock()
	if state == StateTMDone {
		m.Done(result)
	}
}
