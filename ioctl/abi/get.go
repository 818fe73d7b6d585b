package abi

import "encoding/binary"

// headerLen is the size of what get_cmd and reply_cmd begin with, the handle
// and the subcode; their unions follow.
const headerLen = 8

// MultiMax bounds cmds_cnt and replies_cnt, which are signed 16-bit numbers.
const MultiMax = 1<<15 - 1

// MultiCmdAddr is where the i-th subcommand of a REPLY_AND_GET_MULTI goes,
// whose argument is at arg: behind the bytes that its number covers (rule R1).
func MultiCmdAddr(arg Addr, i int) Addr {
	return arg + SizeMulti + Addr(i)*SizeGetCmd
}

// Replies is RepliesCnt as a count: negative is none (fact 12).
func (x *Multi) Replies() int { return max(int(x.RepliesCnt), 0) }

// Room is CmdsCnt as a count: negative is none (fact 12).
func (x *Multi) Room() int { return max(int(x.CmdsCnt), 0) }

// MultiReplyAddr is where the i-th reply of a REPLY_AND_GET_MULTI is.
func (x *Multi) MultiReplyAddr(i int) Addr {
	return x.PReplies + Addr(i)*SizeReplyCmd
}

// PReply reads preply, the address of the reply, from the argument of
// REPLY_AND_GET_CMD; 0 is no reply (rule R23). ErrShort: b has less than 16
// bytes.
func PReply(b []byte) (Addr, error) {
	if len(b) < headerLen+8 {
		return 0, ErrShort
	}
	return Addr(binary.LittleEndian.Uint64(b[headerLen:])), nil
}

// PutPReply writes preply and clears the header in front of it: the argument
// of REPLY_AND_GET_CMD on its way in. ErrShort: b has less than 16 bytes.
func PutPReply(b []byte, reply Addr) error {
	if len(b) < headerLen+8 {
		return ErrShort
	}
	clear(b[:headerLen])
	binary.LittleEndian.PutUint64(b[headerLen:], uint64(reply))
	return nil
}

// header reads the handle and the subcode.
func header(b []byte) (h uint32, s Subcode, err error) {
	if len(b) < headerLen {
		return 0, 0, ErrShort
	}
	return binary.LittleEndian.Uint32(b), Subcode(binary.LittleEndian.Uint32(b[4:])), nil
}

// putHeader writes the handle and the subcode; b is long enough.
func putHeader(b []byte, h uint32, s Subcode) {
	binary.LittleEndian.PutUint32(b, h)
	binary.LittleEndian.PutUint32(b[4:], uint32(s))
}

// le32 reads a signed 32-bit number.
func le32(b []byte) int32 { return int32(binary.LittleEndian.Uint32(b)) }

// putLE32 writes a signed 32-bit number.
func putLE32(b []byte, v int32) { binary.LittleEndian.PutUint32(b, uint32(v)) }
