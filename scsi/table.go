package scsi

// fieldID names one member of Command that a CDB field fills.
type fieldID uint8

const (
	fControl fieldID = iota
	fLBA
	fBlocks
	fAllocLen
	fParamLen
	fServiceAction
	fProtect
	fGroup
	fDPO
	fFUA
	fRARC
	fBytChk
	fUnmap
	fAnchor
	fNDOB
	fImmed
	fEVPD
	fPage
	fSubPage
	fPC
	fDBD
	fLLBAA
	fPF
	fSP
	fStart
	fLoEj
	fNoFlush
	fPowerCond
	fPowerCondMod
	fRCTD
	fReportingOptions
	fReqOpcode
	fReqSA
	fDesc
	fSelectReport
	fPrevent
	fScopeType
)

// field places a member in a CDB: an unsigned big-endian integer of width bits
// whose least significant bit is bit `shift` of the last byte that it touches;
// `at` is the first byte.
type field struct {
	id    fieldID
	at    uint8
	shift uint8
	width uint8
}

// bytes returns how many bytes the field touches.
func (f field) bytes() int { return (int(f.shift) + int(f.width) + 7) / 8 }

func flag(id fieldID, at, bit uint8) field { return field{id, at, bit, 1} }
func u8(id fieldID, at uint8) field        { return field{id, at, 0, 8} }
func u16(id fieldID, at uint8) field       { return field{id, at, 0, 16} }
func u32(id fieldID, at uint8) field       { return field{id, at, 0, 32} }
func u64(id fieldID, at uint8) field       { return field{id, at, 0, 64} }

// lenKind says how a command's buffer and medium lengths come from its fields.
type lenKind uint8

const (
	lenNone         lenKind = iota // nothing transferred, no range
	lenAlloc                       // buffer: AllocLen bytes
	lenParam                       // buffer: ParamLen bytes
	lenFixed8                      // buffer: 8 bytes (READ CAPACITY(10))
	lenBlocks                      // buffer and medium: Blocks blocks
	lenRange                       // medium: Blocks blocks; no buffer
	lenVerify                      // medium: Blocks blocks; buffer by BYTCHK
	lenWriteSame                   // medium: Blocks blocks; buffer one block, none with NDOB
	lenCompareWrite                // medium: Blocks blocks; buffer twice that
)

// row is what the table knows of one operation code or service action.
type row struct {
	name string
	// fields are in the order in which a reader of the standard meets them.
	fields []field
	dir    Dir
	length lenKind
	// timeout is in seconds.
	timeout int32
	// flags are the Op constants.
	flags uint32
	// actions is set when the code has service actions; then the rest of
	// the row, but for the name, is unused.
	actions []action
}

type action struct {
	sa uint8
	row
}

// Timeouts of the standard parser, in seconds (fact 42).
const (
	timeoutSmall   = 10
	timeoutRegular = 60
	timeoutLong    = 3600
)

// Shorthands for the flag combinations of the table.
const (
	// flInfo is for commands that concern the unit, not a range of it.
	flInfo = OpInfoValid | OpLBANotValid
	// flShared is for commands that every reservation lets through.
	flShared = OpRegReserveAllowed | OpWriteExclAllowed | OpExclAccessAllowed
	flSmall  = OpSmallTimeout
	flLong   = OpLongTimeout
	flRead   = OpInfoValid | OpBlocksLength | OpWriteExclAllowed
	flWrite  = OpInfoValid | OpBlocksLength | OpWriteMedium
)

// The parts that block commands share, by CDB size.
var (
	control5  = u8(fControl, 5)
	control9  = u8(fControl, 9)
	control11 = u8(fControl, 11)
	control15 = u8(fControl, 15)

	lba6     = field{fLBA, 1, 0, 21}
	lba10    = u32(fLBA, 2)
	lba16    = u64(fLBA, 2)
	blocks6  = u8(fBlocks, 4)
	blocks10 = u16(fBlocks, 7)
	blocks12 = u32(fBlocks, 6)
	blocks16 = u32(fBlocks, 10)

	group10 = field{fGroup, 6, 0, 5}
	group12 = field{fGroup, 10, 0, 5}
	group16 = field{fGroup, 14, 0, 5}

	protect = field{fProtect, 1, 5, 3}
	dpo     = flag(fDPO, 1, 4)
	fua     = flag(fFUA, 1, 3)
	rarc    = flag(fRARC, 1, 2)
	bytchk  = field{fBytChk, 1, 1, 2}
	immed1  = flag(fImmed, 1, 1)
	sa      = field{fServiceAction, 1, 0, 5}
)

