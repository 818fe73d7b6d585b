package disk

import (
	"scstuser/handlers"
	"scstuser/scsi"
)

// testUnitReady is TEST UNIT READY: begin has looked at the unit.
func (d *Disk) testUnitReady(*handlers.Request, scsi.Command) {}

// reservation is RESERVE and RELEASE 6 and 10. The target grants and enforces
// reservations; the handler hears of them and agrees, as SCST's does.
func (d *Disk) reservation(*handlers.Request, scsi.Command) {}

// preventAllowRemoval is PREVENT ALLOW MEDIUM REMOVAL of a medium that can't be
// removed anyway.
func (d *Disk) preventAllowRemoval(*handlers.Request, scsi.Command) {}

// requestSense is REQUEST SENSE. Sense goes with the status it belongs to, so
// what is left to tell is whether the unit is stopped.
func (d *Disk) requestSense(r *handlers.Request, c scsi.Command) {
	s := scsi.SenseNone
	if d.has(stateStopped) {
		s = scsi.SenseNotReady
	}
	var b [scsi.MaxSenseLen]byte
	answer(r, s.Append(b[:0], c.Desc), c.AllocLen)
}

// startStop is START STOP UNIT. A stopped unit has synced its cache and refuses
// media access until it is started. IMMED does not make the answer come earlier.
func (d *Disk) startStop(r *handlers.Request, c scsi.Command) {
	switch {
	case c.PowerCond != 0: // no power conditions
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(4, 7))
		return
	case c.LoEj: // not removable
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(4, 1))
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.Start {
		d.state.And(^stateStopped)
		return
	}
	was := d.state.Or(stateStopped)
	if c.NoFlush {
		return
	}
	if s, ok := d.syncSense(d.sync()); !ok {
		d.state.Store(was)
		r.Fail(s)
	}
}
