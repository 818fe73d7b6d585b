package target

import "scstuser/scsi"

// SPC-2 reservations: RESERVE and RELEASE, 6 and 10, of the whole unit. The
// target grants and enforces them; the handler sees the commands too, as on
// the module. A reservation goes with its session, with a reset of the unit
// and with the loss of the nexus (SPC-2 5.5.1).

// checkReservation applies the rules to a command that is about to execute.
// true: it conflicts, and the outcome is set.
func (c *Cmd) checkReservation() bool {
	s, d := c.sess, c.sess.dev
	switch op := c.Op(); op {
	case scsi.OpReserve6, scsi.OpReserve10:
		if d.reservedBy.CompareAndSwap(nil, s) {
			c.reserves = true
			return false
		}
	case scsi.OpRelease6, scsi.OpRelease10:
		// RELEASE by another initiator is GOOD and does nothing.
		d.reservedBy.CompareAndSwap(s, nil)
		return false
	}
	holder := d.reservedBy.Load()
	if holder == nil || holder == s || c.passesReservation() {
		return false
	}
	c.SetStatus(scsi.ReservationConflict)
	return true
}

// reserves: these commands make and end reservations.
func reserves(op scsi.Opcode) bool {
	switch op {
	case scsi.OpReserve6, scsi.OpReserve10, scsi.OpRelease6, scsi.OpRelease10:
		return true
	}
	return false
}

// passesReservation says whether the command is carried out under another
// session's reservation: parse says so, and for some the standard leaves it to
// nobody (SPC-2 5.5.1).
func (c *Cmd) passesReservation() bool {
	switch c.Op() {
	case scsi.OpInquiry, scsi.OpRequestSense, scsi.OpReportLUNs:
		return true
	}
	return c.OpFlags&scsi.OpRegReserveAllowed != 0
}

// settleReservation takes the reservation back from a RESERVE that failed.
func (c *Cmd) settleReservation() {
	if c.reserves && c.Status != scsi.Good {
		c.sess.dev.reservedBy.CompareAndSwap(c.sess, nil)
	}
}
