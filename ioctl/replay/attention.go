package replay

import "scstuser/scsi"

// tellsNobody says whether the session that w attaches was told of no unit
// attention, although every session begins with one (POWER ON): its first command
// that heeds them went through to the handler, and no handle is missing before
// it, which would be one that the host answered with UNIT ATTENTION by itself.
// Such an initiator takes attentions as events, as NBD clients and the file lun
// do.
//
// It has to be known beforehand. A command that the handler parses, or gives a
// buffer for, before its EXEC can't be sent again without the handler's seeing
// it twice.
func (d *devicePlan) tellsNobody(w *want) bool {
	after := false
	for _, x := range d.order {
		switch {
		case x == w:
			after = true
		case !after:
		case x.kind == wantHidden:
			return false
		case x.kind == wantDetach && x.sess == w.sess:
			return false // no command shows it
		case x.kind == wantCommand && x.sess == w.sess && heedsAttentions(x.cdb):
			return x.exec
		}
	}
	return false
}

// heedsAttentions says whether a command ends with a unit attention that waits
// (SPC-4 5.14).
func heedsAttentions(cdb []byte) bool {
	if len(cdb) == 0 {
		return false
	}
	switch scsi.Opcode(cdb[0]) {
	case scsi.OpInquiry, scsi.OpReportLUNs, scsi.OpRequestSense:
		return false
	}
	return true
}
