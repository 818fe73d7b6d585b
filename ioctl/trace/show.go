package trace

import (
	"fmt"
	"strings"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
)

// Printer writes events as lines for people. Times are relative to the first
// event that it is given, sessions are named by their first appearance. It has
// one user at a time.
type Printer struct {
	begun bool
	start int64            // Time of the first event
	enter map[uint64]int64 // Time of calls that have not returned
	sess  map[abi.Addr]int // names of sessions
}

// Line is one event as a line without an end: when, which thread and file,
// > for a call and < for its return, the ioctl, and what matters of what it
// carries: each reply and each subcommand with its handle in brackets.
func (p *Printer) Line(e *Event) string {
	if !p.begun {
		p.begun, p.start = true, e.Time
		p.enter, p.sess = map[uint64]int64{}, map[abi.Addr]int{}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%6d %12.6f ", e.Seq, float64(e.Time-p.start)/1e9)
	if e.Kind == KindMark {
		fmt.Fprintf(&b, "%14s # %s", "", printable(e.Text))
		return b.String()
	}
	fmt.Fprintf(&b, "%8d file %d ", e.TID, e.File)
	switch e.Kind {
	case KindEnter:
		p.enter[e.Seq] = e.Time
		b.WriteString("> " + e.Op)
		p.in(&b, e.In)
	case KindExit:
		b.WriteString("< " + e.Op)
		if e.Errno != 0 {
			b.WriteString(" " + e.Errno.String())
		} else if e.Ret != 0 {
			fmt.Fprintf(&b, " = %d", e.Ret)
		}
		p.out(&b, e.Out)
		if at, ok := p.enter[e.Call]; ok {
			fmt.Fprintf(&b, " (%v)", time.Duration(e.Time-at).Round(time.Microsecond))
			delete(p.enter, e.Call)
		}
	default:
		fmt.Fprintf(&b, "- %s", e.Kind)
		if e.NonBlock {
			b.WriteString(" nonblock")
		}
	}
	return b.String()
}

func (p *Printer) in(b *strings.Builder, in *In) {
	if in == nil {
		return
	}
	if d := in.DevDesc; d != nil {
		fmt.Fprintf(b, " %s type %d block %d license %s", quoted(d.Name), d.Type, d.BlockSize, quoted(in.License))
		options(b, &d.Opt)
	}
	if in.Opt != nil {
		options(b, in.Opt)
	}
	if m := in.Multi; m != nil {
		fmt.Fprintf(b, " room %d", m.CmdsCnt)
	}
	if x := in.Prealloc; x != nil {
		fmt.Fprintf(b, " %s len %d", hexAddr(x.PBuf), x.BuffLen)
	}
	if x := in.ExtCDB; x != nil {
		fmt.Fprintf(b, " h=%d", x.CmdH)
	}
	for i := range in.Replies {
		b.WriteByte(' ')
		reply(b, &in.Replies[i])
	}
}

func (p *Printer) out(b *strings.Builder, out *Out) {
	if out == nil {
		return
	}
	if out.Opt != nil {
		options(b, out.Opt)
	}
	if m := out.Multi; m != nil && m.RepliesDone != 0 {
		fmt.Fprintf(b, " done %d", m.RepliesDone)
	}
	if out.Prealloc != nil {
		fmt.Fprintf(b, " h=%d", out.Prealloc.CmdH)
	}
	if len(out.ExtCDB) > 0 {
		fmt.Fprintf(b, " cdb+%x", []byte(out.ExtCDB))
	}
	for i := range out.Cmds {
		b.WriteByte(' ')
		p.cmd(b, &out.Cmds[i])
	}
}

func options(b *strings.Builder, o *abi.Opt) {
	fmt.Fprintf(b, " parse %d on_free %d reuse %d", o.ParseType, o.OnFreeCmdType, o.MemoryReuseType)
}

// reply is one reply in brackets.
func reply(b *strings.Builder, r *Reply) {
	fmt.Fprintf(b, "[%v h=%d", r.Subcode, r.CmdH)
	switch {
	case r.Exec != nil:
		x := r.Exec
		if t := replyType(x.ReplyType); t != "" {
			b.WriteString(" " + t)
		}
		status(b, x.Status)
		fmt.Fprintf(b, " len %d", x.RespDataLen)
		pbuf(b, x.PBuf)
		if x.WSDescriptorsLen != 0 {
			fmt.Fprintf(b, " ws %d bytes", x.WSDescriptorsLen)
		}
	case r.Alloc != nil:
		pbuf(b, r.Alloc.PBuf)
	case r.Parse != nil:
		x := r.Parse
		status(b, x.Status)
		if x.Status == 0 {
			fmt.Fprintf(b, " %v lba %d data %d buf %d", scsi.Dir(x.DataDirection), x.LBA, x.DataLen, x.BuffLen)
		}
	case r.Remap != nil:
		status(b, r.Remap.Status)
		fmt.Fprintf(b, " remap %d bytes", r.Remap.RemapDescriptorsLen)
	case r.Result != nil && *r.Result != 0:
		fmt.Fprintf(b, " = %d", *r.Result)
	}
	if len(r.Sense) > 0 {
		fmt.Fprintf(b, " sense %x", []byte(r.Sense))
	}
	b.WriteByte(']')
}

// cmd is one subcommand in brackets.
func (p *Printer) cmd(b *strings.Builder, c *Cmd) {
	fmt.Fprintf(b, "[%v h=%d", c.Subcode, c.CmdH)
	switch {
	case c.Exec != nil:
		x := c.Exec
		p.scsi(b, x.SessH, x.CDB, x.CDBLen, x.DataDirection, x.QueueType)
		fmt.Fprintf(b, " lba %d buf %d", x.LBA, x.BuffLen)
		if x.AllocLen != 0 {
			fmt.Fprintf(b, " alloc %d", x.AllocLen)
		}
		pbuf(b, x.PBuf)
	case c.Parse != nil:
		x := c.Parse
		p.scsi(b, x.SessH, x.CDB, x.CDBLen, x.DataDirection, x.QueueType)
		fmt.Fprintf(b, " lba %d data %d buf %d flags %#x", x.LBA, x.DataLen, x.BuffLen, x.OpFlags)
	case c.AllocMem != nil:
		x := c.AllocMem
		p.scsi(b, x.SessH, x.CDB, x.CDBLen, x.DataDirection, x.QueueType)
		fmt.Fprintf(b, " alloc %d", x.AllocLen)
	case c.OnFree != nil:
		x := c.OnFree
		status(b, x.Status)
		fmt.Fprintf(b, " len %d", x.RespDataLen)
		pbuf(b, x.PBuf)
		for _, f := range []struct {
			set  bool
			name string
		}{{x.BufferCached != 0, "cached"}, {x.Aborted != 0, "aborted"}, {x.DeliveryStatus != 0, "not delivered"}} {
			if f.set {
				b.WriteString(" " + f.name)
			}
		}
	case c.OnCachedMemFree != nil:
		pbuf(b, c.OnCachedMemFree.PBuf)
	case c.TM != nil:
		fmt.Fprintf(b, " %s fn %d", p.session(c.TM.SessH), c.TM.Fn)
		if c.TM.Fn == 0 {
			fmt.Fprintf(b, " abort h=%d", c.TM.CmdHToAbort)
		}
	case c.Sess != nil:
		fmt.Fprintf(b, " %s", p.session(c.Sess.SessH))
		if c.Sess.InitiatorName != "" {
			fmt.Fprintf(b, " lun %d %s to %s", c.Sess.LUN, quoted(c.Sess.InitiatorName), quoted(c.Sess.TargetName))
		}
	case c.Remap != nil:
		fmt.Fprintf(b, " %s len %d", p.session(c.Remap.SessH), c.Remap.DataDescr.DataLen)
	}
	b.WriteByte(']')
}

// scsi is what PARSE, ALLOC_MEM and EXEC have in common.
func (p *Printer) scsi(b *strings.Builder, s abi.Addr, cdb abi.CDB, n uint16, dir, queue uint8) {
	fmt.Fprintf(b, " %s %v %x %v", p.session(s), scsi.Opcode(cdb[0]), cdb[:min(int(n), len(cdb))], scsi.Dir(dir))
	if q := scsi.QueueType(queue); q != scsi.QueueSimple {
		fmt.Fprintf(b, " %v", q)
	}
}

// session names a session: s1, s2.
func (p *Printer) session(h abi.Addr) string {
	n, ok := p.sess[h]
	if !ok {
		n = len(p.sess) + 1
		p.sess[h] = n
	}
	return fmt.Sprintf("s%d", n)
}

func status(b *strings.Builder, st uint8) {
	if st != 0 {
		b.WriteString(" " + scsi.Status(st).String())
	}
}

func pbuf(b *strings.Builder, a abi.Addr) {
	if a != 0 {
		b.WriteString(" pbuf " + hexAddr(a))
	}
}

func replyType(t uint8) string {
	switch t {
	case abi.ExecReplyCompleted:
		return ""
	case abi.ExecReplyBackground:
		return "BACKGROUND"
	case abi.ExecReplyDoWriteSame:
		return "DO_WRITE_SAME"
	}
	return fmt.Sprintf("reply_type %d", t)
}

func hexAddr(a abi.Addr) string { return fmt.Sprintf("%#x", uint64(a)) }

// quoted is a name that a handler chose, safe for a terminal.
func quoted(s string) string { return fmt.Sprintf("%q", s) }

// printable is a recorder's text on one line, safe for a terminal.
func printable(s string) string {
	q := fmt.Sprintf("%q", s)
	return strings.ReplaceAll(q[1:len(q)-1], `\"`, `"`)
}
