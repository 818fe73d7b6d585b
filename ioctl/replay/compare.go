package replay

import (
	"fmt"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
)

// translated is what the host said in the words of the recording: handles and
// sessions have the names that they have there. A handle or session that the
// recording has no name for yet takes those of want, if that has a new one.
func (d *device) translated(got *trace.Cmd, want *trace.Cmd) trace.Cmd {
	x := *got
	x.Raw = nil
	if h, ok := d.recorded[got.CmdH]; ok {
		x.CmdH = h
	} else if _, known := d.handles[want.CmdH]; !known || d.mayRebind(want) {
		x.CmdH = want.CmdH
	}
	switch {
	case got.Sess != nil:
		s := *got.Sess
		if got.Subcode == abi.SubcodeAttachSess && want.Sess != nil {
			s.SessH = want.Sess.SessH // a new one: this is its name
		} else {
			d.sessionName(&s.SessH)
		}
		x.Sess = &s
	case got.Parse != nil:
		p := *got.Parse
		d.sessionName(&p.SessH)
		x.Parse = &p
	case got.AllocMem != nil:
		a := *got.AllocMem
		d.sessionName(&a.SessH)
		x.AllocMem = &a
	case got.Exec != nil:
		e := *got.Exec
		d.sessionName(&e.SessH)
		x.Exec = &e
	case got.TM != nil:
		t := *got.TM
		d.sessionName(&t.SessH)
		if h, ok := d.recorded[t.CmdHToAbort]; ok && t.Fn == 0 && t.CmdHToAbort != 0 {
			t.CmdHToAbort = h
		}
		x.TM = &t
	}
	return x
}

// mayRebind says whether want's handle stands for something that was begun
// anew: a command that was told of a unit attention is sent again.
func (d *device) mayRebind(want *trace.Cmd) bool {
	w := d.plan.wants[want.CmdH]
	if w == nil || w.kind != wantCommand {
		return false
	}
	s := d.session(w.sess)
	return s != nil && s.sentAgain(w)
}

// sessionName replaces a session's handle by its recorded name.
func (d *device) sessionName(a *abi.Addr) {
	for _, s := range d.sessions {
		if s.h != 0 && s.h == uint64(*a) {
			*a = s.name
			return
		}
	}
}

// differences are the members in which a replayed subcommand is not as the
// recorded one. Data counts as far as it was recorded.
func (d *device) differences(want, got *trace.Cmd) []trace.Field {
	w, g := *want, d.translated(got, want)
	w.Raw = nil
	if n := min(len(w.Data), len(g.Data)); n < len(g.Data) {
		g.Data = g.Data[:n]
	}
	if w.Exec != nil {
		e := *w.Exec
		e.POutBuf = 0
		w.Exec = &e
	}
	if g.Exec != nil {
		g.Exec.POutBuf = 0 // garbage (rule R55); g has a copy
	}
	return trace.FieldsThatDiffer(&w, &g)
}

// name is a subcommand for people.
func name(c *trace.Cmd) string { return fmt.Sprintf("%v h=%d", c.Subcode, c.CmdH) }
