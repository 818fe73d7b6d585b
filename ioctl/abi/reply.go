package abi

import (
	"scstuser/scsi"
	"scstuser/ucmd"
)

// EXEC reply types on the wire (rules R57, R59, R60).
const (
	ExecReplyBackground  = 0
	ExecReplyCompleted   = 1
	ExecReplyDoWriteSame = 2
)

// MaxSense is how many bytes of sense data count (rules R46, R58).
const MaxSense = 252

// Span is a piece of the handler's memory.
type Span struct {
	Addr Addr
	Len  int // bytes
}

// Pointers are what a reply points to, besides its buffer. Len 0 is nothing.
//
// From DecodeReply the lengths are what is to be read, already limited: sense
// at most MaxSense bytes, descriptors only if their length is acceptable (a
// multiple of their size, at most a page); a list with another length is not
// worth reading, as the reply will be refused for what it declares. At most
// one of WriteSame and Remap is set; Sense and Remap both can be.
//
// For EncodeReply they say where the caller has put the bytes.
type Pointers struct {
	Sense     Span // then r.Sense, or r.BadSense if it can't be read
	WriteSame Span // then SetWriteSame
	Remap     Span // then SetRemap
}

// DecodeReply reads reply_cmd as a handler gave it into r and p, all of which
// is overwritten except that r keeps the room of its lists for SetWriteSame
// and SetRemap. The only error is ErrShort. A subcode that is not the
// interface's becomes Code 0 and a reply type that is not becomes Type 0,
// both of which ucmd refuses with EINVAL (R25, facts 27, 37).
func DecodeReply(b []byte, r *ucmd.Reply, p *Pointers) error {
	h, code, err := header(b)
	if err != nil || len(b) < SizeReplyCmd {
		return ErrShort
	}
	*r = ucmd.Reply{Handle: h, Code: code.Code(), WriteSame: r.WriteSame[:0], Remap: r.Remap[:0]}
	*p = Pointers{}
	b = b[headerLen:SizeReplyCmd]
	switch r.Code {
	case ucmd.SubExec:
		return decodeExecReply(b, r, p)
	case ucmd.SubAllocMem:
		var x AllocMemReply
		err = x.Decode(b)
		r.PBuf = uint64(x.PBuf)
	case ucmd.SubParse:
		return decodeParseReply(b, r, p)
	case ucmd.SubExtCopyRemap:
		var x RemapReply
		err = x.Decode(b)
		r.Status, r.RemapLen = scsi.Status(x.Status), int32(x.RemapDescriptorsLen)
		p.Sense = senseSpan(x.PSenseBuffer, x.SenseLen)
		p.Remap = listSpan(x.RemapDescriptors, int(x.RemapDescriptorsLen), SizeDataDescr)
	case ucmd.SubAttachSess, ucmd.SubDetachSess, ucmd.SubTMReceived, ucmd.SubTMDone:
		r.Result = le32(b)
	}
	return err
}

func decodeExecReply(b []byte, r *ucmd.Reply, p *Pointers) error {
	var x ExecReply
	if err := x.Decode(b); err != nil {
		return err
	}
	r.RespDataLen, r.PBuf, r.Status = x.RespDataLen, uint64(x.PBuf), scsi.Status(x.Status)
	switch x.ReplyType {
	case ExecReplyCompleted:
		r.Type = ucmd.ReplyCompleted
		p.Sense = senseSpan(x.PSenseBuffer, x.SenseLen)
	case ExecReplyBackground:
		r.Type = ucmd.ReplyBackground // GOOD is what the initiator gets: no sense
	case ExecReplyDoWriteSame:
		r.Type = ucmd.ReplyDoWriteSame
		r.WSLen = int32(x.WSDescriptorsLen)
		p.WriteSame = listSpan(x.WSDescriptors, int(x.WSDescriptorsLen), SizeWriteSameDescr)
	}
	return nil
}

func decodeParseReply(b []byte, r *ucmd.Reply, p *Pointers) error {
	var x ParseReply
	if err := x.Decode(b); err != nil {
		return err
	}
	r.Status = scsi.Status(x.Status)
	p.Sense = senseSpan(x.PSenseBuffer, x.SenseLen)
	r.QueueType, r.Dir, r.CDBLen = scsi.QueueType(x.QueueType), scsi.Dir(x.DataDirection), x.CDBLen
	r.LBA, r.DataLen, r.BufLen, r.OutBufLen, r.OpFlags = x.LBA, x.DataLen, x.BuffLen, x.OutBuffLen, x.OpFlags
	return nil
}

// senseSpan is the sense data worth reading. A zero length is no sense,
// whatever the pointer is (rule R58).
func senseSpan(a Addr, n uint8) Span {
	if n == 0 {
		return Span{}
	}
	return Span{a, min(int(n), MaxSense)}
}

// listSpan is the list worth reading: none if its length will be refused
// anyway.
func listSpan(a Addr, n, each int) Span {
	if n == 0 || n > ucmd.PageSize || n%each != 0 {
		return Span{}
	}
	return Span{a, n}
}

// SetWriteSame makes r.WriteSame of the bytes at Pointers.WriteSame. It
// allocates only if r's list has no room yet.
func SetWriteSame(r *ucmd.Reply, b []byte) {
	r.WriteSame = r.WriteSame[:0]
	for ; len(b) >= SizeWriteSameDescr; b = b[SizeWriteSameDescr:] {
		var x WriteSameDescr
		if x.Decode(b) == nil {
			r.WriteSame = append(r.WriteSame, ucmd.WriteSameDescr(x))
		}
	}
}

// SetRemap makes r.Remap of the bytes at Pointers.Remap. It allocates only if
// r's list has no room yet.
func SetRemap(r *ucmd.Reply, b []byte) {
	r.Remap = r.Remap[:0]
	for ; len(b) >= SizeDataDescr; b = b[SizeDataDescr:] {
		var x DataDescr
		if x.Decode(b) == nil {
			r.Remap = append(r.Remap, ucmd.DataDescr(x))
		}
	}
}

// AppendWriteSame appends r.WriteSame as bytes, for a client to put where
// Pointers.WriteSame says.
func AppendWriteSame(b []byte, r *ucmd.Reply) []byte {
	for _, d := range r.WriteSame {
		n := len(b)
		b = append(b, make([]byte, SizeWriteSameDescr)...)
		x := WriteSameDescr(d)
		_ = x.Encode(b[n:]) // has room
	}
	return b
}

// AppendRemap appends r.Remap as bytes, for a client to put where
// Pointers.Remap says.
func AppendRemap(b []byte, r *ucmd.Reply) []byte {
	for _, d := range r.Remap {
		n := len(b)
		b = append(b, make([]byte, SizeDataDescr)...)
		x := DataDescr(d)
		_ = x.Encode(b[n:]) // has room
	}
	return b
}
