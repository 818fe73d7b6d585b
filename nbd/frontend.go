package nbd

import (
	"scstuser/scsi"
	"scstuser/target"
)

// The methods of target.Frontend. They are called on whatever goroutine moves
// the command, without any lock, and do not wait.

// RdyToXfer implements target.Frontend: the command's buffer can take data.
func (c *conn) RdyToXfer(cmd *target.Cmd) target.Verdict {
	r := cmd.Front.(*request)
	switch n := int(cmd.BufLen); {
	case n == 0 || n != r.takes(n) || n > len(cmd.Buf):
		// The handler's parse has an idea of its own of this command.
		cmd.SetSense(scsi.SenseHardwareInternalFailure)
		cmd.Complete()
		return target.Continue
	case r.fill(cmd.Buf[:n]):
		r.taken = true
		return target.Continue
	}
	r.taken = true
	c.setPhase(r, phaseBuffer)
	return target.Stop
}

// XmitResponse implements target.Frontend: the command is over.
func (c *conn) XmitResponse(cmd *target.Cmd) {
	r := cmd.Front.(*request)
	// No lock: only this side changes the phase, once the command is out.
	if r.phase == phaseSubmitted {
		c.setPhase(r, phaseEnded)
		return
	}
	over, wait := r.outcome()
	if !over {
		r.again(wait)
		return
	}
	c.answer(r)
}

// Freed implements target.Frontend.
func (c *conn) Freed(cmd *target.Cmd) {
	r := cmd.Front.(*request)
	if r.rerun {
		r.runAgain()
		return
	}
	c.finish(r)
}

// AEN implements target.Frontend: an NBD client can't be told of unit
// attentions, and need not: a grown export is seen by the next client (row 28).
func (c *conn) AEN(*target.Session, target.UnitAttention) bool { return true }

// SessionGone implements target.Frontend: the device is being released. New
// commands fail with LOGICAL UNIT NOT SUPPORTED, which is ESHUTDOWN here.
func (c *conn) SessionGone(*target.Session) { c.leave() }

// TMDone implements target.Frontend; connections send no task management.
func (c *conn) TMDone(*target.MgmtCmd) {}
