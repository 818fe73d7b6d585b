package target

import "scstuser/scsi"

// internalCmd is a command of the target's own, done for the sake of parent.
type internalCmd struct {
	cmd    Cmd
	parent *Cmd
	// fill puts the data of a write into the buffer.
	fill func(buf []byte)
	// over is called once, when the command is finished and forgotten.
	over func(i *internalCmd)
	// What over wants to know, taken before the buffer goes back.
	status scsi.Status
	data   []byte
	sense  []byte
}

// submitInternal starts i on the parent's session. It does not wait at the
// door (its parent is past it) nor for its turn (its parent has it).
func (s *Session) submitInternal(i *internalCmd, cdb []byte) {
	c := &i.cmd
	c.Init(cdb, scsi.QueueHeadOfQueue)
	c.Front = i
	c.internal = true
	c.sess = s
	c.state = stateParse
	s.mu.Lock()
	s.link(c)
	s.active++
	c.isActive = true
	s.mu.Unlock()
	c.run()
}

// internalFront takes the responses of internal commands.
type internalFront struct{}

var _ Frontend = (*internalFront)(nil)

func (*internalFront) RdyToXfer(c *Cmd) Verdict {
	c.Front.(*internalCmd).fill(c.Buf[:c.BufLen])
	return Continue
}

func (*internalFront) XmitResponse(c *Cmd) {
	i := c.Front.(*internalCmd)
	i.status = c.Status
	i.data = append([]byte(nil), c.Data()...)
	i.sense = append([]byte(nil), c.Sense()...)
	c.Delivered(Delivered)
}

func (*internalFront) Freed(c *Cmd) {
	i := c.Front.(*internalCmd)
	i.over(i)
}

func (*internalFront) AEN(*Session, UnitAttention) bool { return false }
func (*internalFront) SessionGone(*Session)             {}
func (*internalFront) TMDone(*MgmtCmd)                  {}

// askSense fetches the sense that a CHECK CONDITION came without, with one
// REQUEST SENSE to the handler. It asks once: a handler that fails that too is
// not asked again (fact 38). true: c goes on when the answer is there.
func (c *Cmd) askSense() bool {
	if c.Status != scsi.CheckCondition || c.senseLen != 0 || c.internal || c.senseAsked || c.completed {
		return false
	}
	c.senseAsked = true
	respLen := c.RespLen
	i := &internalCmd{parent: c, over: func(i *internalCmd) {
		c := i.parent
		if _, err := scsi.ParseSense(i.data); i.status == scsi.Good && err == nil {
			c.SetSenseBytes(i.data)
		} else {
			c.SetSense(scsi.SenseHardwareInternalFailure)
		}
		c.RespLen = respLen
		c.run()
	}}
	c.sess.submitInternal(i, []byte{byte(scsi.OpRequestSense), 0, 0, 0, MaxSense, 0})
	return true
}
