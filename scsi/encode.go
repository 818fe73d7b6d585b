package scsi

// CDB is an encoded command: its first Len bytes.
type CDB struct {
	Bytes [16]byte
	Len   int
}

// Slice returns the CDB's bytes, which stay part of c.
func (c *CDB) Slice() []byte { return c.Bytes[:c.Len] }

// The Encode functions build the CDBs of an initiator. They are shorthands for
// Command.Encode, which takes every field.

func encode(c Command) CDB {
	var d CDB
	n, err := c.Encode(&d.Bytes)
	if err != nil {
		// Only the commands below come here; the tests encode each.
		panic("scsi: encoding " + c.Op.String() + ": " + err.Error())
	}
	d.Len = n
	return d
}

// EncodeTestUnitReady encodes TEST UNIT READY.
func EncodeTestUnitReady() CDB { return encode(Command{Op: OpTestUnitReady}) }

// EncodeInquiry encodes INQUIRY: of the VPD page if evpd, else of the standard
// data.
func EncodeInquiry(evpd bool, page uint8, alloc uint16) CDB {
	return encode(Command{Op: OpInquiry, EVPD: evpd, Page: page, AllocLen: uint32(alloc)})
}

// EncodeRequestSense encodes REQUEST SENSE.
func EncodeRequestSense(desc bool, alloc uint8) CDB {
	return encode(Command{Op: OpRequestSense, Desc: desc, AllocLen: uint32(alloc)})
}

// EncodeRead16 encodes READ(16) of blocks from lba.
func EncodeRead16(lba uint64, blocks uint32, fua bool) CDB {
	return encode(Command{Op: OpRead16, LBA: lba, Blocks: uint64(blocks), FUA: fua})
}

// EncodeWrite16 encodes WRITE(16) of blocks from lba.
func EncodeWrite16(lba uint64, blocks uint32, fua bool) CDB {
	return encode(Command{Op: OpWrite16, LBA: lba, Blocks: uint64(blocks), FUA: fua})
}

// EncodeVerify16 encodes VERIFY(16) of blocks from lba, with the given BYTCHK.
func EncodeVerify16(lba uint64, blocks uint32, bytchk uint8) CDB {
	return encode(Command{Op: OpVerify16, LBA: lba, Blocks: uint64(blocks), BytChk: bytchk})
}

// EncodeSyncCache16 encodes SYNCHRONIZE CACHE(16); 0 blocks is to the end of the
// medium.
func EncodeSyncCache16(lba uint64, blocks uint32) CDB {
	return encode(Command{Op: OpSyncCache16, LBA: lba, Blocks: uint64(blocks)})
}

// EncodePreFetch16 encodes PRE-FETCH(16); 0 blocks is to the end of the medium.
func EncodePreFetch16(lba uint64, blocks uint32, immed bool) CDB {
	return encode(Command{Op: OpPreFetch16, LBA: lba, Blocks: uint64(blocks), Immed: immed})
}

// EncodeWriteSame16 encodes WRITE SAME(16); with ndob no data is sent and zeroes
// are written.
func EncodeWriteSame16(lba uint64, blocks uint32, unmap, ndob bool) CDB {
	return encode(Command{Op: OpWriteSame16, LBA: lba, Blocks: uint64(blocks), Unmap: unmap, NDOB: ndob})
}

// EncodeUnmap encodes UNMAP with a parameter list of paramLen bytes; see
// PutUnmapDescriptors.
func EncodeUnmap(paramLen uint16) CDB {
	return encode(Command{Op: OpUnmap, ParamLen: uint32(paramLen)})
}

// EncodeReadCapacity10 encodes READ CAPACITY(10).
func EncodeReadCapacity10() CDB { return encode(Command{Op: OpReadCapacity10}) }

// EncodeReadCapacity16 encodes READ CAPACITY(16).
func EncodeReadCapacity16(alloc uint32) CDB {
	return encode(Command{Op: OpServiceActionIn16, ServiceAction: SAReadCapacity16, AllocLen: alloc})
}

// EncodeGetLBAStatus16 encodes GET LBA STATUS.
func EncodeGetLBAStatus16(lba uint64, alloc uint32) CDB {
	return encode(Command{Op: OpServiceActionIn16, ServiceAction: SAGetLBAStatus, LBA: lba, AllocLen: alloc})
}

// EncodeModeSense10 encodes MODE SENSE(10); pc is one of the PC constants.
func EncodeModeSense10(dbd bool, pc, page, subPage uint8, alloc uint16) CDB {
	return encode(Command{Op: OpModeSense10, DBD: dbd, PC: pc, Page: page, SubPage: subPage, AllocLen: uint32(alloc)})
}

// EncodeModeSelect10 encodes MODE SELECT(10) with PF set, not saving.
func EncodeModeSelect10(paramLen uint16) CDB {
	return encode(Command{Op: OpModeSelect10, PF: true, ParamLen: uint32(paramLen)})
}

// EncodeStartStop encodes START STOP UNIT.
func EncodeStartStop(start, immed bool) CDB {
	return encode(Command{Op: OpStartStop, Start: start, Immed: immed})
}

// EncodeReportLUNs encodes REPORT LUNS.
func EncodeReportLUNs(selectReport uint8, alloc uint32) CDB {
	return encode(Command{Op: OpReportLUNs, SelectReport: selectReport, AllocLen: alloc})
}

// EncodeReportSupportedOpcodes encodes REPORT SUPPORTED OPERATION CODES; options
// is one of the Report constants.
func EncodeReportSupportedOpcodes(options uint8, op Opcode, sa uint16, rctd bool, alloc uint32) CDB {
	return encode(Command{Op: OpMaintenanceIn, ServiceAction: SAReportSupportedOpcodes,
		ReportingOptions: options, ReqOpcode: op, ReqSA: sa, RCTD: rctd, AllocLen: alloc})
}
