package scsi

import "encoding/binary"

// CDBError says why a CDB could not be understood. It is comparable, and
// making an error of it does not allocate.
type CDBError uint8

// The errors of Decode, Encode and ParseSBC.
const (
	// ErrUnknownOpcode: the table has no such operation code.
	ErrUnknownOpcode CDBError = iota + 1
	// ErrUnknownServiceAction: the code is known, its service action not.
	ErrUnknownServiceAction
	// ErrShortCDB: there are fewer bytes than the code's group needs.
	ErrShortCDB
	// ErrTooLong: the transfer has more bytes than a buffer length can hold.
	ErrTooLong
)

// Error says what is wrong.
func (e CDBError) Error() string {
	switch e {
	case ErrUnknownOpcode:
		return "unknown operation code"
	case ErrUnknownServiceAction:
		return "unknown service action"
	case ErrShortCDB:
		return "cdb too short for its operation code"
	case ErrTooLong:
		return "transfer length too large for a buffer"
	}
	return "invalid cdb"
}

// Sense is what the initiator is told: INVALID COMMAND OPERATION CODE, or
// INVALID FIELD IN CDB (SPC-4, 4.2.5.1 and 4.3.4).
func (e CDBError) Sense() Sense {
	switch e {
	case ErrUnknownOpcode:
		return SenseInvalidOpcode
	case ErrUnknownServiceAction:
		return SenseInvalidFieldInCDB.AtCDB(1, 4)
	}
	return SenseInvalidFieldInCDB
}

// SenseOf is CDBError.Sense for an error that may be something else, which
// becomes INVALID FIELD IN CDB.
func SenseOf(err error) Sense {
	if e, ok := err.(CDBError); ok {
		return e.Sense()
	}
	return SenseInvalidFieldInCDB
}

// Command is a decoded CDB. Which members count depends on Op (and
// ServiceAction); the others are zero. It is comparable.
type Command struct {
	Op            Opcode
	ServiceAction uint8
	Control       uint8 // the CONTROL byte; bit 2 is NACA

	LBA    uint64 // first block
	Blocks uint64 // as the CDB has it: 0 is 256 in READ(6) and WRITE(6); see Count

	AllocLen uint32 // data-in: how many bytes the initiator has room for
	ParamLen uint32 // data-out: how many bytes of parameters it sends

	Protect uint8 // RDPROTECT, WRPROTECT or VRPROTECT
	Group   uint8 // group number
	BytChk  uint8 // VERIFY, WRITE AND VERIFY

	DPO    bool // disable page out, a hint
	FUA    bool // force unit access
	RARC   bool // rebuild assist recovery control
	Unmap  bool // WRITE SAME
	Anchor bool // WRITE SAME, UNMAP
	NDOB   bool // WRITE SAME(16): no data-out buffer
	Immed  bool // SYNCHRONIZE CACHE, PRE-FETCH, START STOP UNIT

	EVPD    bool  // INQUIRY: a vital product data page
	Page    uint8 // INQUIRY: page code; MODE SENSE, LOG SENSE: 6 bits
	SubPage uint8 // MODE SENSE, LOG SENSE
	PC      uint8 // MODE SENSE, LOG SENSE: page control; see the PC constants
	DBD     bool  // MODE SENSE: disable block descriptors
	LLBAA   bool  // MODE SENSE(10): long LBA accepted
	PF      bool  // MODE SELECT: page format
	SP      bool  // MODE SELECT, LOG SENSE: save pages
	Desc    bool  // REQUEST SENSE: descriptor format

	Start        bool  // START STOP UNIT
	LoEj         bool  // START STOP UNIT
	NoFlush      bool  // START STOP UNIT
	PowerCond    uint8 // START STOP UNIT
	PowerCondMod uint8 // START STOP UNIT
	Prevent      uint8 // PREVENT ALLOW MEDIUM REMOVAL

	RCTD             bool   // REPORT SUPPORTED OPERATION CODES
	ReportingOptions uint8  // REPORT SUPPORTED OPERATION CODES
	ReqOpcode        Opcode // REPORT SUPPORTED OPERATION CODES
	ReqSA            uint16 // REPORT SUPPORTED OPERATION CODES

	SelectReport uint8 // REPORT LUNS
	ScopeType    uint8 // PERSISTENT RESERVE OUT
}

// NACA is the bit of Command.Control that asks for an ACA condition.
const NACA = 0x04

// Page controls of MODE SENSE (SPC-4, 6.14).
const (
	PCCurrent    = 0
	PCChangeable = 1
	PCDefault    = 2
	PCSaved      = 3
)

// Count is how many blocks the command is for: Blocks, with the 0 of READ(6)
// and WRITE(6) taken as 256.
func (c *Command) Count() uint64 {
	if c.Blocks == 0 && (c.Op == OpRead6 || c.Op == OpWrite6) {
		return 256
	}
	return c.Blocks
}

// Decode reads a CDB. Bytes beyond the command's own length are ignored. The
// error is a CDBError; Op is set as long as there is a first byte.
func Decode(cdb []byte) (Command, error) {
	var c Command
	if len(cdb) > 0 {
		c.Op = Opcode(cdb[0])
	}
	r, err := find(cdb)
	if err != nil {
		return c, err
	}
	for _, f := range r.fields {
		c.set(f.id, f.get(cdb))
	}
	return c, nil
}

