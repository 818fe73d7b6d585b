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
		result := d.lostTM()
		d.mu.Unlock()
		if s == StateTMDone {
			m.Done(result)
		}
		return
	}
	u := d.newUcmd(s)
	u.tm, u.since = m, target.Now()
	d.addReady(u)
	d.kickUnlock()
}

// fillTM writes TM_RECEIVED or TM_DONE. The handle of the command to abort is
// told only if the handler has it now (facts 49, 50); 0 is no handle here.
// Caller holds mu.
func (d *Device) fillTM(u *Ucmd, s *Subcommand) {
	m := u.tm
	s.SessH = m.Session.Handle()
	s.TMFunc = int32(m.Fn)
	if u.state == StateTMReceived && m.Fn == target.AbortTask && m.TargetTag > 0 {
		x := d.find(uint32(m.TargetTag - 1))
		if x != nil && x.cmd != nil && x.sentToUser && x.cmd.Aborted() {
			s.CmdHToAbort = x.h
		}
	}
}

// replyTM takes the answer to a stage; the first one's does not count. Caller
// holds mu, which is released and taken again meanwhile; u may be gone then.
func (d *Device) replyTM(u *Ucmd, result int32) {
	m, over := u.tm, u.state == StateTMDone
	u.tm = nil
	d.put(u, OwnerCreation)
	if over {
		d.mu.Unlock()
		m.Done(result)
		d.mu.Lock()
	}
}
