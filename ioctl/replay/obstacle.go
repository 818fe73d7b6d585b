package replay

import (
	"fmt"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/scsi"
)

// Obstacle is why a recording can't be replayed.
type Obstacle struct {
	Name   string // of an entry of Obstacles
	Reason string // likewise
	Event  *trace.Event
}

// Error implements error.
func (o *Obstacle) Error() string {
	if o.Event == nil {
		return fmt.Sprintf("the recording can't be replayed (%s): %s", o.Name, o.Reason)
	}
	return fmt.Sprintf("the recording can't be replayed (%s, event %d): %s", o.Name, o.Event.Seq, o.Reason)
}

// obstacleKind is one reason, and the event that shows it.
type obstacleKind struct {
	name, reason string
	find         func(rec *trace.Recording, p *plan) (e *trace.Event, found bool)
}

// obstacles are all the reasons that there are.
var obstacles = []obstacleKind{
	{"no registration", "no device is registered in it: it began too late, or has no handler in it",
		func(_ *trace.Recording, p *plan) (*trace.Event, bool) { return nil, len(p.devices) == 0 }},
	{"long CDB", "a command has a CDB of more than 16 bytes, of which EXEC shows 16: the initiator's command is not known",
		firstCmd(func(c *trace.Cmd) bool {
			return c.Exec != nil && c.Exec.CDBLen > 16 || c.Parse != nil && c.Parse.CDBLen > 16 || c.AllocMem != nil && c.AllocMem.CDBLen > 16
		})},
	{"bidirectional", "a command moves data both ways, and what it sent is not recorded",
		firstCmd(func(c *trace.Cmd) bool { return c.Exec != nil && scsi.Dir(c.Exec.DataDirection) == scsi.DirBidi })},
	{"EXTENDED COPY", "EXT_COPY_REMAP follows from the parameter list of an EXTENDED COPY between two devices, which is not recorded",
		firstCmd(func(c *trace.Cmd) bool { return c.Subcode == abi.SubcodeExtCopyRemap })},
	{"unreadable memory", "a subcommand could not be copied to the handler: where that was is not recorded",
		func(rec *trace.Recording, p *plan) (*trace.Event, bool) {
			for _, e := range rec.Events {
				if e.Kind == trace.KindExit && e.Errno.String() == "EFAULT" && fetches(e) && allGood(p.calls[e.Call]) {
					return e, true
				}
			}
			return nil, false
		}},
}

// allGood says whether a call's replies were all taken.
func allGood(c *call) bool {
	if c == nil || c.enter.In == nil {
		return true
	}
	if c.exit.Out == nil || c.exit.Out.Multi == nil {
		return len(c.enter.In.Replies) == 0
	}
	return int(c.exit.Out.Multi.RepliesDone) >= len(c.enter.In.Replies)
}

// firstCmd finds the first event with such a subcommand.
func firstCmd(match func(*trace.Cmd) bool) func(*trace.Recording, *plan) (*trace.Event, bool) {
	return func(rec *trace.Recording, _ *plan) (*trace.Event, bool) {
		for _, e := range rec.Events {
			if e.Out == nil {
				continue
			}
			for i := range e.Out.Cmds {
				if match(&e.Out.Cmds[i]) {
					return e, true
				}
			}
		}
		return nil, false
	}
}

// findObstacle is the first reason not to replay, nil if there is none.
func findObstacle(rec *trace.Recording, p *plan) error {
	for _, o := range obstacles {
		if e, found := o.find(rec, p); found {
			return &Obstacle{Name: o.name, Reason: o.reason, Event: e}
		}
	}
	return nil
}
