package nbd

import "scstuser/scsi"

// errnoOf is the error value with which a client hears of how a SCSI command
// ended (nbd.md "NBD to SCSI"). isWrite is true for WRITE and WRITE_ZEROES, to
// which the end of the export is the end of the space (row 20).
//
// BUSY and TASK SET FULL come here only when retrying has not helped.
func errnoOf(status scsi.Status, sense scsi.Sense, isWrite bool) uint32 {
	switch status {
	case scsi.Good, scsi.ConditionMet: // the latter is how PRE-FETCH succeeds
		return errnoNone
	case scsi.CheckCondition:
		return errnoOfSense(sense, isWrite)
	case scsi.Busy, scsi.TaskSetFull:
		return errnoNoMem
	}
	return errnoIO
}

func errnoOfSense(sense scsi.Sense, isWrite bool) uint32 {
	switch {
	case sense.Key == scsi.KeyRecovered && !sense.Deferred:
		// The command did what it was asked to, with some effort (SPC-4, 4.5.6).
		return errnoNone
	case sense.Is(scsi.SenseSpaceAllocFailed):
		// Before DATA PROTECT, whose key it has too.
		return errnoNoSpace
	case sense.Key == scsi.KeyDataProtect:
		return errnoPerm
	case sense.Is(scsi.SenseLBAOutOfRange) && isWrite:
		return errnoNoSpace
	case sense.Is(scsi.SenseLBAOutOfRange),
		sense.Is(scsi.SenseInvalidFieldInCDB),
		sense.Is(scsi.SenseInvalidFieldInParameterList):
		return errnoInval
	case sense.Is(scsi.SenseLUNotSupported):
		return errnoShutdown
	}
	return errnoIO
}
