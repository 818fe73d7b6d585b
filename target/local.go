package target

import (
	"encoding/binary"

	"scstuser/scsi"
)

// reportLUNs answers REPORT LUNS without the handler, which never hears of
// it (fact 23). The nexus has one logical unit. false: not answered here.
func (s *Session) reportLUNs(c *Cmd) bool {
	cdb := c.CDB()
	if len(cdb) < 12 {
		return false
	}
	alloc := binary.BigEndian.Uint32(cdb[6:10])
	c.completed = true
	if alloc < 16 {
		c.SetSense(scsi.SenseInvalidFieldInCDB) // SPC-4 6.33
		c.run()
		return true
	}
	c.Buf = make([]byte, 16)
	binary.BigEndian.PutUint32(c.Buf, 8)
	// Single level LUN structure, peripheral addressing (SAM-5 4.7.7.2) up
	// to 255, flat space addressing beyond.
	lun := uint16(s.Info.LUN)
	if s.Info.LUN > 255 {
		lun = lun&0x3fff | 0x4000
	}
	binary.BigEndian.PutUint16(c.Buf[8:], lun)
	c.Dir, c.BufLen, c.RespLen = scsi.DirRead, 16, 16
	c.run()
	return true
}

// checkReservation applies SPC-2 reservations (RESERVE and RELEASE 6 and 10,
// whole unit). true: the outcome is set. The handler sees the commands too,
// as on the module.
func (s *Session) checkReservation(c *Cmd) bool {
	d := s.dev
	op := c.Op()
	switch op {
	case scsi.OpReserve6, scsi.OpReserve10:
		if d.reservedBy.CompareAndSwap(nil, s) || d.reservedBy.Load() == s {
			return false
		}
	case scsi.OpRelease6, scsi.OpRelease10:
		// RELEASE by another initiator is GOOD and does nothing.
		d.reservedBy.CompareAndSwap(s, nil)
		return false
	case scsi.OpInquiry, scsi.OpRequestSense, scsi.OpReportLUNs:
		return false
	default:
		if r := d.reservedBy.Load(); r == nil || r == s {
			return false
		}
	}
	c.SetStatus(scsi.ReservationConflict)
	return true
}