// rows is the table, indexed by operation code; a row without a name is an
// unknown code. Fields that the standards call obsolete or reserved are not
// in it.
//
// Timeouts and flags of TEST UNIT READY, REQUEST SENSE, INQUIRY, MODE SENSE,
// RESERVE, RELEASE, START STOP UNIT, PREVENT ALLOW, READ CAPACITY, READ, WRITE,
// WRITE AND VERIFY, VERIFY, SYNCHRONIZE CACHE, WRITE SAME, UNMAP and REPORT
// SUPPORTED OPERATION CODES are as recorded; the others follow their kin.
var rows = [256]row{
	OpTestUnitReady: {name: "TEST UNIT READY", fields: []field{control5},
		dir: DirNone, timeout: timeoutSmall, flags: flInfo | flSmall | flShared | OpImplicitHQ},
	OpRequestSense: {name: "REQUEST SENSE", fields: []field{flag(fDesc, 1, 0), u8(fAllocLen, 4), control5},
		dir: DirRead, length: lenAlloc, timeout: timeoutSmall, flags: flInfo | flSmall | flShared | OpSkipUA},
	OpFormatUnit: {name: "FORMAT UNIT", fields: []field{control5},
		dir: DirNone, timeout: timeoutLong, flags: flInfo | flLong | OpWriteMedium},
	OpRead6: {name: "READ(6)", fields: []field{lba6, blocks6, control5},
		dir: DirRead, length: lenBlocks, timeout: timeoutRegular, flags: flRead},
	OpWrite6: {name: "WRITE(6)", fields: []field{lba6, blocks6, control5},
		dir: DirWrite, length: lenBlocks, timeout: timeoutRegular, flags: flWrite},
	OpInquiry: {name: "INQUIRY", fields: []field{flag(fEVPD, 1, 0), u8(fPage, 2), u16(fAllocLen, 3), control5},
		dir: DirRead, length: lenAlloc, timeout: timeoutSmall, flags: flInfo | flSmall | flShared | OpSkipUA | OpImplicitHQ},
	OpModeSelect6: {name: "MODE SELECT(6)", fields: []field{flag(fPF, 1, 4), flag(fSP, 1, 0), u8(fParamLen, 4), control5},
		dir: DirWrite, length: lenParam, timeout: timeoutSmall, flags: flInfo | flSmall},
	OpReserve6: {name: "RESERVE(6)", fields: []field{control5},
		dir: DirNone, timeout: timeoutSmall, flags: flInfo | flSmall},
	OpRelease6: {name: "RELEASE(6)", fields: []field{control5},
		dir: DirNone, timeout: timeoutSmall, flags: flInfo | flSmall | flShared},
	OpModeSense6: {name: "MODE SENSE(6)", fields: []field{flag(fDBD, 1, 3), {fPC, 2, 6, 2}, {fPage, 2, 0, 6}, u8(fSubPage, 3), u8(fAllocLen, 4), control5},
		dir: DirRead, length: lenAlloc, timeout: timeoutSmall, flags: flInfo | flSmall | OpWriteExclAllowed},
	OpStartStop: {name: "START STOP UNIT", fields: []field{flag(fImmed, 1, 0), {fPowerCondMod, 3, 0, 4}, {fPowerCond, 4, 4, 4}, flag(fNoFlush, 4, 2), flag(fLoEj, 4, 1), flag(fStart, 4, 0), control5},
		dir: DirNone, timeout: timeoutLong, flags: flInfo | flLong},
	OpSendDiagnostic: {name: "SEND DIAGNOSTIC", fields: []field{flag(fPF, 1, 4), u16(fParamLen, 3), control5},
		dir: DirWrite, length: lenParam, timeout: timeoutLong, flags: flInfo | flLong},
	OpPreventAllowRemoval: {name: "PREVENT ALLOW MEDIUM REMOVAL", fields: []field{{fPrevent, 4, 0, 2}, control5},
		dir: DirNone, timeout: timeoutLong, flags: flInfo | flLong},

	OpReadCapacity10: {name: "READ CAPACITY(10)", fields: []field{control9},
		dir: DirRead, length: lenFixed8, timeout: timeoutRegular, flags: flInfo | flShared | OpImplicitHQ},
	OpRead10: {name: "READ(10)", fields: []field{protect, dpo, fua, rarc, lba10, group10, blocks10, control9},
		dir: DirRead, length: lenBlocks, timeout: timeoutRegular, flags: flRead},
	OpWrite10: {name: "WRITE(10)", fields: []field{protect, dpo, fua, lba10, group10, blocks10, control9},
		dir: DirWrite, length: lenBlocks, timeout: timeoutRegular, flags: flWrite},
	OpWriteVerify10: {name: "WRITE AND VERIFY(10)", fields: []field{protect, dpo, bytchk, lba10, group10, blocks10, control9},
		dir: DirWrite, length: lenBlocks, timeout: timeoutRegular, flags: flWrite},
	OpVerify10: {name: "VERIFY(10)", fields: []field{protect, dpo, bytchk, lba10, group10, blocks10, control9},
		dir: DirWrite, length: lenVerify, timeout: timeoutRegular, flags: flRead},
	OpPreFetch10: {name: "PRE-FETCH(10)", fields: []field{immed1, lba10, group10, blocks10, control9},
		dir: DirNone, length: lenRange, timeout: timeoutRegular, flags: flRead},
	OpSyncCache10: {name: "SYNCHRONIZE CACHE(10)", fields: []field{immed1, lba10, group10, blocks10, control9},
		dir: DirNone, length: lenRange, timeout: timeoutRegular, flags: OpInfoValid},
	OpWriteSame10: {name: "WRITE SAME(10)", fields: []field{protect, flag(fAnchor, 1, 4), flag(fUnmap, 1, 3), lba10, group10, blocks10, control9},
		dir: DirWrite, length: lenWriteSame, timeout: timeoutRegular, flags: flWrite},
	OpUnmap: {name: "UNMAP", fields: []field{flag(fAnchor, 1, 0), group10, u16(fParamLen, 7), control9},
		dir: DirWrite, length: lenParam, timeout: timeoutRegular, flags: flInfo | OpWriteMedium},
	OpLogSense: {name: "LOG SENSE", fields: []field{flag(fSP, 1, 0), {fPC, 2, 6, 2}, {fPage, 2, 0, 6}, u8(fSubPage, 3), u16(fAllocLen, 7), control9},
		dir: DirRead, length: lenAlloc, timeout: timeoutSmall, flags: flInfo | flSmall | OpWriteExclAllowed},
	OpModeSelect10: {name: "MODE SELECT(10)", fields: []field{flag(fPF, 1, 4), flag(fSP, 1, 0), u16(fParamLen, 7), control9},
		dir: DirWrite, length: lenParam, timeout: timeoutSmall, flags: flInfo | flSmall},
	OpReserve10: {name: "RESERVE(10)", fields: []field{u16(fParamLen, 7), control9},
		dir: DirWrite, length: lenParam, timeout: timeoutSmall, flags: flInfo | flSmall},
	OpRelease10: {name: "RELEASE(10)", fields: []field{u16(fParamLen, 7), control9},
		dir: DirWrite, length: lenParam, timeout: timeoutSmall, flags: flInfo | flSmall | flShared},
	OpModeSense10: {name: "MODE SENSE(10)", fields: []field{flag(fLLBAA, 1, 4), flag(fDBD, 1, 3), {fPC, 2, 6, 2}, {fPage, 2, 0, 6}, u8(fSubPage, 3), u16(fAllocLen, 7), control9},
		dir: DirRead, length: lenAlloc, timeout: timeoutSmall, flags: flInfo | flSmall | OpWriteExclAllowed},
	OpPersistentReserveIn: {name: "PERSISTENT RESERVE IN", fields: []field{sa, u16(fAllocLen, 7), control9},
		dir: DirRead, length: lenAlloc, timeout: timeoutSmall, flags: flInfo | flSmall | flShared},
	OpPersistentReserveOut: {name: "PERSISTENT RESERVE OUT", fields: []field{sa, u8(fScopeType, 2), u32(fParamLen, 5), control9},
		dir: DirWrite, length: lenParam, timeout: timeoutSmall, flags: flInfo | flSmall | flShared},

	OpRead16: {name: "READ(16)", fields: []field{protect, dpo, fua, rarc, lba16, blocks16, group16, control15},
		dir: DirRead, length: lenBlocks, timeout: timeoutRegular, flags: flRead},
	OpCompareAndWrite: {name: "COMPARE AND WRITE", fields: []field{protect, dpo, fua, lba16, u8(fBlocks, 13), group16, control15},
		dir: DirWrite, length: lenCompareWrite, timeout: timeoutRegular, flags: flWrite},
	OpWrite16: {name: "WRITE(16)", fields: []field{protect, dpo, fua, lba16, blocks16, group16, control15},
		dir: DirWrite, length: lenBlocks, timeout: timeoutRegular, flags: flWrite},
	OpWriteVerify16: {name: "WRITE AND VERIFY(16)", fields: []field{protect, dpo, bytchk, lba16, blocks16, group16, control15},
		dir: DirWrite, length: lenBlocks, timeout: timeoutRegular, flags: flWrite},
	OpVerify16: {name: "VERIFY(16)", fields: []field{protect, dpo, bytchk, lba16, blocks16, group16, control15},
		dir: DirWrite, length: lenVerify, timeout: timeoutRegular, flags: flRead},
	OpPreFetch16: {name: "PRE-FETCH(16)", fields: []field{immed1, lba16, blocks16, group16, control15},
		dir: DirNone, length: lenRange, timeout: timeoutRegular, flags: flRead},
	OpSyncCache16: {name: "SYNCHRONIZE CACHE(16)", fields: []field{immed1, lba16, blocks16, group16, control15},
		dir: DirNone, length: lenRange, timeout: timeoutRegular, flags: OpInfoValid},
	OpWriteSame16: {name: "WRITE SAME(16)", fields: []field{protect, flag(fAnchor, 1, 4), flag(fUnmap, 1, 3), flag(fNDOB, 1, 0), lba16, blocks16, group16, control15},
		dir: DirWrite, length: lenWriteSame, timeout: timeoutRegular, flags: flWrite},
	OpServiceActionIn16: {name: "SERVICE ACTION IN(16)", actions: []action{
		{SAReadCapacity16, row{name: "READ CAPACITY(16)", fields: []field{sa, u32(fAllocLen, 10), control15},
			dir: DirRead, length: lenAlloc, timeout: timeoutRegular, flags: flInfo | flShared | OpImplicitHQ}},
		{SAGetLBAStatus, row{name: "GET LBA STATUS", fields: []field{sa, lba16, u32(fAllocLen, 10), control15},
			dir: DirRead, length: lenAlloc, timeout: timeoutRegular, flags: OpInfoValid | OpWriteExclAllowed}},
	}},

	OpReportLUNs: {name: "REPORT LUNS", fields: []field{u8(fSelectReport, 2), u32(fAllocLen, 6), control11},
		dir: DirRead, length: lenAlloc, timeout: timeoutSmall, flags: flInfo | flSmall | flShared | OpSkipUA | OpImplicitHQ},
	OpMaintenanceIn: {name: "MAINTENANCE IN", actions: []action{
		{SAReportSupportedOpcodes, row{name: "REPORT SUPPORTED OPERATION CODES", fields: []field{sa, flag(fRCTD, 2, 7), {fReportingOptions, 2, 0, 3}, u8(fReqOpcode, 3), u16(fReqSA, 4), u32(fAllocLen, 6), control11},
			dir: DirRead, length: lenAlloc, timeout: timeoutRegular, flags: flInfo | OpWriteExclAllowed}},
		{SAReportSupportedTMFs, row{name: "REPORT SUPPORTED TASK MANAGEMENT FUNCTIONS", fields: []field{sa, u32(fAllocLen, 6), control11},
			dir: DirRead, length: lenAlloc, timeout: timeoutRegular, flags: flInfo | OpWriteExclAllowed}},
	}},
	OpRead12: {name: "READ(12)", fields: []field{protect, dpo, fua, rarc, lba10, blocks12, group12, control11},
		dir: DirRead, length: lenBlocks, timeout: timeoutRegular, flags: flRead},
	OpWrite12: {name: "WRITE(12)", fields: []field{protect, dpo, fua, lba10, blocks12, group12, control11},
		dir: DirWrite, length: lenBlocks, timeout: timeoutRegular, flags: flWrite},
	OpWriteVerify12: {name: "WRITE AND VERIFY(12)", fields: []field{protect, dpo, bytchk, lba10, blocks12, group12, control11},
		dir: DirWrite, length: lenBlocks, timeout: timeoutRegular, flags: flWrite},
	OpVerify12: {name: "VERIFY(12)", fields: []field{protect, dpo, bytchk, lba10, blocks12, group12, control11},
		dir: DirWrite, length: lenVerify, timeout: timeoutRegular, flags: flRead},
}

// find returns the row of a CDB's command, and the error that says why there
// is none.
func find(cdb []byte) (*row, error) {
	if len(cdb) == 0 {
		return nil, ErrShortCDB
	}
	r := &rows[cdb[0]]
	if r.name == "" {
		return nil, ErrUnknownOpcode
	}
	if len(cdb) < CDBLen(Opcode(cdb[0])) {
		return nil, ErrShortCDB
	}
	if r.actions != nil {
		return r.action(cdb[1] & 0x1F)
	}
	return r, nil
}

func (r *row) action(sa uint8) (*row, error) {
	for i := range r.actions {
		if r.actions[i].sa == sa {
			return &r.actions[i].row, nil
		}
	}
	return nil, ErrUnknownServiceAction
}
