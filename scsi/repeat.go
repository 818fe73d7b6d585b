package scsi

// repeatable lists the commands that may be carried out a second time, from
// their start, when nobody knows how far the first time went. They come in
// three kinds; what is not listed, unknown opcodes included, is refused: it
// may have changed something that a repetition would find changed (RESERVE,
// MODE SELECT, COMPARE AND WRITE, which would miscompare with its own data,
// EXTENDED COPY, whose segments may overlap, PERSISTENT RESERVE OUT).
var repeatable = [256]bool{
	// They only look (SPC-4 6, SBC-3 5): INQUIRY, MODE SENSE, LOG SENSE, PR IN,
	// the reports of MAINTENANCE IN. REQUEST SENSE may return sense data once
	// only, but a handler that is gone has taken that with it.
	OpTestUnitReady: true, OpRequestSense: true, OpInquiry: true, OpModeSense6: true, OpModeSense10: true,
	OpLogSense: true, OpReadCapacity10: true, OpReportLUNs: true, OpMaintenanceIn: true, OpPersistentReserveIn: true,
	OpRead6: true, OpRead10: true, OpRead12: true, OpRead16: true,
	OpVerify10: true, OpVerify12: true, OpVerify16: true, OpPreFetch10: true, OpPreFetch16: true,

	// They leave the same data in the same blocks, however often (SBC-3 4.4:
	// until a write command has ended its blocks may have the old or the new
	// content). Force unit access changes nothing about that. What an
	// unmapped block reads as is as undefined as after the first UNMAP.
	OpWrite6: true, OpWrite10: true, OpWrite12: true, OpWrite16: true,
	OpWriteVerify10: true, OpWriteVerify12: true, OpWriteVerify16: true,
	OpWriteSame10: true, OpWriteSame16: true, OpUnmap: true,

	// They ask for a state that has no history: all is on the medium, the
	// unit is started (SBC-3 5.18 to 5.20, 5.25).
	OpSyncCache10: true, OpSyncCache16: true, OpStartStop: true,
}

// Repeatable says whether a command may be carried out again, from its start,
// after an attempt of which nobody knows how far it got.
func Repeatable(cdb []byte) bool {
	if len(cdb) == 0 {
		return true // TEST UNIT READY
	}
	if op := Opcode(cdb[0]); op != OpServiceActionIn16 {
		return repeatable[op]
	}
	// Reports, but not all of the service actions are known to be.
	if len(cdb) < 2 {
		return false
	}
	sa := cdb[1] & 0x1f
	return sa == SAReadCapacity16 || sa == SAGetLBAStatus
}
