package replay

import (
	"context"
	"fmt"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// pending is what the host has answered to a call that has not returned in the
// recording.
type pending struct {
	errno trace.Errno
	done  int                // replies that were good
	out   trace.Out          // of GET_OPTIONS, PREALLOC_BUFFER, GET_EXTENDED_CDB
	task  *task              // SET_OPTIONS, FLUSH_CACHE: decides about errno
	later func() trace.Errno // its function, before it is begun
	dev   *device            // nil: the file has none
}

// observer tells the run that something is ready.
type observer struct{ wake chan<- struct{} }

// Event implements ucmd.Observer.
func (o observer) Event(e ucmd.Event) {
	if e.Kind == ucmd.EvReady {
		select {
		case o.wake <- struct{}{}:
		default: // it is told already
		}
	}
}

// fetches says whether a call is one that fetches subcommands.
func fetches(e *trace.Event) bool {
	return e.Op == abi.IoctlReplyAndGetCmd.String() || e.Op == abi.IoctlReplyAndGetMulti.String()
}

// opOf is the ioctl of an event; ok is false for poll and unknown numbers.
func opOf(e *trace.Event) (op abi.Ioctl, ok bool) {
	if op.UnmarshalText([]byte(e.Op)) != nil {
		return 0, false
	}
	return op, op.Known()
}

// enter does the handler's part of a call.
func (r *run) enter(c *call) *Difference {
	op, ok := opOf(c.enter)
	if !ok {
		return nil // poll, or a number that the interface does not have
	}
	p := &pending{dev: r.live[c.enter.File]}
	r.pending[c] = p
	r.res.Calls++
	if p.dev == nil {
		if op == abi.IoctlRegisterDevice {
			return r.register(c, p)
		}
		p.errno = trace.Errno(syscall.ENODEV)
		return nil
	}
	p.dev.calls[c] = true
	for _, h := range r.hints.at(p.dev.plan, c.enter.Seq) {
		if diff := r.begin(p.dev, h); diff != nil {
			return diff
		}
	}
	return r.ioctl(op, c, p)
}

// ioctl is one call on a device.
func (r *run) ioctl(op abi.Ioctl, c *call, p *pending) *Difference {
	d, in := p.dev, c.enter.In
	if in == nil {
		in = &trace.In{}
	}
	if fetches(c.enter) {
		d.multi = op == abi.IoctlReplyAndGetMulti
		return r.replies(p, in.Replies)
	}
	if op == abi.IoctlReplyCmd {
		return r.replies(p, in.Replies)
	}
	if in.ExtCDB != nil {
		in = &trace.In{ExtCDB: &abi.GetExtCDB{CmdH: ^uint32(0), ExtCDBBuffer: in.ExtCDB.ExtCDBBuffer}}
		if h, ok := d.handles[c.enter.In.ExtCDB.CmdH]; ok {
			in.ExtCDB.CmdH = h
		}
	}
	arg := argument(op, in)
	if op == abi.IoctlSetOptions || op == abi.IoctlFlushCache {
		p.later = func() trace.Errno { return d.ioctl(context.Background(), op, c.enter.TID, arg).errno }
		return r.beginIfIdle(p)
	}
	o := d.ioctl(context.Background(), op, c.enter.TID, arg)
	p.errno = o.errno
	if out, err := trace.ArgOut(op, o.out); out != nil && err == nil {
		p.out = *out
	}
	if op == abi.IoctlGetExtendedCDB && o.errno == 0 && c.exit != nil && c.exit.Out != nil {
		p.out.ExtCDB = d.mem.get(in.ExtCDB.ExtCDBBuffer, len(c.exit.Out.ExtCDB))
	}
	return nil
}

// register is REGISTER_DEVICE on a file that has no device.
func (r *run) register(c *call, p *pending) *Difference {
	in := c.enter.In
	if in == nil || in.DevDesc == nil {
		return nil
	}
	plan := r.plan.byCall[c.enter.Seq]
	mem := r.memory(c.enter.PID, plan)
	for at, text := range map[abi.Addr]string{in.DevDesc.VersionStr: in.Version, in.DevDesc.LicenseStr: in.License} {
		mem.setBad(at, text == "")
		mem.put(at, append([]byte(text), 0))
	}
	d := &device{plan: plan, mem: mem, handles: map[uint32]uint32{}, recorded: map[uint32]uint32{},
		pbuf: map[uint32]abi.Addr{}, calls: map[*call]bool{c: true},
		file: r.host.Open(r.nonblocking[c.enter.File], c.enter.TID)}
	p.errno = d.ioctl(context.Background(), abi.IoctlRegisterDevice, c.enter.TID, argument(abi.IoctlRegisterDevice, in)).errno
	if p.errno != 0 {
		d.file.Close(c.enter.TID)
		return nil
	}
	d.dev, p.dev = d.file.Device(), d
	r.live[c.enter.File] = d
	r.devices = append(r.devices, d)
	return nil
}

// memory is the address space of a process.
func (r *run) memory(pid int, plan *devicePlan) *memory {
	m := r.mem[pid]
	if m == nil {
		m = newMemory()
		r.mem[pid] = m
	}
	for a := range plan.bad {
		m.setBad(a, true)
	}
	return m
}

// replies gives a call's replies up to the first that is refused.
func (r *run) replies(p *pending, replies []trace.Reply) *Difference {
	d := p.dev
	for i := range replies {
		x := &replies[i]
		r.res.Replies++
		if d.ownReply(x) {
			p.done++
			continue
		}
		errno := d.reply(x)
		if diff := r.afterReply(d, x); diff != nil {
			return diff
		}
		if errno != 0 {
			p.errno = errno
			return nil
		}
		p.done++
	}
	if diff := r.advance(d); diff != nil {
		return diff
	}
	return r.beginWaiting(d)
}

// exit compares what the host has answered with how the call returned.
func (r *run) exit(c *call) *Difference {
	p := r.pending[c]
	if p == nil {
		return nil // poll, or entered before the recording
	}
	delete(r.pending, c)
	e := c.exit
	if p.dev != nil {
		defer delete(p.dev.calls, c)
	}
	if p.later != nil || p.task != nil {
		if diff := r.finish(p); diff != nil {
			return diff
		}
	}
	if fetches(e) && p.dev != nil && p.errno == 0 {
		return r.got(c, p)
	}
	if diff := r.sameErrno(p.errno, e); diff != nil {
		return diff
	}
	return r.sameOut(p, e)
}

// sameErrno compares outcomes.
func (r *run) sameErrno(got trace.Errno, e *trace.Event) *Difference {
	if got == e.Errno {
		return nil
	}
	return &Difference{
		What:   fmt.Sprintf("%s returned something else", e.Op),
		Fields: []trace.Field{{Path: "errno", A: errnoText(e.Errno), B: errnoText(got)}},
	}
}

func errnoText(e trace.Errno) string {
	if e == 0 {
		return "0"
	}
	return e.String()
}

// sameOut compares results.
func (r *run) sameOut(p *pending, e *trace.Event) *Difference {
	out := e.Out
	if out == nil {
		return nil
	}
	if out.Multi != nil && p.dev != nil {
		if diff := r.sameMulti(p, e); diff != nil {
			return diff
		}
	}
	if out.Opt != nil {
		if f := trace.FieldsThatDiffer(out.Opt, p.out.Opt); len(f) > 0 {
			return &Difference{What: e.Op + " returned something else", Fields: f}
		}
	}
	if out.Prealloc != nil && p.out.Prealloc != nil && e.Errno == 0 {
		p.dev.bind(out.Prealloc.CmdH, p.out.Prealloc.CmdH)
	}
	if len(out.ExtCDB) > 0 {
		if f := trace.FieldsThatDiffer(out.ExtCDB, p.out.ExtCDB); len(f) > 0 {
			return &Difference{What: e.Op + " returned something else", Fields: f}
		}
	}
	return nil
}

// sameMulti compares the counts of a REPLY_AND_GET_MULTI (rules R28 to R30).
func (r *run) sameMulti(p *pending, e *trace.Event) *Difference {
	want := *e.Out.Multi
	got := want
	got.RepliesDone = int16(p.done)
	got.CmdsCnt = int16(len(e.Out.Cmds)) // each of them is compared
	if f := trace.FieldsThatDiffer(want, got); len(f) > 0 {
		return &Difference{What: e.Op + " returned other counts", Fields: f}
	}
	return nil
}
