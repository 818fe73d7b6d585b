package replay

import (
	"fmt"
	"slices"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
)

// The WRITEs that a host makes of a WRITE SAME come all at once on the module
// and one after the other here (Expectations, "WRITE SAME in turn"). So their
// subcommands and replies are not gone through in the order of events: what
// was recorded about them waits here until the host gets to it.

// ownWrite is one recorded subcommand of such a WRITE, and its reply.
type ownWrite struct {
	cmd   *trace.Cmd
	reply *trace.Reply // nil: not given yet in the recording
}

// isOwn says whether a recorded handle is a WRITE of the host's own.
func (d *device) isOwn(h uint32) bool {
	w := d.plan.wants[h]
	return w != nil && w.kind == wantInternal
}

// ownReply puts a reply by, if it is to such a WRITE.
func (d *device) ownReply(x *trace.Reply) bool {
	if !d.isOwn(x.CmdH) {
		return false
	}
	for _, o := range d.own {
		if o.cmd.CmdH == x.CmdH && o.cmd.Subcode == x.Subcode && o.reply == nil {
			o.reply = x
			return true
		}
	}
	return false
}

// advance brings the host's own WRITEs as far as the recorded replies go.
func (r *run) advance(d *device) *Difference {
	for len(d.own) > 0 {
		got, err := d.fetch()
		if err != nil {
			return &Difference{What: err.Error()}
		}
		if got == nil {
			return nil
		}
		k := slices.IndexFunc(d.own, func(o *ownWrite) bool { return o.reply != nil && d.ownIs(o.cmd, got) })
		if k < 0 {
			d.stash = append([]*trace.Cmd{got}, d.stash...)
			return nil
		}
		o := d.own[k]
		d.own = slices.Delete(d.own, k, k+1)
		if fields := d.differences(o.cmd, got); len(fields) > 0 {
			return &Difference{What: "the host has another WRITE of a WRITE SAME than the recorded one", Fields: fields}
		}
		r.res.Subcommands++
		r.use(inTurn)
		d.bind(o.cmd.CmdH, got.CmdH)
		if errno := d.reply(o.reply); errno != 0 {
			return &Difference{What: fmt.Sprintf("the reply to %s: %v", name(o.cmd), errno)}
		}
	}
	return nil
}

// ownIs says whether got is the subcommand that was recorded as want: the same
// stage of a WRITE of the same blocks.
func (d *device) ownIs(want, got *trace.Cmd) bool {
	return want.Subcode == got.Subcode && cdbOf(want) == cdbOf(got)
}

// cdbOf is a command's CDB, zeros for what has none.
func cdbOf(c *trace.Cmd) abi.CDB {
	switch {
	case c.Exec != nil:
		return c.Exec.CDB
	case c.AllocMem != nil:
		return c.AllocMem.CDB
	case c.Parse != nil:
		return c.Parse.CDB
	}
	return abi.CDB{}
}
