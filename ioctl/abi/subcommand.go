package abi

import (
	"fmt"

	"scstuser/scsi"
	"scstuser/ucmd"
)

// EncodeSubcommand writes s as get_cmd, as much of it as this subcommand has
// (rule R4), and returns how many bytes that are. ErrShort: b is smaller;
// ErrSubcode: s has no valid code. b is unchanged then.
func EncodeSubcommand(b []byte, s *ucmd.Subcommand) (int, error) {
	code := SubcodeOf(s.Code)
	n := code.GetLen()
	if n == 0 {
		return 0, fmt.Errorf("subcommand %#x: %w", uint8(s.Code), ErrSubcode)
	}
	if len(b) < n {
		return 0, ErrShort
	}
	putHeader(b, s.Handle, code)
	return n, encodePayload(b[headerLen:n], s)
}

// encodePayload writes the union's part; b has exactly its size.
func encodePayload(b []byte, s *ucmd.Subcommand) error {
	switch s.Code {
	case ucmd.SubExec:
		x := Exec{SessH: Addr(s.SessH), CDB: s.CDB, CDBLen: s.CDBLen, LBA: s.LBA, DataLen: s.DataLen, BuffLen: s.BufLen,
			AllocLen: s.AllocLen, PBuf: Addr(s.PBuf), QueueType: uint8(s.QueueType), DataDirection: uint8(s.Dir),
			Timeout: s.Timeout, POutBuf: Addr(s.OutPBuf), OutBuffLen: s.OutBufLen, SN: s.SN,
			ParentCmdH: s.ParentHandle, ParentCmdDataLen: s.ParentDataLen, PartialOffset: s.PartialOffset}
		return x.Encode(b)
	case ucmd.SubAllocMem:
		x := AllocMem{SessH: Addr(s.SessH), CDB: s.CDB, CDBLen: s.CDBLen, AllocLen: s.AllocLen,
			QueueType: uint8(s.QueueType), DataDirection: uint8(s.Dir), SN: s.SN}
		return x.Encode(b)
	case ucmd.SubOnFree:
		x := OnFree{PBuf: Addr(s.PBuf), RespDataLen: s.RespDataLen, BufferCached: flag(s.BufferCached),
			Aborted: flag(s.Aborted), Status: uint8(s.Status), DeliveryStatus: uint8(s.Delivery)}
		return x.Encode(b)
	case ucmd.SubOnCachedMemFree:
		x := OnCachedMemFree{PBuf: Addr(s.PBuf)}
		return x.Encode(b)
	case ucmd.SubParse:
		x := Parse{SessH: Addr(s.SessH), CDB: s.CDB, CDBLen: s.CDBLen, LBA: s.LBA, DataLen: s.DataLen, BuffLen: s.BufLen,
			OutBuffLen: s.OutBufLen, Timeout: s.Timeout, OpFlags: s.OpFlags, QueueType: uint8(s.QueueType),
			DataDirection: uint8(s.Dir), ExpectedValuesSet: flag(s.ExpectedSet), ExpectedDataDirection: uint8(s.ExpectedDir),
			ExpectedTransferLen: s.ExpectedLen, ExpectedOutTransferLen: s.ExpectedOut, SN: s.SN}
		return x.Encode(b)
	case ucmd.SubTMReceived, ucmd.SubTMDone:
		x := TM{SessH: Addr(s.SessH), Fn: s.TMFunc, CmdHToAbort: s.CmdHToAbort, CmdSN: s.CmdSN, CmdSNSet: flag(s.CmdSNSet)}
		return x.Encode(b)
	case ucmd.SubExtCopyRemap:
		x := ExtCopyRemap{SessH: Addr(s.SessH)}
		if r := s.Remap; r != nil {
			x.SrcSessH, x.DstSessH = Addr(r.SrcSessH), Addr(r.DstSessH)
			x.DataDescr = DataDescr(r.Descr)
		}
		return x.Encode(b)
	}
	x := Sess{SessH: Addr(s.SessH)} // ATTACH_SESS, DETACH_SESS
	if i := s.Sess; i != nil {
		x.LUN, x.ThreadsNum, x.RdOnly = i.LUN, i.ThreadsNum, flag(i.ReadOnly)
		x.ScsiTransportVersion, x.PhysTransportVersion = i.TransportVersion, i.PhysVersion
		x.InitiatorName, x.TargetName = i.Initiator, i.Target
	}
	return x.Encode(b)
}

// DecodeSubcommand reads get_cmd, as a handler gets it, into s, all of which
// is overwritten. ErrShort: b ends before this subcommand's payload does;
// ErrSubcode: there is no such subcommand (a newer module); s then has the
// handle alone, so that the subcommand can be answered.
func DecodeSubcommand(b []byte, s *ucmd.Subcommand) error {
	h, code, err := header(b)
	if err != nil {
		return err
	}
	*s = ucmd.Subcommand{Handle: h}
	n := code.GetLen()
	if n == 0 {
		return fmt.Errorf("subcode %#x: %w", uint32(code), ErrSubcode)
	}
	if len(b) < n {
		return ErrShort
	}
	s.Code = code.Code()
	return decodePayload(b[headerLen:n], s)
}

