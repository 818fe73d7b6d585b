package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"scstuser/ioctl/trace"
)

// errTracesDiffer is trace diff's exit status 1; the difference itself is on
// stdout.
var errTracesDiffer = errors.New("the traces differ")

// traceShow prints a line per event.
func traceShow(c *cli.Context, stdout io.Writer, files []string) error {
	out := bufio.NewWriter(stdout)
	var p trace.Printer
	line := func(e *trace.Event) error {
		_, err := out.WriteString(p.Line(e) + "\n")
		return err
	}
	if c.Bool("json") {
		enc := json.NewEncoder(out)
		line = func(e *trace.Event) error { return enc.Encode(e) }
	}
	err := eachEvent(c, files[0], line)
	return errors.Join(out.Flush(), err)
}

// traceStat prints the counts.
func traceStat(c *cli.Context, stdout io.Writer, files []string) error {
	s := trace.NewStats()
	if err := eachEvent(c, files[0], func(e *trace.Event) error { s.Add(e); return nil }); err != nil {
		return err
	}
	if c.Bool("json") {
		return writeJSON(stdout, s)
	}
	return s.WriteText(stdout)
}

// traceDiff prints the first difference.
func traceDiff(c *cli.Context, stdout io.Writer, files []string) error {
	a, err := trace.OpenAny(files[0])
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := trace.OpenAny(files[1])
	if err != nil {
		return err
	}
	defer b.Close()
	d, err := trace.Diff(a, b)
	switch {
	case err != nil:
		return err
	case d == nil && c.Bool("json"):
		return writeAll(stdout, "null\n")
	case d == nil:
		return nil
	case c.Bool("json"):
		err = writeJSON(stdout, d)
	default:
		err = d.WriteText(stdout)
	}
	return errors.Join(err, errTracesDiffer)
}

// traceConvert rewrites a trace. What it has written stays if it fails.
func traceConvert(c *cli.Context, _ io.Writer, files []string) error {
	if same(files[0], files[1]) {
		return fmt.Errorf("trace convert: %s would overwrite what it reads; give the new file another name", files[1])
	}
	r, err := trace.OpenAny(files[0])
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := trace.Create(files[1], r.Header)
	if err != nil {
		return err
	}
	calls := map[uint64]uint64{} // calls that have not returned: new number by old
	err = r.Each(func(e *trace.Event) error {
		old := e.Seq
		if e.Kind == trace.KindExit {
			call, ok := calls[e.Call]
			if !ok {
				return fmt.Errorf("event %d returns from call %d, which is not in the file or has returned before", old, e.Call)
			}
			delete(calls, e.Call)
			e.Call = call
		}
		seq, err := w.Write(e)
		if e.Kind == trace.KindEnter {
			calls[old] = seq
		}
		return err
	})
	warnTruncated(c, files[0], r)
	return errors.Join(err, w.Close())
}

// eachEvent calls f with the events of a file.
func eachEvent(c *cli.Context, name string, f func(*trace.Event) error) error {
	r, err := trace.OpenAny(name)
	if err != nil {
		return err
	}
	defer r.Close()
	if err := r.Each(f); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	warnTruncated(c, name, r)
	return nil
}

// warnTruncated says when a file's end is missing.
func warnTruncated(c *cli.Context, name string, r *trace.Reader) {
	if r.Truncated() {
		fmt.Fprintf(c.App.ErrWriter, "%s: %s ends in the middle of a line; the rest of it is missing\n", programName, oneLine(name))
	}
}

// same says whether two names are one file.
func same(a, b string) bool {
	x, err := os.Stat(a)
	if err != nil {
		return false
	}
	y, err := os.Stat(b)
	return err == nil && os.SameFile(x, y)
}

// writeJSON writes v indented.
func writeJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(v)
}
