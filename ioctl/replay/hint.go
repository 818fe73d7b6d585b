package replay

// When an initiator's command arrived is not in a recording, only when the
// handler got the first subcommand of it. Replay takes the latest moment that
// is possible. That can be too late: a command that the host had already when
// the handler's replies came did not find the buffer that those gave back. If
// the host's answer differs in a command's first subcommand, it is played
// again with that command submitted earlier, before the replies of the call
// before, and so on. What gets further is kept.

// hints say which handles begin before the replies of a call are given.
type hints map[hintKey][]uint32

type hintKey struct {
	registration int    // number of the device in the plan
	seq          uint64 // of the call's enter event
}

// at are the handles that begin at a call.
func (h hints) at(d *devicePlan, seq uint64) []uint32 { return h[hintKey{d.number, seq}] }

// hint is what could explain a difference: handle was there before.
type hint struct {
	device *devicePlan
	handle uint32
	seq    uint64 // of the call's return
}

// hintFor finds the newest handle of a call's subcommands that begins with it.
func (d *device) hintFor(c *call) *hint {
	var x *hint
	for i := range c.exit.Out.Cmds {
		w := d.plan.wants[c.exit.Out.Cmds[i].CmdH]
		if w != nil && w.kind == wantCommand && w.first == c.exit.Seq && (x == nil || w.h > x.handle) {
			x = &hint{d.plan, w.h, c.exit.Seq}
		}
	}
	return x
}

// attempt is the search for the moment at which a command began.
type attempt struct {
	hint *hint
	next int     // of device.given: where to try
	last hintKey // where it was tried
	left int
}

// maxAttempts bounds how many calls back is searched.
const maxAttempts = 4

// newAttempt begins a search; nil if nothing can explain the difference.
func newAttempt(res *Result) *attempt {
	if res.Difference == nil || res.Difference.hint == nil {
		return nil
	}
	a := &attempt{hint: res.Difference.hint, left: maxAttempts}
	given := a.hint.device.given
	for a.next = len(given) - 1; a.next >= 0 && given[a.next] > a.hint.seq; a.next-- {
	}
	return a
}

// earlier puts the command before the replies of one more call back; false:
// there are none left, and hints are as before the search.
func (a *attempt) earlier(h hints) bool {
	if a.last.seq != 0 {
		l := h[a.last]
		h[a.last] = l[:len(l)-1]
	}
	if a.left == 0 || a.next < 0 {
		return false
	}
	a.last = hintKey{a.hint.device.number, a.hint.device.given[a.next]}
	h[a.last] = append(h[a.last], a.hint.handle)
	a.next--
	a.left--
	return true
}
