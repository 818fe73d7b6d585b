package replay

import (
	"fmt"
	"slices"
	"syscall"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// got compares the subcommands that a call brought, or that it brought none.
func (r *run) got(c *call, p *pending) *Difference {
	e, d := c.exit, p.dev
	var cmds []trace.Cmd
	if e.Out != nil {
		cmds = e.Out.Cmds
	}
	if e.Errno == trace.Errno(syscall.EAGAIN) {
		if diff := r.nothing(d, e); diff != nil {
			return diff
		}
	}
	for i := range cmds {
		if diff := r.gotOne(c, d, i); diff != nil {
			return diff
		}
	}
	// EINTR is the handler's signal, EAGAIN that there was nothing: what the
	// host said is in the subcommands.
	if e.Errno != 0 && e.Errno != trace.Errno(syscall.EINTR) && e.Errno != trace.Errno(syscall.EAGAIN) {
		return r.sameErrno(p.errno, e)
	}
	return r.sameOut(p, e)
}

// nothing checks that nothing is ready that no other call is about to get.
func (r *run) nothing(d *device, e *trace.Event) *Difference {
	for {
		got, err := d.fetch()
		if err != nil {
			return &Difference{What: fmt.Sprintf("%s: %v", e.Op, err)}
		}
		if got == nil {
			return nil
		}
		if !r.forAnother(d, nil, got) {
			x := d.translated(got, &trace.Cmd{})
			return &Difference{What: "the host has a subcommand where the recorded one had none: " + name(&x)}
		}
	}
}

// gotOne checks subcommand i of a call.
func (r *run) gotOne(c *call, d *device, i int) *Difference {
	want := &c.exit.Out.Cmds[i]
	for k, x := range d.early {
		if x.call == c && x.i == i {
			d.early = append(d.early[:k], d.early[k+1:]...)
			return r.accept(d, want)
		}
	}
	if d.isOwn(want.CmdH) {
		d.own = append(d.own, &ownWrite{cmd: want})
		return nil
	}
	if diff := r.begin(d, want.CmdH); diff != nil {
		return diff
	}
	for {
		got, diff := r.next(d, want)
		if diff != nil {
			return diff
		}
		fields := d.differences(want, got)
		if len(fields) == 0 {
			d.bind(want.CmdH, got.CmdH)
			return r.accept(d, want)
		}
		if !r.forAnother(d, c, got) {
			return &Difference{What: "the host has another subcommand than the recorded one", Fields: fields, hint: d.hintFor(c)}
		}
	}
}

// accept takes note of a subcommand that is as recorded.
func (r *run) accept(d *device, c *trace.Cmd) *Difference {
	r.res.Subcommands++
	w := d.plan.wants[c.CmdH]
	if w == nil {
		return nil
	}
	switch c.Subcode {
	case abi.SubcodeExec:
		d.pbuf[c.CmdH] = c.Exec.PBuf
		if s := d.session(w.sess); s != nil {
			s.handlerHas(w)
		}
	case abi.SubcodeAttachSess:
		// The host's name of the session is known from here on.
		if s := d.session(w.sess); s != nil {
			s.h = d.lastAttach
		}
	}
	return nil
}

// next fetches a subcommand, and waits for one that the host makes by itself.
func (r *run) next(d *device, want *trace.Cmd) (*trace.Cmd, *Difference) {
	limit := r.opt.Timeout
	alone := false // the host makes it without anybody's doing
	if want.Subcode == abi.SubcodeOnCachedMemFree && d.has(want.CmdH) {
		purge := time.Duration(d.dev.Desc().SGVPurgeInterval) * time.Second
		if purge == 0 {
			purge = time.Minute
		}
		alone, limit = purge > 0, limit+2*purge
	}
	timer := time.NewTimer(limit)
	defer timer.Stop()
	for {
		running := r.running() // before the fetch: what it makes ready is seen
		got, err := d.fetch()
		if err != nil {
			return nil, &Difference{What: fmt.Sprintf("fetching %s: %v", name(want), err)}
		}
		if got != nil {
			if got.Subcode == abi.SubcodeAttachSess && got.Sess != nil {
				d.lastAttach = uint64(got.Sess.SessH)
			}
			return got, nil
		}
		if d.resubmit() {
			continue
		}
		if running == 0 && !alone {
			return nil, &Difference{What: "the host has nothing where the recorded one had " + name(want)}
		}
		select {
		case <-r.wake:
		case <-time.After(time.Millisecond): // a task may be over
		case <-timer.C:
			return nil, &Difference{What: fmt.Sprintf("after %v the host has nothing where the recorded one had %s", limit, name(want))}
		}
	}
}

// has says whether the host still has what a recorded handle stands for.
func (d *device) has(recorded uint32) bool {
	h, ok := d.handles[recorded]
	return ok && slices.ContainsFunc(d.dev.Commands(), func(c ucmd.Command) bool { return c.Handle == h })
}

// resubmit sends again what initiators send again.
func (d *device) resubmit() bool {
	did := false
	for _, s := range d.sessions {
		if s.resubmit() {
			did = true
		}
	}
	return did
}

// forAnother says whether a subcommand is what another call than c is about to
// get, and puts it by for that one. Only calls that are open now can be meant.
func (r *run) forAnother(d *device, c *call, got *trace.Cmd) bool {
	for _, o := range d.open() {
		if o.exit == nil || o.exit.Out == nil {
			continue
		}
		if o == c {
			continue // the order within a call is the host's (R32)
		}
		for k := range o.exit.Out.Cmds {
			if d.isEarly(o, k) {
				continue
			}
			want := &o.exit.Out.Cmds[k]
			if len(d.differences(want, got)) == 0 {
				d.bind(want.CmdH, got.CmdH)
				d.early = append(d.early, &early{o, k})
				return true
			}
		}
	}
	return false
}

func (d *device) isEarly(c *call, i int) bool {
	for _, x := range d.early {
		if x.call == c && x.i == i {
			return true
		}
	}
	return false
}