// decodePayload reads the union's part; b has exactly its size.
func decodePayload(b []byte, s *ucmd.Subcommand) error {
	switch s.Code {
	case ucmd.SubExec:
		return decodeExec(b, s)
	case ucmd.SubParse:
		return decodeParse(b, s)
	case ucmd.SubAllocMem:
		var x AllocMem
		err := x.Decode(b)
		s.SessH, s.CDB, s.CDBLen, s.AllocLen, s.SN = uint64(x.SessH), x.CDB, x.CDBLen, x.AllocLen, x.SN
		s.QueueType, s.Dir = scsi.QueueType(x.QueueType), scsi.Dir(x.DataDirection)
		return err
	case ucmd.SubOnFree:
		var x OnFree
		err := x.Decode(b)
		s.PBuf, s.RespDataLen, s.BufferCached, s.Aborted = uint64(x.PBuf), x.RespDataLen, x.BufferCached != 0, x.Aborted != 0
		s.Status, s.Delivery = scsi.Status(x.Status), int8(x.DeliveryStatus)
		return err
	case ucmd.SubOnCachedMemFree:
		var x OnCachedMemFree
		err := x.Decode(b)
		s.PBuf = uint64(x.PBuf)
		return err
	case ucmd.SubTMReceived, ucmd.SubTMDone:
		var x TM
		err := x.Decode(b)
		s.SessH, s.TMFunc, s.CmdHToAbort, s.CmdSN, s.CmdSNSet = uint64(x.SessH), x.Fn, x.CmdHToAbort, x.CmdSN, x.CmdSNSet != 0
		return err
	case ucmd.SubExtCopyRemap:
		var x ExtCopyRemap
		err := x.Decode(b)
		s.SessH = uint64(x.SessH)
		s.Remap = &ucmd.RemapSegment{SrcSessH: uint64(x.SrcSessH), DstSessH: uint64(x.DstSessH), Descr: ucmd.DataDescr(x.DataDescr)}
		return err
	}
	var x Sess
	err := x.Decode(b)
	s.SessH = uint64(x.SessH)
	if s.Code == ucmd.SubAttachSess { // of DETACH_SESS nothing else is valid (R41)
		s.Sess = &ucmd.SessInfo{LUN: x.LUN, ThreadsNum: x.ThreadsNum, ReadOnly: x.RdOnly != 0,
			TransportVersion: x.ScsiTransportVersion, PhysVersion: x.PhysTransportVersion,
			Initiator: x.InitiatorName, Target: x.TargetName}
	}
	return err
}

func decodeExec(b []byte, s *ucmd.Subcommand) error {
	var x Exec
	err := x.Decode(b)
	s.SessH, s.CDB, s.CDBLen, s.LBA, s.SN = uint64(x.SessH), x.CDB, x.CDBLen, x.LBA, x.SN
	s.QueueType, s.Dir, s.Timeout = scsi.QueueType(x.QueueType), scsi.Dir(x.DataDirection), x.Timeout
	s.DataLen, s.BufLen, s.AllocLen, s.PBuf = x.DataLen, x.BuffLen, x.AllocLen, uint64(x.PBuf)
	s.OutPBuf, s.OutBufLen = uint64(x.POutBuf), x.OutBuffLen
	if s.Dir != scsi.DirBidi {
		s.OutPBuf = 0 // garbage (rule R55)
	}
	s.ParentHandle, s.ParentDataLen, s.PartialOffset = x.ParentCmdH, x.ParentCmdDataLen, x.PartialOffset
	return err
}

func decodeParse(b []byte, s *ucmd.Subcommand) error {
	var x Parse
	err := x.Decode(b)
	s.SessH, s.CDB, s.CDBLen, s.LBA, s.SN = uint64(x.SessH), x.CDB, x.CDBLen, x.LBA, x.SN
	s.QueueType, s.Dir, s.Timeout, s.OpFlags = scsi.QueueType(x.QueueType), scsi.Dir(x.DataDirection), x.Timeout, x.OpFlags
	s.DataLen, s.BufLen, s.OutBufLen = x.DataLen, x.BuffLen, x.OutBuffLen
	s.ExpectedSet, s.ExpectedDir = x.ExpectedValuesSet != 0, scsi.Dir(x.ExpectedDataDirection)
	s.ExpectedLen, s.ExpectedOut = x.ExpectedTransferLen, x.ExpectedOutTransferLen
	return err
}

// flag is a bool as the interface has it.
func flag(v bool) uint8 {
	if v {
		return 1
	}
	return 0
}
