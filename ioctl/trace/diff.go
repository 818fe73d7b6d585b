package trace

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
)

// Difference is the first event in which two traces differ. At is its place in
// the list of what is compared, from 1. A and B are the events as they are in
// the files, nil if that trace has ended; Fields are the members that differ,
// after renaming.
type Difference struct {
	At     int     `json:"at"`
	A      *Event  `json:"a,omitempty"`
	B      *Event  `json:"b,omitempty"`
	Fields []Field `json:"fields,omitempty"`
	// Before are the events of the first trace before A, at most
	// contextEvents: the second has the same ones.
	Before []*Event `json:"before,omitempty"`
}

// contextEvents is how many events before the first difference are kept.
const contextEvents = 4

// Field is a member that differs: its path, as in out.cmds[0].exec_cmd.lba,
// and both values as JSON, empty where it is missing.
type Field struct {
	Path string `json:"path"`
	A    string `json:"a"`
	B    string `json:"b"`
}

// String is the field for people.
func (f Field) String() string {
	return fmt.Sprintf("%s: %s / %s", f.Path, f.value(f.A), f.value(f.B))
}

// value is a value short enough for a line.
func (Field) value(v string) string {
	const most = 100
	switch {
	case v == "":
		return "nothing"
	case len(v) > most:
		return strings.ToValidUTF8(v[:most], "") + "..."
	}
	return v
}

// Diff compares two traces event by event, up to renaming of handles,
// sessions, buffers, threads, processes and files, and without times and
// marks. It returns the first difference, or nil. Both are read only as far
// as that, or to their ends.
func Diff(a, b *Reader) (*Difference, error) {
	ca, cb := newCanon(), newCanon()
	var before []*Event
	for at := 1; ; at++ {
		ea, xa, err := nextCompared(a, ca)
		if err != nil {
			return nil, fmt.Errorf("first trace: %w", err)
		}
		eb, xb, err := nextCompared(b, cb)
		if err != nil {
			return nil, fmt.Errorf("second trace: %w", err)
		}
		if ea == nil && eb == nil {
			return nil, nil
		}
		if ea == nil || eb == nil {
			return &Difference{At: at, A: ea, B: eb, Before: before}, nil
		}
		if fields := FieldsThatDiffer(xa, xb); len(fields) > 0 {
			return &Difference{At: at, A: ea, B: eb, Fields: fields, Before: before}, nil
		}
		if before = append(before, ea); len(before) > contextEvents {
			before = before[1:]
		}
	}
}

// WriteText writes the difference for people: what came before, the two
// events, and the members that differ, the first trace's value first.
func (d *Difference) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "the traces differ in event %d\n", d.At)
	var p Printer
	for _, e := range d.Before {
		b.WriteString("  " + p.Line(e) + "\n")
	}
	side := func(sign string, e *Event) {
		if e == nil {
			b.WriteString(sign + " (ends here)\n")
			return
		}
		b.WriteString(sign + " " + p.Line(e) + "\n")
	}
	side("-", d.A)
	p = Printer{} // the other trace has other times and sessions
	side("+", d.B)
	for _, f := range d.Fields {
		fmt.Fprintf(&b, "    %v\n", f)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// nextCompared is the next event that is no mark, as it is and renamed; nil at
// the end.
func nextCompared(r *Reader, c *canon) (e, x *Event, err error) {
	for {
		e, err = r.Next()
		if err == io.EOF {
			return nil, nil, nil
		}
		if err != nil {
			return nil, nil, err
		}
		if x = c.event(e); x != nil {
			return e, x, nil
		}
	}
}

// FieldsThatDiffer compares the JSON forms of two values and lists the members
// in which they differ, by path.
func FieldsThatDiffer(a, b any) []Field {
	var fields []Field
	walk("", tree(a), tree(b), &fields)
	sort.Slice(fields, func(i, j int) bool { return fields[i].Path < fields[j].Path })
	return fields
}

// tree is v as package json would read it. Numbers keep their digits.
func tree(v any) any {
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	var t any
	if err := unmarshalNumbers(text, &t); err != nil {
		return err.Error()
	}
	return t
}

func walk(path string, a, b any, fields *[]Field) {
	switch x := a.(type) {
	case map[string]any:
		if y, ok := b.(map[string]any); ok {
			for k, v := range x {
				walk(join(path, k), v, y[k], fields)
			}
			for k, v := range y {
				if _, both := x[k]; !both {
					walk(join(path, k), nil, v, fields)
				}
			}
			return
		}
	case []any:
		if y, ok := b.([]any); ok {
			for i := range max(len(x), len(y)) {
				walk(fmt.Sprintf("%s[%d]", path, i), at(x, i), at(y, i), fields)
			}
			return
		}
	}
	if sa, sb := jsonText(a), jsonText(b); sa != sb {
		*fields = append(*fields, Field{path, sa, sb})
	}
}

func join(path, k string) string {
	if path == "" {
		return k
	}
	return path + "." + k
}

func at(s []any, i int) any {
	if i < len(s) {
		return s[i]
	}
	return nil
}

func jsonText(v any) string {
	if v == nil {
		return ""
	}
	text, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
