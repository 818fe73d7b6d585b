package trace

import (
	"scstuser/ioctl/abi"
)

// names renames the things of one kind by their first appearance: 1, 2, 3.
type names[K comparable] map[K]int

func (n names[K]) of(k K) int {
	if v, ok := n[k]; ok {
		return v
	}
	n[k] = len(n) + 1
	return n[k]
}

// canon makes events comparable: what two runs of the same program never have
// in common is renamed by first appearance (handles, sessions, threads, files,
// buffers) or left out (times, sequence numbers, addresses that are only
// places to read from or write to, bytes that are decoded beside).
type canon struct {
	tid     names[[2]int] // process and thread
	file    names[int]
	handle  names[statKey]
	session names[statAddr]
	// pbuf names the buffers of a file. A buffer that the handler gives is a
	// new one, even at an old address.
	pbuf  map[statAddr]int
	bufs  int
	calls map[uint64]uint64 // number of the event, counting what is compared, by Seq
	n     uint64
}

type statAddr struct {
	file int
	a    abi.Addr
}

func newCanon() *canon {
	return &canon{tid: names[[2]int]{}, file: names[int]{}, handle: names[statKey]{},
		session: names[statAddr]{}, pbuf: map[statAddr]int{}, calls: map[uint64]uint64{}}
}

// event is e with everything renamed; nil for a mark, which is no part of the
// interface. e is not changed.
func (c *canon) event(e *Event) *Event {
	if e.Kind == KindMark {
		return nil
	}
	c.n++
	x := *e
	x.Time, x.Text, x.Seq = 0, "", c.n
	x.PID = 0 // the threads' names tell processes apart
	if e.TID != 0 {
		x.TID = c.tid.of([2]int{e.PID, e.TID})
	}
	x.File = c.file.of(e.File)
	switch e.Kind {
	case KindEnter:
		c.calls[e.Seq] = c.n
		x.In = c.in(e.File, e.In)
	case KindExit:
		x.Call = c.calls[e.Call]
		delete(c.calls, e.Call)
		x.Out = c.out(e, e.Out)
	}
	return &x
}

func (c *canon) in(file int, in *In) *In {
	if in == nil {
		return nil
	}
	x := *in
	x.Raw = nil
	if in.DevDesc != nil {
		d := *in.DevDesc
		place(&d.VersionStr)
		place(&d.LicenseStr)
		x.DevDesc = &d
	}
	if in.PReply != nil {
		p := *in.PReply
		place(&p)
		x.PReply = &p
	}
	if in.Multi != nil {
		m := *in.Multi
		place(&m.PReplies)
		m.Pad, m.RepliesDone = 0, 0 // nobody reads them
		x.Multi = &m
	}
	if in.Prealloc != nil {
		p := *in.Prealloc
		c.gift(file, &p.PBuf)
		x.Prealloc = &p
	}
	if in.ExtCDB != nil {
		g := *in.ExtCDB
		g.CmdH = c.h(file, g.CmdH)
		place(&g.ExtCDBBuffer)
		x.ExtCDB = &g
	}
	x.Replies = nil
	for i := range in.Replies {
		x.Replies = append(x.Replies, c.reply(file, &in.Replies[i]))
	}
	return &x
}

func (c *canon) reply(file int, r *Reply) Reply {
	x := *r
	x.Raw, x.CmdH = nil, c.h(file, r.CmdH)
	if r.Exec != nil {
		e := *r.Exec
		place(&e.PSenseBuffer)
		place(&e.WSDescriptors)
		c.gift(file, &e.PBuf)
		x.Exec = &e
	}
	if r.Alloc != nil {
		a := *r.Alloc
		c.gift(file, &a.PBuf)
		x.Alloc = &a
	}
	if r.Parse != nil {
		p := *r.Parse
		place(&p.PSenseBuffer)
		x.Parse = &p
	}
	if r.Remap != nil {
		m := *r.Remap
		place(&m.PSenseBuffer)
		place(&m.RemapDescriptors)
		x.Remap = &m
	}
	return x
}

func (c *canon) out(e *Event, out *Out) *Out {
	if out == nil {
		return nil
	}
	x := *out
	x.Raw = nil
	if out.Multi != nil {
		m := *out.Multi
		place(&m.PReplies)
		m.Pad = 0
		x.Multi = &m
	}
	if out.Prealloc != nil {
		p := *out.Prealloc
		if e.Errno == 0 {
			p.CmdH = c.h(e.File, p.CmdH)
		} else {
			p.CmdH = 0 // was not written
		}
		x.Prealloc = &p
	}
	x.Cmds = nil
	for i := range out.Cmds {
		x.Cmds = append(x.Cmds, c.cmd(e.File, &out.Cmds[i]))
	}
	return &x
}

func (c *canon) cmd(file int, cmd *Cmd) Cmd {
	x := *cmd
	x.Raw, x.CmdH = nil, c.h(file, cmd.CmdH)
	switch {
	case cmd.Sess != nil:
		s := *cmd.Sess
		c.sess(file, &s.SessH)
		x.Sess = &s
	case cmd.Parse != nil:
		p := *cmd.Parse
		c.sess(file, &p.SessH)
		x.Parse = &p
	case cmd.AllocMem != nil:
		a := *cmd.AllocMem
		c.sess(file, &a.SessH)
		x.AllocMem = &a
	case cmd.Exec != nil:
		e := *cmd.Exec
		c.sess(file, &e.SessH)
		c.given(file, &e.PBuf)
		e.POutBuf = 0 // garbage (rule R55)
		x.Exec = &e
	case cmd.OnFree != nil:
		o := *cmd.OnFree
		c.given(file, &o.PBuf)
		x.OnFree = &o
	case cmd.OnCachedMemFree != nil:
		o := *cmd.OnCachedMemFree
		c.given(file, &o.PBuf)
		x.OnCachedMemFree = &o
	case cmd.TM != nil:
		t := *cmd.TM
		c.sess(file, &t.SessH)
		if t.Fn == 0 && t.CmdHToAbort != 0 {
			t.CmdHToAbort = c.h(file, t.CmdHToAbort)
		}
		x.TM = &t
	case cmd.Remap != nil:
		r := *cmd.Remap
		c.sess(file, &r.SessH)
		c.sess(file, &r.SrcSessH)
		c.sess(file, &r.DstSessH)
		x.Remap = &r
	}
	return x
}

// h renames a handle.
func (c *canon) h(file int, h uint32) uint32 { return uint32(c.handle.of(statKey{file, h})) }

// sess renames a session's handle; 0 stays.
func (c *canon) sess(file int, a *abi.Addr) {
	if *a != 0 {
		*a = abi.Addr(c.session.of(statAddr{file, *a}))
	}
}

// gift renames a buffer that the handler gives; none stays.
func (c *canon) gift(file int, a *abi.Addr) {
	if *a == 0 {
		return
	}
	c.bufs++
	c.pbuf[statAddr{file, *a}] = c.bufs
	*a = abi.Addr(c.bufs)
}

// given renames a buffer that the host says. One that was never given, as
// before the recording began, is one more.
func (c *canon) given(file int, a *abi.Addr) {
	if *a == 0 {
		return
	}
	k := statAddr{file, *a}
	if c.pbuf[k] == 0 {
		c.bufs++
		c.pbuf[k] = c.bufs
	}
	*a = abi.Addr(c.pbuf[k])
}

// place keeps only whether an address is there.
func place(a *abi.Addr) {
	if *a != 0 {
		*a = 1
	}
}
