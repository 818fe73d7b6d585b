package target

import (
	"testing"

	"scstuser/scsi"
)

// failWithoutSense answers CHECK CONDITION without sense, and REQUEST SENSE as
// sense does.
func failWithoutSense(r *rig, sense func(c *Cmd)) (asked *int) {
	asked = new(int)
	r.h.exec = func(c *Cmd) {
		if c.Op() == scsi.OpRequestSense {
			*asked++
			sense(c)
			return
		}
		c.SetStatus(scsi.CheckCondition)
		if c.Dir == scsi.DirRead {
			c.RespLen = c.BufLen
		}
		c.Done()
	}
	return asked
}

// TestFact38SenseIsAskedOnce: the handler is asked for missing sense with one
// REQUEST SENSE; what it says goes to the initiator, and a failure of that
// ends the matter.
func TestFact38SenseIsAskedOnce(t *testing.T) {
	for _, k := range []struct {
		name  string
		sense func(c *Cmd)
		want  scsi.Sense
	}{
		{"fixed", func(c *Cmd) {
			c.RespLen = int32(copy(c.Buf, scsi.SenseReadError.AppendFixed(nil)))
			c.Done()
		}, scsi.SenseReadError},
		{"descriptor", func(c *Cmd) {
			c.RespLen = int32(copy(c.Buf, scsi.SenseReadError.AppendDescriptor(nil)))
			c.Done()
		}, scsi.SenseReadError},
		{"garbage", func(c *Cmd) { c.RespLen = int32(copy(c.Buf, "garbage")); c.Done() }, scsi.SenseHardwareInternalFailure},
		{"nothing", func(c *Cmd) { c.Done() }, scsi.SenseHardwareInternalFailure},
		{"too long", func(c *Cmd) { c.RespLen = 1 << 20; c.Done() }, scsi.SenseHardwareInternalFailure},
		{"no sense again", func(c *Cmd) { c.SetStatus(scsi.CheckCondition); c.Done() }, scsi.SenseHardwareInternalFailure},
		{"busy", func(c *Cmd) { c.SetStatus(scsi.Busy); c.Done() }, scsi.SenseHardwareInternalFailure},
	} {
		t.Run(k.name, func(t *testing.T) {
			r := newRig(t, Options{})
			asked := failWithoutSense(r, k.sense)
			c := r.submit(1, cdbRead)
			endedWith(t, c, k.want)
			if *asked != 1 {
				t.Errorf("asked %d times", *asked)
			}
			if c.RespLen != 512 {
				t.Errorf("response of %d bytes: the data of fact 39 is lost", c.RespLen)
			}
			r.took("parse 1", "exec 1", "parse 0", "exec 0", "free 0", "free 1")
		})
	}
}

// TestSenseIsAskedLater: the command waits for the answer, aborts included.
func TestSenseIsAskedLater(t *testing.T) {
	r := newRig(t, Options{})
	var child *Cmd
	failWithoutSense(r, func(c *Cmd) { child = c })
	c := r.submit(1, cdbNone)
	m := r.tm(AbortTask, 1)
	r.notOver(m)
	r.responses()
	finish(child)
	r.over(m, TMSuccess)
	r.responses(1)
	ended(t, c, scsi.CheckCondition)
}

// TestSenseIsNotAsked where there is some, or where the target itself ended
// the command.
func TestSenseIsNotAsked(t *testing.T) {
	r := newRig(t, Options{})
	asked := failWithoutSense(r, finish)
	r.h.parse = func(c *Cmd) Verdict {
		c.SetStatus(scsi.CheckCondition) // as a PARSE reply without sense may
		c.Complete()
		return Continue
	}
	ended(t, r.submit(1, cdbNone), scsi.CheckCondition)
	r.h.parse = nil
	r.h.exec = func(c *Cmd) { c.SetSense(scsi.SenseWriteError); c.Done() }
	endedWith(t, r.submit(2, cdbNone), scsi.SenseWriteError)
	if *asked != 0 {
		t.Errorf("asked %d times", *asked)
	}
}

// TestI7ParseOfInternalCommands: a handler's parse may claim that REQUEST SENSE
// sends data, or has none.
func TestI7ParseOfInternalCommands(t *testing.T) {
	for _, dir := range []scsi.Dir{scsi.DirWrite, scsi.DirBidi, scsi.DirNone} {
		r := newRig(t, Options{})
		r.h.parse = func(c *Cmd) Verdict {
			parseSBC(c)
			if c.internal {
				c.Dir, c.BufLen = dir, 100
				if dir == scsi.DirBidi {
					c.OutBufLen = 50
				}
			}
			return Continue
		}
		failWithoutSense(r, finish)
		endedWith(t, r.submit(1, cdbNone), scsi.SenseHardwareInternalFailure)
	}
}

// TestInternalFrontIsNobodysSession: it takes no events.
func TestInternalFrontIsNobodysSession(t *testing.T) {
	var f *internalFront
	if f.AEN(nil, scsi.SenseCapacityChanged) {
		t.Error("it takes events")
	}
	f.SessionGone(nil)
	f.TMDone(nil)
}
