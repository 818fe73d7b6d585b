package replay

import (
	"context"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/node"
	"scstuser/ioctl/trace"
)

// Where the handler's structures are that have no address in the recording, or
// whose place does not matter.
const (
	argPlace   abi.Addr = 0x5000_0000_0000 // the argument, and MULTI's cmds[] behind it
	replyPlace abi.Addr = 0x5000_1000_0000 // a reply
)

// outcome is how an ioctl ended.
type outcome struct {
	errno trace.Errno
	out   []byte // the argument as it comes out, nil: it doesn't
}

// restart is ERESTARTSYS: a get was interrupted, that is, nothing was ready.
const restart = 512

// ioctl makes one ioctl of the handler. ctx ended: as if a signal had come.
func (d *device) ioctl(ctx context.Context, op abi.Ioctl, tid int, in []byte) outcome {
	c := &node.Call{Cmd: op, Arg: argPlace, In: in, TID: tid, Mem: d.mem}
	result, errno, out := d.file.Ioctl(ctx, c)
	switch {
	case errno != 0:
		return outcome{errno: trace.Errno(errno)}
	case result == -restart:
		return outcome{trace.Errno(syscall.EINTR), out}
	case result < 0:
		return outcome{trace.Errno(-result), out}
	}
	return outcome{0, out}
}

// argument is what goes in with an ioctl, as bytes; nil: it can't be known.
func argument(op abi.Ioctl, in *trace.In) []byte {
	b := make([]byte, op.Size())
	var err error
	switch {
	case op == abi.IoctlRegisterDevice && in.DevDesc != nil:
		err = in.DevDesc.Encode(b)
	case op == abi.IoctlSetOptions && in.Opt != nil:
		err = in.Opt.Encode(b)
	case op == abi.IoctlPreallocBuffer && in.Prealloc != nil:
		err = in.Prealloc.Encode(b)
	case op == abi.IoctlGetExtendedCDB && in.ExtCDB != nil:
		err = in.ExtCDB.Encode(b)
	case op.Dir()&abi.DirWrite != 0:
		return nil
	}
	if err != nil {
		return nil
	}
	return b
}

// canceled is a call's context that makes a fetch return at once.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// take fetches one subcommand from the host, if one is ready: as a handler
// does with REPLY_AND_GET_CMD, or as one with _MULTI and room for one.
func (d *device) take() (*trace.Cmd, error) {
	op, in := abi.IoctlReplyAndGetCmd, make([]byte, abi.SizeGetCmd)
	if d.multi {
		op, in = abi.IoctlReplyAndGetMulti, make([]byte, abi.SizeMulti)
		m := abi.Multi{CmdsCnt: 1}
		if err := m.Encode(in); err != nil {
			return nil, err
		}
	}
	o := d.ioctl(canceled, op, 0, in)
	switch {
	case o.errno == trace.Errno(syscall.EINTR), o.errno == trace.Errno(syscall.EAGAIN):
		return nil, nil
	case o.errno != 0:
		return nil, syscall.Errno(o.errno)
	}
	b := o.out
	if d.multi {
		var m abi.Multi
		if err := m.Decode(o.out); err != nil {
			return nil, err
		}
		if m.CmdsCnt == 0 {
			return nil, nil
		}
		b = d.mem.get(abi.MultiCmdAddr(argPlace, 0), abi.SizeGetCmd)
	}
	c, err := trace.NewCmd(b)
	if err != nil {
		return nil, err
	}
	d.out++
	if x := c.Exec; x != nil && x.DataDirection&1 != 0 && x.PBuf != 0 {
		c.Data = d.mem.get(x.PBuf, int(max(x.BuffLen, 0)))
	}
	return &c, nil
}

// reply gives one reply as the handler gave it, but for the handle; the errno
// is the host's answer to it.
func (d *device) reply(r *trace.Reply) trace.Errno {
	a := r.Answer
	if h, ok := d.handles[a.CmdH]; ok {
		a.CmdH = h
	} else {
		a.CmdH = ^uint32(0) // one that the recorded host did not know either
	}
	d.place(r)
	b := make([]byte, abi.SizeReplyCmd)
	if a.Encode(b) != nil {
		return trace.Errno(syscall.EINVAL)
	}
	var o outcome
	if d.multi {
		d.mem.put(replyPlace, b)
		m := abi.Multi{PReplies: replyPlace, RepliesCnt: 1}
		in := make([]byte, abi.SizeMulti)
		if m.Encode(in) != nil {
			return trace.Errno(syscall.EINVAL)
		}
		o = d.ioctl(context.Background(), abi.IoctlReplyAndGetMulti, 0, in)
	} else {
		o = d.ioctl(context.Background(), abi.IoctlReplyCmd, 0, b)
	}
	if o.errno == 0 {
		d.out--
	}
	return o.errno
}

// place puts what a reply points to where it points.
func (d *device) place(r *trace.Reply) {
	put := func(at abi.Addr, declared int, b []byte) {
		if declared == 0 || at == 0 {
			return
		}
		d.mem.setBad(at, len(b) == 0) // the recorder could not read it
		d.mem.put(at, b)
	}
	switch {
	case r.Exec != nil:
		x := r.Exec
		put(x.PSenseBuffer, int(x.SenseLen), r.Sense)
		if x.ReplyType == abi.ExecReplyDoWriteSame {
			put(x.WSDescriptors, int(x.WSDescriptorsLen), r.WriteSame)
		}
		if at := d.bufferOf(r); at != 0 {
			d.mem.put(at, r.Data)
		}
	case r.Parse != nil:
		put(r.Parse.PSenseBuffer, int(r.Parse.SenseLen), r.Sense)
	case r.Remap != nil:
		put(r.Remap.PSenseBuffer, int(r.Remap.SenseLen), r.Sense)
		put(r.Remap.RemapDescriptors, int(r.Remap.RemapDescriptorsLen), r.RemapList)
	}
}