// Encode writes the CDB of c and returns its length. Values that don't fit
// their field are cut. The error is a CDBError, and cdb is zeroed then.
func (c *Command) Encode(cdb *[16]byte) (int, error) {
	*cdb = [16]byte{}
	r := &rows[c.Op]
	if r.name == "" {
		return 0, ErrUnknownOpcode
	}
	if r.actions != nil {
		var err error
		if r, err = r.action(c.ServiceAction); err != nil {
			return 0, err
		}
	}
	cdb[0] = byte(c.Op)
	for _, f := range r.fields {
		f.put(cdb[:], c.value(f.id))
	}
	return CDBLen(c.Op), nil
}

// get reads the field from a CDB that is long enough.
func (f field) get(cdb []byte) uint64 {
	switch {
	case f.width == 1:
		return uint64(cdb[f.at]>>f.shift) & 1
	case f.width == 64:
		return binary.BigEndian.Uint64(cdb[f.at:])
	case f.width == 32:
		return uint64(binary.BigEndian.Uint32(cdb[f.at:]))
	}
	var v uint64
	for _, b := range cdb[f.at : int(f.at)+f.bytes()] {
		v = v<<8 | uint64(b)
	}
	return v >> f.shift & (1<<f.width - 1)
}

// put writes the field into a CDB whose field is zero.
func (f field) put(cdb []byte, v uint64) {
	if f.width < 64 {
		v &= 1<<f.width - 1
	}
	v <<= f.shift
	for i := f.bytes() - 1; i >= 0; i-- {
		cdb[int(f.at)+i] |= byte(v)
		v >>= 8
	}
}

func (c *Command) set(id fieldID, v uint64) {
	switch id {
	case fControl:
		c.Control = uint8(v)
	case fLBA:
		c.LBA = v
	case fBlocks:
		c.Blocks = v
	case fAllocLen:
		c.AllocLen = uint32(v)
	case fParamLen:
		c.ParamLen = uint32(v)
	case fServiceAction:
		c.ServiceAction = uint8(v)
	case fProtect:
		c.Protect = uint8(v)
	case fGroup:
		c.Group = uint8(v)
	case fDPO:
		c.DPO = v != 0
	case fFUA:
		c.FUA = v != 0
	case fRARC:
		c.RARC = v != 0
	case fBytChk:
		c.BytChk = uint8(v)
	case fUnmap:
		c.Unmap = v != 0
	case fAnchor:
		c.Anchor = v != 0
	case fNDOB:
		c.NDOB = v != 0
	case fImmed:
		c.Immed = v != 0
	case fEVPD:
		c.EVPD = v != 0
	case fPage:
		c.Page = uint8(v)
	case fSubPage:
		c.SubPage = uint8(v)
	case fPC:
		c.PC = uint8(v)
	case fDBD:
		c.DBD = v != 0
	case fLLBAA:
		c.LLBAA = v != 0
	case fPF:
		c.PF = v != 0
	case fSP:
		c.SP = v != 0
	case fStart:
		c.Start = v != 0
	case fLoEj:
		c.LoEj = v != 0
	case fNoFlush:
		c.NoFlush = v != 0
	case fPowerCond:
		c.PowerCond = uint8(v)
	case fPowerCondMod:
		c.PowerCondMod = uint8(v)
	case fRCTD:
		c.RCTD = v != 0
	case fReportingOptions:
		c.ReportingOptions = uint8(v)
	case fReqOpcode:
		c.ReqOpcode = Opcode(v)
	case fReqSA:
		c.ReqSA = uint16(v)
	case fDesc:
		c.Desc = v != 0
	case fSelectReport:
		c.SelectReport = uint8(v)
	case fPrevent:
		c.Prevent = uint8(v)
	case fScopeType:
		c.ScopeType = uint8(v)
	}
}

func (c *Command) value(id fieldID) uint64 {
	switch id {
	case fControl:
		return uint64(c.Control)
	case fLBA:
		return c.LBA
	case fBlocks:
		return c.Blocks
	case fAllocLen:
		return uint64(c.AllocLen)
	case fParamLen:
		return uint64(c.ParamLen)
	case fServiceAction:
		return uint64(c.ServiceAction)
	case fProtect:
		return uint64(c.Protect)
	case fGroup:
		return uint64(c.Group)
	case fDPO:
		return bit(c.DPO)
	case fFUA:
		return bit(c.FUA)
	case fRARC:
		return bit(c.RARC)
	case fBytChk:
		return uint64(c.BytChk)
	case fUnmap:
		return bit(c.Unmap)
	case fAnchor:
		return bit(c.Anchor)
	case fNDOB:
		return bit(c.NDOB)
	case fImmed:
		return bit(c.Immed)
	case fEVPD:
		return bit(c.EVPD)
	case fPage:
		return uint64(c.Page)
	case fSubPage:
		return uint64(c.SubPage)
	case fPC:
		return uint64(c.PC)
	case fDBD:
		return bit(c.DBD)
	case fLLBAA:
		return bit(c.LLBAA)
	case fPF:
		return bit(c.PF)
	case fSP:
		return bit(c.SP)
	case fStart:
		return bit(c.Start)
	case fLoEj:
		return bit(c.LoEj)
	case fNoFlush:
		return bit(c.NoFlush)
	case fPowerCond:
		return uint64(c.PowerCond)
	case fPowerCondMod:
		return uint64(c.PowerCondMod)
	case fRCTD:
		return bit(c.RCTD)
	case fReportingOptions:
		return uint64(c.ReportingOptions)
	case fReqOpcode:
		return uint64(c.ReqOpcode)
	case fReqSA:
		return uint64(c.ReqSA)
	case fDesc:
		return bit(c.Desc)
	case fSelectReport:
		return uint64(c.SelectReport)
	case fPrevent:
		return uint64(c.Prevent)
	case fScopeType:
		return uint64(c.ScopeType)
	}
	return 0
}

func bit(b bool) uint64 {
	if b {
		return 1
	}
	return 0
}
