package target

import "scstuser/scsi"

// Retry gives a command back that its handler will not carry out any more,
// because it is gone: in place of ParseDone, AllocDone, AbnormalDone or Done,
// by whoever would call those. The handler's OnFree comes before Retry
// returns, and the command then is what it was when it was submitted, except
// that the initiator's data, if it has come, is kept, in memory of its own:
// the front end is not asked a second time. It waits at the door of its
// session, among the commands there in the order of submission, for the next
// handler (Device.Adopt), and runs again from parse. One that was aborted
// meanwhile, or whose session is gone, ends instead.
//
// A command of the target's own is not repeated: its parent is, if it may be
// (scsi.Repeatable).
func (c *Cmd) Retry() {
	if c.internal {
		c.Front.(*internalCmd).lost = true
		c.SetStatus(scsi.Busy)
		c.Done()
		return
	}
	c.keepPayload()
	if c.parsed {
		c.handler.OnFree(c)
	}
	c.reset()
	c.repeats++
	c.sess.takeBack(c)
}

// Repeats returns how often the command was given back.
func (c *Cmd) Repeats() int { return c.repeats }

// keepPayload copies the initiator's data out of the handler's buffer.
func (c *Cmd) keepPayload() {
	if !c.received || c.kept != nil || !c.takesData() {
		return
	}
	c.kept = append([]byte(nil), c.outData()...)
}

// restorePayload gives the handler the data that was kept. One that parses the
// command so that it needs more than the initiator was asked for can't have it.
func (c *Cmd) restorePayload() {
	buf := c.outData()
	if len(buf) > len(c.kept) {
		c.SetSense(scsi.SenseHardwareInternalFailure)
		c.Complete()
		return
	}
	copy(buf, c.kept)
}

// outData is where the initiator's data goes.
func (c *Cmd) outData() []byte {
	if c.Dir == scsi.DirBidi {
		return c.OutBuf[:c.OutBufLen]
	}
	return c.Buf[:c.BufLen]
}

// reset undoes what happened since submission. The task attribute is changed
// back by takeBack, under the lock.
func (c *Cmd) reset() {
	if c.reserves { // checked, but never carried out
		c.sess.dev.reservedBy.CompareAndSwap(c.sess, nil)
	}
	c.Priv = nil
	c.DevTag.Store(0)
	c.Dir, c.LBA, c.DataLen, c.BufLen, c.OutBufLen = scsi.DirNone, 0, 0, 0, 0
	c.Timeout, c.OpFlags = 0, 0
	c.Buf, c.OutBuf = nil, nil
	c.SetStatus(scsi.Good)
	c.completed, c.parsed, c.reserves = false, false, false
	c.handler = nil
	c.cdbLen = c.askedLen
	c.state = stateParse
}

// takeBack puts a command that was given back to the others that wait at the
// door; they are sorted before it opens.
func (s *Session) takeBack(c *Cmd) {
	s.mu.Lock()
	c.QueueType = c.askedQueue
	s.countSpecial(c)
	s.deactivate(c)
	ends := c.aborted.Load() || s.gone.Load()
	if !ends && s.shutOrBusy() {
		s.held.push(c)
		s.unsorted = true
		s.mu.Unlock()
		return
	}
	if !ends {
		s.activate(c) // there is a successor already
	}
	ready := s.takeReady()
	s.mu.Unlock()
	c.run()
	ready.run()
}
