package nbd

import "scstuser/scsi"

// failWithSense sets the error of a request whose SCSI command did not go well,
// if it did not. A client that can be told is told what the device said, and
// where, if the device said where.
func (r *request) failWithSense(status scsi.Status, sense scsi.Sense) {
	r.errno = errnoOf(status, sense, r.h.typ == cmdWrite || r.h.typ == cmdWriteZeroes)
	if r.errno == errnoNone || r.c.mode == modeSimple {
		return
	}
	if status != scsi.CheckCondition {
		r.why = "the device answered " + status.String()
		return
	}
	r.why = "the device reported " + sense.String()
	if !sense.InfoValid || sense.Key != scsi.KeyMediumError {
		return
	}
	// INFORMATION is the first block that was not transferred.
	block := uint64(r.c.exp.blockSize)
	end := r.h.offset + r.h.length
	if sense.Info >= r.h.offset/block && sense.Info < (end+block-1)/block {
		r.located, r.errorAt = true, max(sense.Info*block, r.h.offset)
	}
}
