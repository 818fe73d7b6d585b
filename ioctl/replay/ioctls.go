package replay

import (
	"fmt"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// pending is what the host has answered to a call that has not returned in the
// recording.
type pending struct {
	errno    trace.Errno
	done     int          // replies that were good
	opt      *abi.Opt     // GET_OPTIONS
	prealloc *uint32      // PREALLOC_BUFFER
	extCDB   []byte       // GET_EXTENDED_CDB
	task     *task        // SET_OPTIONS, FLUSH_CACHE: decides about errno
	later    func() error // its function, before it is begun
	dev      *device      // nil: the file has none
}

// What the interface answers to a file that has no device, and to a second
// registration.
var (
	errNoDevice   = syscall.ENODEV
	errRegistered = syscall.EINVAL
)

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
		p.errno = errnoOf(errNoDevice)
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
	switch op {
	case abi.IoctlRegisterDevice:
		p.errno = errnoOf(errRegistered) // rule R9
	case abi.IoctlUnregisterDevice:
		d.dev.Unregister()
	case abi.IoctlSetOptions:
		if in.Opt != nil {
			opt := in.Opt.Options()
			p.later = func() error { return d.dev.SetOptions(opt) }
		}
		return r.beginIfIdle(p)
	case abi.IoctlFlushCache:
		p.later = d.dev.FlushCache
		return r.beginIfIdle(p)
	case abi.IoctlGetOptions:
		opt := abi.OptOf(d.dev.GetOptions())
		p.opt = &opt
	case abi.IoctlCapacityChanged:
		d.dev.CapacityChanged()
	case abi.IoctlPreallocBuffer:
		if in.Prealloc != nil {
			h, err := d.dev.Prealloc(uint64(in.Prealloc.PBuf), int(in.Prealloc.BuffLen), in.Prealloc.ForClustPool != 0)
			p.prealloc, p.errno = &h, errnoOf(err)
		}
	case abi.IoctlGetExtendedCDB:
		if in.ExtCDB != nil {
			h, ok := d.handles[in.ExtCDB.CmdH]
			if !ok {
				h = ^uint32(0)
			}
			cdb, err := d.dev.ExtendedCDB(h)
			p.extCDB, p.errno = cdb, errnoOf(err)
		}
	case abi.IoctlReplyCmd, abi.IoctlReplyAndGetCmd, abi.IoctlReplyAndGetMulti:
		return r.replies(c, p, in.Replies)
	}
	return nil
}

// register is REGISTER_DEVICE.
func (r *run) register(c *call, p *pending) *Difference {
	in := c.enter.In
	if in == nil || in.DevDesc == nil {
		return nil
	}
	if _, err := abi.CheckIdentity([]byte(in.License), []byte(in.Version), &abi.Versions{}); err != nil {
		p.errno = errnoOf(err)
		return nil
	}
	plan := r.plan.byCall[c.enter.Seq]
	mem := r.memory(c.enter.PID, plan)
	dev, err := r.reg.Register(in.DevDesc.Desc(r.nonblock(c.enter.File)), mem, observer{r.wake})
	if err != nil {
		p.errno = errnoOf(err)
		return nil
	}
	d := &device{plan: plan, dev: dev, mem: mem, handles: map[uint32]uint32{}, recorded: map[uint32]uint32{},
		pbuf: map[uint32]abi.Addr{}, calls: map[*call]bool{c: true}}
	p.dev = d
	r.live[c.enter.File] = d
	r.devices = append(r.devices, d)
	return nil
}

// memory is the address space of a process.
func (r *run) memory(pid int, plan *devicePlan) *memory {
	m := r.mem[pid]
	if m == nil {
		m = newMemory(map[abi.Addr]bool{})
		r.mem[pid] = m
	}
	for a := range plan.bad {
		m.bad[a] = true
	}
	return m
}

// replies gives a call's replies up to the first that is refused.
func (r *run) replies(c *call, p *pending, replies []trace.Reply) *Difference {
	d := p.dev
	for i := range replies {
		x := &replies[i]
		if x.Exec != nil && len(x.Data) > 0 {
			d.mem.write(uint64(d.bufferOf(x)), x.Data)
		}
		r.res.Replies++
		if d.ownReply(x) {
			p.done++
			continue
		}
		err := d.reply(x)
		if diff := r.afterReply(d, x); diff != nil {
			return diff
		}
		if err != nil {
			p.errno = errnoOf(err)
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
	if r.expected(e, got) {
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
	if out.Opt != nil && p.opt != nil {
		if f := trace.FieldsThatDiffer(out.Opt, p.opt); len(f) > 0 {
			return &Difference{What: e.Op + " returned something else", Fields: f}
		}
	}
	if out.Prealloc != nil && p.prealloc != nil && e.Errno == 0 {
		p.dev.bind(out.Prealloc.CmdH, *p.prealloc)
	}
	if len(out.ExtCDB) > 0 || len(p.extCDB) > 0 {
		if f := trace.FieldsThatDiffer(out.ExtCDB, trace.Hex(p.extCDB)); len(f) > 0 {
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

// nonblock says whether a file was opened with O_NONBLOCK, as far as known.
func (r *run) nonblock(file int) bool { return r.nonblocking[file] }
