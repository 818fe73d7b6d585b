package node

import (
	"syscall"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// recording is one ioctl on its way into a trace. It exists only while somebody
// records, and costs what the other calls don't.
type recording struct {
	file   *File
	call   uint64 // Seq of the enter event
	op     string
	cmds   []trace.Cmd
	extCDB []byte
}

// write passes an event to the recorder. A recording that fails is given up
// once, with a line in the log; the handlers go on.
func (h *Host) write(e *trace.Event) (seq uint64) {
	e.Time = int64(time.Since(h.start))
	seq, err := h.opt.Recorder.Write(e)
	if err != nil && !h.recordFailed.Swap(true) {
		h.opt.Log.WithError(err).Error("the recording can't be written; it ends here")
	}
	return seq
}

// recordOpen and recordRelease record the life of a file.
func (h *Host) recordOpen(f *File, tid int) {
	if h.opt.Recorder != nil {
		h.write(&trace.Event{Kind: trace.KindOpen, TID: tid, File: f.id, NonBlock: f.nonBlocking})
	}
}

func (h *Host) recordRelease(f *File, tid int) {
	if h.opt.Recorder != nil {
		h.write(&trace.Event{Kind: trace.KindRelease, TID: tid, File: f.id})
	}
}

// recordEnter records that an ioctl begins, with what its pointers lead to. nil:
// nobody records.
func (f *File) recordEnter(c *Call) *recording {
	if f.host.opt.Recorder == nil {
		return nil
	}
	r := &recording{file: f, op: c.Cmd.String()}
	in, _ := trace.ArgIn(c.Cmd, c.In) // what is too short is refused anyway
	if in != nil {
		r.pointers(c, in)
	}
	r.call = f.host.write(&trace.Event{Kind: trace.KindEnter, TID: c.TID, File: f.id, Op: r.op, In: in})
	return r
}

// pointers adds what the argument points to.
func (r *recording) pointers(c *Call, in *trace.In) {
	switch {
	case in.DevDesc != nil:
		license, _ := readString(c.Mem, in.DevDesc.LicenseStr, abi.StringMax)
		version, _ := readString(c.Mem, in.DevDesc.VersionStr, abi.StringMax)
		in.License, in.Version = abi.CString(license), abi.CString(version)
	case in.PReply != nil && *in.PReply != 0:
		r.replies(c, in, *in.PReply, 1)
	case in.Multi != nil:
		r.replies(c, in, in.Multi.PReplies, in.Multi.Replies())
	case len(in.Replies) > 0:
		r.reply(c, &in.Replies[0], c.In)
	}
}

// replies reads n replies, as far as they can be read.
func (r *recording) replies(c *Call, in *trace.In, at abi.Addr, n int) {
	raw := make([]byte, n*abi.SizeReplyCmd)
	n = c.Mem.Read([]Piece{{at, raw}}) / abi.SizeReplyCmd
	for i := range n {
		b := raw[i*abi.SizeReplyCmd:][:abi.SizeReplyCmd]
		x, err := trace.NewReply(b)
		if err != nil {
			return
		}
		r.reply(c, &x, b)
		in.Replies = append(in.Replies, x)
	}
}

// reply adds what one reply points to.
func (r *recording) reply(c *Call, x *trace.Reply, raw []byte) {
	var d ucmd.Reply
	var p abi.Pointers
	if abi.DecodeReply(raw, &d, &p) != nil {
		return
	}
	x.Sense = r.bytes(c, p.Sense.Addr, p.Sense.Len)
	x.WriteSame = r.bytes(c, p.WriteSame.Addr, p.WriteSame.Len)
	x.RemapList = r.bytes(c, p.Remap.Addr, p.Remap.Len)
	dev := r.file.Device()
	if dev == nil || d.Code != ucmd.SubExec || d.RespDataLen <= 0 {
		return
	}
	if o, ok := dev.Outstanding(d.Handle); ok && o.Code == ucmd.SubExec {
		at := o.PBuf
		if at == 0 {
			at = d.PBuf
		}
		x.Data = r.bytes(c, abi.Addr(at), min(int(d.RespDataLen), int(o.BufLen), max(r.file.host.opt.RecordData, 0)))
	}
}

// bytes reads some bytes, nil if they are not there.
func (r *recording) bytes(c *Call, at abi.Addr, n int) trace.Hex {
	b := make(trace.Hex, n)
	if n == 0 || !readAll(c.Mem, at, b) {
		return nil
	}
	return b
}

// record keeps the first n subcommands of b, which have been delivered.
func (b *batch) record(x *request, n int) {
	if x.rec == nil {
		return
	}
	for i := range n {
		c, err := trace.NewCmd(b.out[i*abi.SizeGetCmd:][:b.lens[i]])
		if err != nil {
			continue
		}
		for k := range b.loads {
			// The first piece of subcommand i is its payload, if it has two.
			if most := x.host.opt.RecordData; b.loads[k].reply == i && k < len(b.pieces)-len(b.subs) && most > 0 {
				data := b.pieces[k].Buf
				c.Data = append(trace.Hex(nil), data[:min(len(data), most)]...)
			}
		}
		x.rec.cmds = append(x.rec.cmds, c)
	}
}

// exit records how the call ended.
func (r *recording) exit(c *Call, result int32, errno syscall.Errno, out []byte) {
	e := &trace.Event{Kind: trace.KindExit, TID: c.TID, File: r.file.id, Op: r.op, Call: r.call}
	switch {
	case errno != 0:
		e.Ret, e.Errno = -1, trace.Errno(errno)
	case result == restartSys:
		e.Ret, e.Errno = -1, trace.Errno(syscall.EINTR)
	case result < 0:
		e.Ret, e.Errno = -1, trace.Errno(-result)
	}
	if out != nil {
		e.Out, _ = trace.ArgOut(c.Cmd, out) // out is as long as the number says
	}
	if e.Out == nil && (len(r.cmds) > 0 || len(r.extCDB) > 0) {
		e.Out = &trace.Out{}
	}
	if e.Out != nil {
		e.Out.Cmds, e.Out.ExtCDB = r.cmds, r.extCDB
	}
	r.file.host.write(e)
}
