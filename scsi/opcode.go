package scsi

import "fmt"

// Opcode is the first byte of a CDB.
type Opcode uint8

// The operation codes that table.go describes (SPC-4, SBC-3).
const (
	OpTestUnitReady        Opcode = 0x00
	OpRequestSense         Opcode = 0x03
	OpFormatUnit           Opcode = 0x04
	OpRead6                Opcode = 0x08
	OpWrite6               Opcode = 0x0A
	OpInquiry              Opcode = 0x12
	OpModeSelect6          Opcode = 0x15
	OpReserve6             Opcode = 0x16
	OpRelease6             Opcode = 0x17
	OpModeSense6           Opcode = 0x1A
	OpStartStop            Opcode = 0x1B
	OpSendDiagnostic       Opcode = 0x1D
	OpPreventAllowRemoval  Opcode = 0x1E
	OpReadCapacity10       Opcode = 0x25
	OpRead10               Opcode = 0x28
	OpWrite10              Opcode = 0x2A
	OpWriteVerify10        Opcode = 0x2E
	OpVerify10             Opcode = 0x2F
	OpPreFetch10           Opcode = 0x34
	OpSyncCache10          Opcode = 0x35
	OpWriteSame10          Opcode = 0x41
	OpUnmap                Opcode = 0x42
	OpLogSense             Opcode = 0x4D
	OpModeSelect10         Opcode = 0x55
	OpReserve10            Opcode = 0x56
	OpRelease10            Opcode = 0x57
	OpModeSense10          Opcode = 0x5A
	OpPersistentReserveIn  Opcode = 0x5E
	OpPersistentReserveOut Opcode = 0x5F
	OpRead16               Opcode = 0x88
	OpCompareAndWrite      Opcode = 0x89
	OpWrite16              Opcode = 0x8A
	OpWriteVerify16        Opcode = 0x8E
	OpVerify16             Opcode = 0x8F
	OpPreFetch16           Opcode = 0x90
	OpSyncCache16          Opcode = 0x91
	OpWriteSame16          Opcode = 0x93
	OpServiceActionIn16    Opcode = 0x9E
	OpReportLUNs           Opcode = 0xA0
	OpMaintenanceIn        Opcode = 0xA3
	OpRead12               Opcode = 0xA8
	OpWrite12              Opcode = 0xAA
	OpWriteVerify12        Opcode = 0xAE
	OpVerify12             Opcode = 0xAF
)

// Service actions.
const (
	SAReadCapacity16         = 0x10 // of OpServiceActionIn16
	SAGetLBAStatus           = 0x12 // of OpServiceActionIn16
	SAReportSupportedOpcodes = 0x0C // of OpMaintenanceIn
	SAReportSupportedTMFs    = 0x0D // of OpMaintenanceIn
)

// String returns the standard's name, "OPCODE 0xNN" for one that table.go does
// not describe.
func (o Opcode) String() string {
	if r := &rows[o]; r.name != "" {
		return r.name
	}
	return fmt.Sprintf("OPCODE %#02x", uint8(o))
}

// CDBLen returns how many bytes a CDB with this operation code has, by the
// code's group (SPC-4, 4.2.5): 6, 10, 12, 16; 0 for the groups of variable
// length, reserved and vendor specific codes.
func CDBLen(op Opcode) int {
	switch op >> 5 {
	case 0:
		return 6
	case 1, 2:
		return 10
	case 4:
		return 16
	case 5:
		return 12
	}
	return 0
}
