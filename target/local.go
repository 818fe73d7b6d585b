package target

import (
	"encoding/binary"

	"scstuser/scsi"
)

// answerLocally answers REPORT LUNS, which the handler never hears of (fact
// 23). The nexus has one logical unit. false: the handler's command.
func (c *Cmd) answerLocally() bool {
	if c.Op() != scsi.OpReportLUNs || c.cdbLen == 0 || c.internal {
		return false
	}
	c.completed = true
	cdb := c.CDB()
	if len(cdb) < scsi.CDBLen(scsi.OpReportLUNs) {
		c.SetSense(scsi.SenseInvalidFieldInCDB)
		return true
	}
	var luns []uint64
	switch cdb[2] {
	case 0, 2: // all, or all but well known ones: there are none of those
		luns = []uint64{lunAddress(c.sess.Info.LUN)}
	case 1: // well known ones
	default:
		c.SetSense(scsi.SenseInvalidFieldInCDB.AtCDB(2, 7))
		return true
	}
	if binary.BigEndian.Uint32(cdb[6:]) < 16 {
		c.SetSense(scsi.SenseInvalidFieldInCDB.AtCDB(6, 7)) // SPC-4 6.33
		return true
	}
	c.Buf = scsi.AppendReportLUNs(nil, luns...)
	n := int32(len(c.Buf))
	c.Dir, c.DataLen, c.BufLen, c.RespLen = scsi.DirRead, int64(n), n, n
	return true
}

// lunAddress encodes a LUN: single level, peripheral device addressing up to
// 255, flat space addressing beyond (SAM-5 4.7.7).
func lunAddress(lun uint64) uint64 {
	if lun > 0xff {
		lun = lun&0x3fff | 0x4000
	}
	return lun << 48
}
