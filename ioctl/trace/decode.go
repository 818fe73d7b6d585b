package trace

import (
	"fmt"

	"scstuser/ioctl/abi"
)

// ArgIn decodes an ioctl's argument as it goes in; what it points to is the
// caller's to add. Raw is a copy of b. It is nil for ioctls without an
// argument that goes in. The error is that there are too few bytes.
func ArgIn(op abi.Ioctl, b []byte) (*In, error) {
	in := &In{Raw: clone(b)}
	var err error
	switch op {
	case abi.IoctlRegisterDevice:
		in.DevDesc = new(abi.DevDesc)
		err = in.DevDesc.Decode(b)
	case abi.IoctlSetOptions:
		in.Opt = new(abi.Opt)
		err = in.Opt.Decode(b)
	case abi.IoctlReplyAndGetCmd:
		in.PReply = new(abi.Addr)
		*in.PReply, err = abi.PReply(b)
	case abi.IoctlReplyCmd:
		var r Reply
		r, err = NewReply(b)
		r.Raw = nil // is in.Raw
		in.Replies = []Reply{r}
	case abi.IoctlReplyAndGetMulti:
		in.Multi = new(abi.Multi)
		err = in.Multi.Decode(b)
	case abi.IoctlPreallocBuffer:
		in.Prealloc = new(abi.PreallocIn)
		err = in.Prealloc.Decode(b)
	case abi.IoctlGetExtendedCDB:
		in.ExtCDB = new(abi.GetExtCDB)
		err = in.ExtCDB.Decode(b)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", op, err)
	}
	return in, nil
}

// ArgOut decodes an ioctl's argument as it comes out; subcommands are the
// caller's to add. Raw is a copy of b. It is nil for ioctls of whose argument
// nothing comes out. The error is that there are too few bytes.
func ArgOut(op abi.Ioctl, b []byte) (*Out, error) {
	out := &Out{Raw: clone(b)}
	var err error
	switch op {
	case abi.IoctlGetOptions:
		out.Opt = new(abi.Opt)
		err = out.Opt.Decode(b)
	case abi.IoctlReplyAndGetMulti:
		out.Multi = new(abi.Multi)
		err = out.Multi.Decode(b)
	case abi.IoctlPreallocBuffer:
		out.Prealloc = new(abi.PreallocOut)
		err = out.Prealloc.Decode(b)
	case abi.IoctlReplyAndGetCmd: // a subcommand: NewCmd
		out.Raw = nil
	default:
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("argument of %v: %w", op, err)
	}
	return out, nil
}

// NewReply decodes reply_cmd bytes; what they point to is the caller's to add.
// Raw is a copy of b. The error is abi.ErrShort.
func NewReply(b []byte) (r Reply, err error) {
	err = r.Answer.Decode(b)
	r.Raw = clone(b)
	return r, err
}

// NewCmd decodes get_cmd bytes, which may be longer than the subcommand's
// payload. Raw is a copy of that. Errors are abi.ErrShort and abi.ErrSubcode.
func NewCmd(b []byte) (c Cmd, err error) {
	err = c.Command.Decode(b)
	if n := c.Subcode.GetLen(); err == nil && n < len(b) {
		b = b[:n]
	}
	c.Raw = clone(b)
	return c, err
}

// clone copies b; nothing stays nil, as it does through a file.
func clone(b []byte) Hex {
	if len(b) == 0 {
		return nil
	}
	return append(Hex(nil), b...)
}
