package replay

import (
	"context"
	"fmt"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/target"
	"scstuser/ucmd"
)

// begin makes the initiator do what comes before, and leads to, the recorded
// handle h, in the order of handles.
func (r *run) begin(d *device, h uint32) *Difference {
	w := d.plan.wants[h]
	if w == nil || w.begun || w.kind == wantOther || w.kind == wantInternal {
		return nil
	}
	for d.next < len(d.plan.order) {
		x := d.plan.order[d.next]
		if x.h > h {
			break
		}
		d.next++
		if diff := r.beginOne(d, x); diff != nil {
			return diff
		}
	}
	if !w.begun { // handles out of order: the counter has wrapped
		return r.beginOne(d, w)
	}
	return nil
}

func (r *run) beginOne(d *device, w *want) *Difference {
	if w.begun {
		return nil
	}
	w.begun = true
	switch w.kind {
	case wantAttach:
		r.attach(d, w)
		return nil
	case wantHidden:
		// Only what the host answers without the handler can be meant, and
		// the only such thing that leaves a trace is a unit attention.
		if s := d.current; s != nil && !s.ended && s.owesAttention() {
			r.res.Commands++
			s.submit(w)
			if err := d.settle(); err != nil {
				return &Difference{What: err.Error()}
			}
		}
		return nil
	}
	s := d.session(w.sess)
	if s == nil || s.sess == nil {
		return &Difference{What: fmt.Sprintf("handle %d is of a session that is not attached", w.h)}
	}
	d.current = s
	switch w.kind {
	case wantCommand:
		r.res.Commands++
		s.submit(w)
	case wantTM:
		var victim *want
		if w.cmd.TM.Fn == int32(target.AbortTask) {
			victim = d.plan.wants[w.cmd.TM.CmdHToAbort]
		}
		s.taskMgmt(target.TMFunc(w.cmd.TM.Fn), victim)
	case wantDetach:
		s.ended = true
		s.closing = r.start("the end of a session", func() { _ = s.close(context.Background()) })
		r.awaitManagement(d, s.closing, ucmd.StateDetachSess)
	}
	return nil
}

// attach begins a session. It has to wait for the handler's answer.
func (r *run) attach(d *device, w *want) {
	s := newInitiator(w.sess)
	if r.aens || d.plan.tellsNobody(w) {
		s.events, s.owes = true, false
	}
	x := w.cmd.Sess
	info := target.SessionInfo{LUN: x.LUN, Initiator: x.InitiatorName, Target: x.TargetName, ReadOnly: x.RdOnly != 0,
		TransportVersion: x.ScsiTransportVersion, PhysVersion: x.PhysTransportVersion}
	d.sessions = append(d.sessions, s)
	d.current = s
	s.attaching = r.start("attaching a session", func() {
		if sess, err := d.dev.Target().NewSession(context.Background(), s, info); err == nil {
			s.attached(sess)
		}
	})
	r.awaitManagement(d, s.attaching, ucmd.StateAttachSess)
}

// afterReply waits for what a reply has set free, so that the next event finds
// it done.
func (r *run) afterReply(d *device, x *trace.Reply) *Difference {
	w := d.plan.wants[x.CmdH]
	if w == nil {
		return nil
	}
	s := d.session(w.sess)
	if s == nil {
		return nil
	}
	w.answered++
	switch {
	case w.kind == wantCommand && !w.exec && w.answered == w.stages:
		// The handler has seen the last of it: the host ends it when it
		// would be fetched.
		if err := d.settle(); err != nil {
			return &Difference{What: err.Error()}
		}
	case x.Subcode == abi.SubcodeAttachSess && s.attaching != nil:
		if diff := r.wait(s.attaching); diff != nil {
			return diff
		}
		s.sess = s.got()
	case x.Subcode == abi.SubcodeDetachSess && s.closing != nil:
		return r.wait(s.closing)
	}
	return nil
}
