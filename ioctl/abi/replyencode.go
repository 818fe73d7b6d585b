package abi

import (
	"fmt"

	"scstuser/ucmd"
)

// EncodeReply writes r as reply_cmd to the first SizeReplyCmd bytes of b. The
// bytes of r's sense and lists are the caller's to put where p says; the
// lengths are p's as well, but for the lists, whose lengths are r.WSLen and
// r.RemapLen as declared. ErrShort: b is smaller; ErrSubcode: r has no valid
// code. An EXEC reply of no valid type is written as one that every host
// refuses.
func EncodeReply(b []byte, r *ucmd.Reply, p *Pointers) error {
	code := SubcodeOf(r.Code)
	if code == 0 {
		return fmt.Errorf("reply to %#x: %w", uint8(r.Code), ErrSubcode)
	}
	if len(b) < SizeReplyCmd {
		return ErrShort
	}
	b = b[:SizeReplyCmd]
	clear(b)
	putHeader(b, r.Handle, code)
	b = b[headerLen:]
	sense := Span{p.Sense.Addr, min(p.Sense.Len, MaxSense)}
	switch r.Code {
	case ucmd.SubExec:
		x := ExecReply{RespDataLen: r.RespDataLen, PBuf: Addr(r.PBuf), ReplyType: wireReplyType(r.Type), Status: uint8(r.Status)}
		if r.Type == ucmd.ReplyDoWriteSame {
			x.WSDescriptorsLen, x.WSDescriptors = listLen(r.WSLen), p.WriteSame.Addr
		} else {
			x.SenseLen, x.PSenseBuffer = uint8(sense.Len), sense.Addr
		}
		return x.Encode(b)
	case ucmd.SubAllocMem:
		x := AllocMemReply{PBuf: Addr(r.PBuf)}
		return x.Encode(b)
	case ucmd.SubParse:
		x := ParseReply{Status: uint8(r.Status), SenseLen: uint8(sense.Len), PSenseBuffer: sense.Addr,
			QueueType: uint8(r.QueueType), DataDirection: uint8(r.Dir), CDBLen: r.CDBLen, LBA: r.LBA,
			DataLen: r.DataLen, BuffLen: r.BufLen, OutBuffLen: r.OutBufLen, OpFlags: r.OpFlags}
		return x.Encode(b)
	case ucmd.SubExtCopyRemap:
		x := RemapReply{RemapDescriptors: p.Remap.Addr, RemapDescriptorsLen: listLen(r.RemapLen),
			Status: uint8(r.Status), SenseLen: uint8(sense.Len), PSenseBuffer: sense.Addr}
		return x.Encode(b)
	case ucmd.SubAttachSess, ucmd.SubDetachSess, ucmd.SubTMReceived, ucmd.SubTMDone:
		putLE32(b, r.Result)
	}
	return nil
}

// wireReplyType translates: the zero value is COMPLETED nowhere and
// BACKGROUND on the wire only.
func wireReplyType(t ucmd.ReplyType) uint8 {
	switch t {
	case ucmd.ReplyCompleted:
		return ExecReplyCompleted
	case ucmd.ReplyBackground:
		return ExecReplyBackground
	case ucmd.ReplyDoWriteSame:
		return ExecReplyDoWriteSame
	}
	return 0xff
}

// listLen is a declared length as 16 bits; what does not fit becomes the
// largest one, which is refused as too long as well.
func listLen(n int32) uint16 {
	if n < 0 || n > 1<<16-1 {
		return 1<<16 - 1
	}
	return uint16(n)
}
