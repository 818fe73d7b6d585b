package nbd

import (
	"testing"

	"pgregory.net/rapid"

	"scstuser/scsi"
)

func TestSenseToErrno(t *testing.T) {
	for _, tc := range []struct {
		name        string
		status      scsi.Status
		sense       scsi.Sense
		read, write uint32
	}{
		{"GOOD", scsi.Good, scsi.SenseNone, 0, 0},
		{"GOOD with stale sense", scsi.Good, scsi.SenseLUNotSupported, 0, 0},
		{"CONDITION MET", scsi.ConditionMet, scsi.SenseNone, 0, 0},
		{"recovered error", scsi.CheckCondition, scsi.Sense{Key: scsi.KeyRecovered, ASC: 0x1700}, 0, 0},
		{"an earlier command recovered", scsi.CheckCondition, scsi.Sense{Key: scsi.KeyRecovered, ASC: 0x1700, Deferred: true}, 5, 5},
		{"WRITE PROTECTED", scsi.CheckCondition, scsi.SenseWriteProtected, 1, 1},
		{"other DATA PROTECT", scsi.CheckCondition, scsi.Sense{Key: scsi.KeyDataProtect, ASC: 0x2702}, 1, 1},
		{"SPACE ALLOCATION FAILED", scsi.CheckCondition, scsi.SenseSpaceAllocFailed, 28, 28},
		{"LBA OUT OF RANGE", scsi.CheckCondition, scsi.SenseLBAOutOfRange, 22, 28},
		{"LBA OUT OF RANGE that says where", scsi.CheckCondition, scsi.SenseLBAOutOfRange.WithInfo(99), 22, 28},
		{"INVALID FIELD IN CDB", scsi.CheckCondition, scsi.SenseInvalidFieldInCDB, 22, 22},
		{"INVALID FIELD IN CDB that says where", scsi.CheckCondition, scsi.SenseInvalidFieldInCDB.AtCDB(2, 3), 22, 22},
		{"INVALID FIELD IN PARAMETER LIST", scsi.CheckCondition, scsi.SenseInvalidFieldInParameterList, 22, 22},
		{"LUN NOT SUPPORTED", scsi.CheckCondition, scsi.SenseLUNotSupported, 108, 108},
		{"read error", scsi.CheckCondition, scsi.SenseReadError, 5, 5},
		{"write error", scsi.CheckCondition, scsi.SenseWriteError, 5, 5},
		{"hardware error", scsi.CheckCondition, scsi.SenseHardwareInternalFailure, 5, 5},
		{"not ready", scsi.CheckCondition, scsi.SenseNotReady, 5, 5},
		{"invalid opcode", scsi.CheckCondition, scsi.SenseInvalidOpcode, 5, 5},
		{"unit attention", scsi.CheckCondition, scsi.SenseCapacityChanged, 5, 5},
		{"no sense", scsi.CheckCondition, scsi.SenseNone, 5, 5},
		{"BUSY", scsi.Busy, scsi.SenseNone, 12, 12},
		{"TASK SET FULL", scsi.TaskSetFull, scsi.SenseNone, 12, 12},
		{"RESERVATION CONFLICT", scsi.ReservationConflict, scsi.SenseNone, 5, 5},
		{"TASK ABORTED", scsi.TaskAborted, scsi.SenseNone, 5, 5},
		{"a status that does not exist", scsi.Status(0x7e), scsi.SenseNone, 5, 5},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := errnoOf(tc.status, tc.sense, false); got != tc.read {
				t.Errorf("read: %d, want %d", got, tc.read)
			}
			if got := errnoOf(tc.status, tc.sense, true); got != tc.write {
				t.Errorf("write: %d, want %d", got, tc.write)
			}
		})
	}
}

// Whatever a handler answers, the client hears a value that the protocol has,
// and never success unless the command succeeded. EOVERFLOW and ENOTSUP have
// meanings of their own, which sense data can't have (row 20).
func TestSenseToErrnoStaysInTheProtocol(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		status := scsi.Status(rapid.Uint8().Draw(t, "status"))
		sense := scsi.Sense{
			Key:      scsi.SenseKey(rapid.Uint8Range(0, 15).Draw(t, "key")),
			ASC:      scsi.ASC(rapid.Uint16().Draw(t, "asc")),
			Deferred: rapid.Bool().Draw(t, "deferred"),
		}
		switch got := errnoOf(status, sense, rapid.Bool().Draw(t, "isWrite")); got {
		case errnoPerm, errnoIO, errnoNoMem, errnoInval, errnoNoSpace, errnoShutdown:
		case errnoNone:
			if status != scsi.Good && status != scsi.ConditionMet && sense.Key != scsi.KeyRecovered {
				t.Errorf("%v with %v counts as success", status, sense)
			}
		default:
			t.Errorf("%v with %v: %d", status, sense, got)
		}
	})
}
