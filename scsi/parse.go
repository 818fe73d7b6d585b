package scsi

import "math"

// The op flags of the standard parser, with the numbers that scst_user's PARSE
// subcommand carries (facts 42 and 43; their meanings are read off the recorded
// values).
const (
	OpSmallTimeout      uint32 = 0x0001 // seconds rather than a minute
	OpLongTimeout       uint32 = 0x0002 // up to an hour
	OpBlocksLength      uint32 = 0x0004 // the CDB's length counts blocks
	OpInfoValid         uint32 = 0x0020 // the command is known (rules R43, R45)
	OpLBANotValid       uint32 = 0x0040 // no range of the medium is named
	OpImplicitHQ        uint32 = 0x0080 // queued as HEAD OF QUEUE (fact 22)
	OpSkipUA            uint32 = 0x0100 // carried out despite a unit attention
	OpWriteMedium       uint32 = 0x0200 // refused on a read-only unit
	OpRegReserveAllowed uint32 = 0x1000 // allowed under the reservation kinds
	OpWriteExclAllowed  uint32 = 0x2000 // "write exclusive",
	OpExclAccessAllowed uint32 = 0x4000 // "exclusive access"
)

// Transfer is what a CDB transfers.
type Transfer struct {
	Dir Dir
	// LBA is the first block, 0 if the command names none.
	LBA uint64
	// DataLen is how many bytes of the medium are concerned, or of
	// parameter data for a command that concerns none.
	DataLen int64
	// BufLen is how many bytes go through the data buffer; 0 with DirNone
	// only.
	BufLen int64
	// Timeout is in seconds.
	Timeout int32
	// OpFlags are the Op flag constants.
	OpFlags uint32
	// HeadOfQueue says that the command is implicitly HEAD OF QUEUE.
	HeadOfQueue bool
	// CDBLen is the CDB's length by its operation code.
	CDBLen int
	// WriteMedium says that the command changes the medium.
	WriteMedium bool
	// ReadsMedium says that the command moves or compares the medium's
	// bytes.
	ReadsMedium bool
}

// ParseSBC is the standard parser of block devices: it tells what a CDB
// transfers on a unit with blocks of blockSize bytes. Whether the blocks exist
// is not checked (fact 44); no data turns the direction into DirNone (R47).
//
// The error is a CDBError: ErrUnknownOpcode, ErrUnknownServiceAction,
// ErrShortCDB, or ErrTooLong for buffers above the 31 bits that the interface
// has for their length. CDBError.Sense is what the initiator gets.
func ParseSBC(cdb []byte, blockSize uint32) (t Transfer, err error) {
	r, err := find(cdb)
	if err != nil {
		return t, err
	}
	t = Transfer{
		Dir:         r.dir,
		Timeout:     r.timeout,
		OpFlags:     r.flags,
		HeadOfQueue: r.flags&OpImplicitHQ != 0,
		CDBLen:      CDBLen(Opcode(cdb[0])),
		WriteMedium: r.flags&OpWriteMedium != 0,
	}
	var c Command
	c.Op = Opcode(cdb[0])
	for _, f := range r.fields {
		switch f.id {
		case fLBA:
			t.LBA = f.get(cdb)
		case fBlocks, fAllocLen, fParamLen, fBytChk, fNDOB:
			c.set(f.id, f.get(cdb))
		}
	}
	var data, buf uint64
	if n := c.Count(); n != 0 {
		// Blocks has at most 32 bits, so this product has at most 64.
		data = n * uint64(blockSize)
	}
	switch r.length {
	case lenAlloc:
		buf = uint64(c.AllocLen)
		data = buf
	case lenParam:
		buf = uint64(c.ParamLen)
		data = buf
	case lenFixed8:
		buf, data = 8, 8
	case lenBlocks:
		buf = data
		t.ReadsMedium = r.dir == DirRead
	case lenVerify:
		t.ReadsMedium = true
		switch {
		case data == 0:
		case c.BytChk == 1:
			buf = data
		case c.BytChk != 0:
			// 3 sends one block; 2 is reserved and refused by the
			// handler, whatever came with it.
			buf = uint64(blockSize)
		}
	case lenWriteSame:
		if !c.NDOB {
			buf = uint64(blockSize)
		}
	case lenCompareWrite:
		buf = 2 * data
		t.ReadsMedium = true
	}
	if buf > math.MaxInt32 || data > math.MaxInt64 {
		return Transfer{}, ErrTooLong
	}
	t.DataLen, t.BufLen = int64(data), int64(buf)
	if buf == 0 {
		t.Dir = DirNone
	}
	return t, nil
}
