package target

import "scstuser/scsi"

// internalCmd is a command of the target's own, done for the sake of parent.
type internalCmd struct {
	cmd    Cmd
	parent *Cmd
	// fill puts the data of a write into the buffer.
	fill func(buf []byte)
	// over is called once, when the command is finished and forgotten: it
	// may submit i again.
	over func()
	// What over wants to know, taken before the buffer goes back.
	status scsi.Status
	data   []byte
	sense  []byte
	// lost: the handler gave the command back. It is not repeated; its parent
	// is, from its start.
	lost bool
}

// submitInternal starts i on the parent's session. It does not wait at the
// door nor for its turn: its parent is past both, and is active as long as it
// has commands of its own, so they need not be counted as such. So the task
// attribute is only what the handler sees, and where its EXEC is queued (R32).
func (s *Session) submitInternal(i *internalCmd, cdb []byte, q scsi.QueueType) {
	i.lost = false
	c := &i.cmd
	c.Init(cdb, q)
	c.Front = i
	c.internal = true
	c.sess = s
	c.state = stateParse
	c.started = Now()
	s.mu.Lock()
	s.link(c)
	s.mu.Unlock()
	c.run()
}

// internalFront takes the responses of internal commands.
type internalFront struct{}

var _ Frontend = (*internalFront)(nil)

// RdyToXfer implements Frontend. A handler's parse may want data for any
// command; what has none sends zeroes.
func (*internalFront) RdyToXfer(c *Cmd) Verdict {
	buf := c.Buf[:c.BufLen]
	if c.Dir == scsi.DirBidi {
		buf = c.OutBuf[:c.OutBufLen]
	}
	if fill := c.Front.(*internalCmd).fill; fill != nil {
		fill(buf)
	} else {
		clear(buf)
	}
	return Continue
}

// XmitResponse implements Frontend.
func (*internalFront) XmitResponse(c *Cmd) {
	i := c.Front.(*internalCmd)
	i.status = c.Status
	i.data = append([]byte(nil), c.Data()...)
	i.sense = append([]byte(nil), c.Sense()...)
	c.Delivered(Delivered)
}

// Freed implements Frontend.
func (*internalFront) Freed(c *Cmd) { c.Front.(*internalCmd).over() }

// AEN implements Frontend; it is the session's front end that is asked.
func (*internalFront) AEN(*Session, UnitAttention) bool { return false }

// SessionGone implements Frontend.
func (*internalFront) SessionGone(*Session) {}

// TMDone implements Frontend.
func (*internalFront) TMDone(*MgmtCmd) {}

// askSense fetches the sense that a CHECK CONDITION came without, with one
// REQUEST SENSE to the handler. It asks once: a handler that fails that too
// gets sense put into its mouth (fact 38). true: c goes on when the answer is
// there.
func (c *Cmd) askSense() bool {
	if c.Status != scsi.CheckCondition || c.senseLen != 0 || c.internal || c.completed {
		return false
	}
	respLen := c.RespLen
	i := &internalCmd{parent: c}
	i.over = func() {
		if i.lost && scsi.Repeatable(c.CDB()) {
			c.Retry()
			return
		}
		if _, err := scsi.ParseSense(i.data); i.status == scsi.Good && err == nil {
			c.SetSenseBytes(i.data)
		} else {
			c.SetSense(scsi.SenseHardwareInternalFailure)
		}
		c.RespLen = respLen
		c.run()
	}
	cdb := scsi.EncodeRequestSense(false, MaxSense)
	c.sess.submitInternal(i, cdb.Slice(), scsi.QueueHeadOfQueue)
	return true
}
