package replay

import (
	"strings"

	"scstuser/ioctl/trace"
	"scstuser/scsi"
)

// Expectation is a difference that is there on purpose.
type Expectation struct {
	Name   string // for people and for Result.Expected
	Reason string
	// fields says whether this is the reason for a member of a subcommand;
	// nil: it is not about subcommands.
	fields func(d *device, want, got *trace.Cmd, f trace.Field) bool
	// errno says whether this is the reason for another outcome of a call;
	// nil: it is not about that.
	errno func(e *trace.Event, got trace.Errno) bool
}

// Expectations are all of them.
var Expectations = []Expectation{
	{Name: "first INQUIRY", Reason: "the module gives the first INQUIRY of a session the task attribute that it came with, " +
		"later ones HEAD OF QUEUE (fact 22); here all of them have HEAD OF QUEUE",
		fields: func(d *device, want, _ *trace.Cmd, f trace.Field) bool {
			w := d.plan.wants[want.CmdH]
			return strings.HasSuffix(f.Path, "_cmd.queue_type") && f.A == "1" && f.B == "3" && w != nil && len(w.cdb) > 0 &&
				scsi.Opcode(w.cdb[0]) == scsi.OpInquiry && d.firstOf(w)
		}},
	{Name: inTurn, Reason: "the module submits the WRITEs of a WRITE SAME all at once, with SIMPLE, and needs a buffer for each; " +
		"here one follows the other, with HEAD OF QUEUE, so that the memory is bounded",
		fields: func(d *device, want, _ *trace.Cmd, f trace.Field) bool {
			return d.isOwn(want.CmdH) && strings.HasSuffix(f.Path, "_cmd.queue_type") && f.A == "1" && f.B == "3"
		}},
}

const inTurn = "WRITE SAME in turn"

// firstOf says whether w is the first command of its session.
func (d *device) firstOf(w *want) bool {
	for _, x := range d.plan.order {
		if x.kind == wantCommand && x.sess == w.sess {
			return x == w
		}
	}
	return false
}

// unexpected leaves out of fields those that are expected.
func (r *run) unexpected(d *device, want, got *trace.Cmd, fields []trace.Field) (left []trace.Field) {
	used := map[string]bool{}
	for _, f := range fields {
		name := ""
		for i := range Expectations {
			if x := &Expectations[i]; x.fields != nil && x.fields(d, want, got, f) {
				name = x.Name
				break
			}
		}
		if name == "" {
			left = append(left, f)
		}
		used[name] = true
	}
	if len(left) == 0 {
		r.use(used)
	}
	return left
}

// expected says whether another outcome of a call is.
func (r *run) expected(e *trace.Event, got trace.Errno) bool {
	for i := range Expectations {
		if x := &Expectations[i]; x.errno != nil && x.errno(e, got) {
			r.use(map[string]bool{x.Name: true})
			return true
		}
	}
	return false
}

// use adds names to the result, in the order of the table.
func (r *run) use(names map[string]bool) {
	for _, n := range r.res.Expected {
		names[n] = true
	}
	r.res.Expected = nil
	for i := range Expectations {
		if names[Expectations[i].Name] {
			r.res.Expected = append(r.res.Expected, Expectations[i].Name)
		}
	}
}
