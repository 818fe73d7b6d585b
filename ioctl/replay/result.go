package replay

import (
	"fmt"
	"io"
	"strings"

	"scstuser/ioctl/trace"
)

// Result is what came out of a replay.
type Result struct {
	Events      int `json:"events"`      // of the recording
	Calls       int `json:"calls"`       // ioctls given to the host
	Replies     int `json:"replies"`     // of the handler
	Subcommands int `json:"subcommands"` // of the host, compared
	Commands    int `json:"commands"`    // SCSI commands submitted
	Listings    int `json:"listings"`    // of commands, compared
	// Expected names the differences that are there on purpose, once each, in
	// the order of the table of Expectations.
	Expected []string `json:"expected,omitempty"`
	// Difference is the first one that is not, nil if there is none.
	Difference *Difference `json:"difference,omitempty"`
}

// Difference is where the host did not answer as the recorded one.
type Difference struct {
	Event *trace.Event `json:"event"` // the recorded event
	// What says what is wrong, without the fields.
	What string `json:"what"`
	// Fields are the members that differ: A as recorded, B as replayed.
	Fields []trace.Field `json:"fields,omitempty"`
	// Before are recorded events before that one.
	Before []*trace.Event `json:"before,omitempty"`

	hint *hint // what may explain it, nil: nothing
}

// Error is the difference in one line.
func (d *Difference) Error() string {
	var b strings.Builder
	if d.Event != nil {
		fmt.Fprintf(&b, "event %d: ", d.Event.Seq)
	}
	b.WriteString(d.What)
	for _, f := range d.Fields {
		fmt.Fprintf(&b, "; %v", f)
	}
	return b.String()
}

// WriteText writes the difference for people: what was before, the event, what
// is wrong, and the fields, as recorded first.
func (d *Difference) WriteText(w io.Writer) error {
	var b strings.Builder
	var p trace.Printer
	for _, e := range d.Before {
		b.WriteString("  " + p.Line(e) + "\n")
	}
	if d.Event != nil {
		b.WriteString("> " + p.Line(d.Event) + "\n")
	}
	b.WriteString(d.What + "\n")
	for _, f := range d.Fields {
		fmt.Fprintf(&b, "    %v\n", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
