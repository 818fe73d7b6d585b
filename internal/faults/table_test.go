package faults

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"scstuser/internal/faultfs"
	"scstuser/nbd/nbdtest"
)

// row is a fault and what becomes of it.
type row struct {
	// name is for subtests, fault for the document.
	name, fault string
	on          []medium
	modes       []mode
	sizes       []int // of requests; nil: 4 KiB and 1 MiB
	steps       []step
	// logs are lines of the log, each exactly once, and all of its warnings and
	// errors.
	logs []line
	// says is how the program ends, if it does by itself.
	says []line
}

// step is something that is done, and what it shows.
type step struct {
	text string // for the document; empty: not told
	do   func(r *rig)
}

// TestFaults runs the table.
func TestFaults(t *testing.T) {
	if err := faultfs.Available(); err != nil {
		missing(t, "%v", err)
	}
	for _, c := range chapters {
		for _, row := range c.rows {
			t.Run(row.name, row.runAll)
		}
	}
}

// runAll runs the row in all modes.
func (w row) runAll(t *testing.T) {
	t.Parallel()
	for _, m := range w.on {
		for _, mo := range w.modes {
			for _, size := range w.requestSizes() {
				t.Run(fmt.Sprintf("%s/%s/%dK", m.name, mo.name, size>>10), func(t *testing.T) {
					t.Parallel()
					w.run(newRig(t, m, mo, size))
				})
			}
		}
	}
}

func (w row) requestSizes() []int {
	if w.sizes != nil {
		return w.sizes
	}
	return []int{4 << 10, 1 << 20}
}

func (w row) run(r *rig) {
	r.others()
	for _, s := range w.steps {
		s.do(r)
		if r.t.Failed() {
			r.t.Fatalf("at the step %q", s.text)
		}
	}
	for _, l := range w.logs {
		r.logged(l)
		if got := l.count(r.log()); got != 1 {
			r.t.Errorf("the log has %d times %s:\n%s", got, l, r.log())
		}
	}
	for _, l := range w.says {
		if !l.said(r.log()) {
			r.t.Errorf("the program did not end with %q:\n%s", l.msg, r.log())
		}
	}
	if got, want := loud(r.log()), len(slices.DeleteFunc(slices.Clone(w.logs), line.quiet)); got != want {
		r.t.Errorf("the log has %d warnings and errors, want %d:\n%s", got, want, r.log())
	}
}

// outcome is how a request ends.
type outcome struct {
	errno nbdtest.Errno
	sense string // in the message of the reply
	// located: the reply says where, and that is in the request and not behind
	// the fault.
	located bool
}

var (
	ok          = outcome{}
	readError   = outcome{nbdtest.EIO, "MEDIUM ERROR, UNRECOVERED READ ERROR", true}
	writeError  = outcome{nbdtest.EIO, "MEDIUM ERROR, WRITE ERROR", true}
	lostError   = outcome{nbdtest.EIO, "MEDIUM ERROR, WRITE ERROR", false}
	noSpace     = outcome{nbdtest.ENOSPC, "SPACE ALLOCATION FAILED WRITE PROTECT", false}
	protected   = outcome{nbdtest.EPERM, "DATA PROTECT, WRITE PROTECTED", false}
	notWritable = outcome{nbdtest.EPERM, "the export is read-only", false}
)

// result is how the document has it.
func (o outcome) result() string {
	if o.errno == nbdtest.OK {
		return "ok"
	}
	return "**" + o.errno.String() + "**"
}

// check compares a reply with it.
func (o outcome) check(r *rig, what string, at uint64, reply nbdtest.Reply) {
	r.t.Helper()
	if reply.Errno != o.errno || !strings.Contains(reply.Message, o.sense) {
		r.t.Errorf("%s: %v (%s), want %v (%s)", what, reply.Errno, reply.Message, o.errno, o.sense)
	}
	if !o.located {
		return
	}
	if e := reply.ErrorAt; e == nil {
		r.t.Errorf("%s: the reply does not say where: %s", what, reply.Message)
	} else if *e < at || *e >= at+uint64(r.size) {
		r.t.Errorf("%s of %d bytes at %d: the error is at %d", what, r.size, at, *e)
	}
}

var commandNames = map[uint16]string{
	nbdtest.CmdRead: "READ", nbdtest.CmdWrite: "WRITE", nbdtest.CmdFlush: "FLUSH",
	nbdtest.CmdTrim: "TRIM", nbdtest.CmdWriteZeroes: "WRITE_ZEROES",
}

// ask is a step with one request.
func ask(typ, flags uint16, at uint64, want outcome) step {
	what := commandNames[typ]
	if flags&nbdtest.CmdFlagFUA != 0 {
		what += " with FUA"
	}
	if typ != nbdtest.CmdFlush && at == elsewhere {
		what += " elsewhere"
	}
	return step{what + " " + want.result(), func(r *rig) {
		r.t.Helper()
		want.check(r, what, at, r.request(r.conn, typ, at, r.size, flags))
	}}
}

// The requests of the table. Those without a place are for the fault's.
func read(want outcome) step  { return ask(nbdtest.CmdRead, 0, there, want) }
func write(want outcome) step { return ask(nbdtest.CmdWrite, 0, there, want) }
func fua(want outcome) step   { return ask(nbdtest.CmdWrite, nbdtest.CmdFlagFUA, there, want) }
func zeroes(want outcome) step {
	return ask(nbdtest.CmdWriteZeroes, nbdtest.CmdFlagNoHole, there, want)
}
func trim(want outcome) step  { return ask(nbdtest.CmdTrim, 0, there, want) }
func flush(want outcome) step { return ask(nbdtest.CmdFlush, 0, 0, want) }

// Those for another range.
func readElsewhere(want outcome) step  { return ask(nbdtest.CmdRead, 0, elsewhere, want) }
func writeElsewhere(want outcome) step { return ask(nbdtest.CmdWrite, 0, elsewhere, want) }

// fails injects a fault; other exports go on.
func fails(f faultfs.Fault) step {
	return step{"*fault*", func(r *rig) {
		r.t.Helper()
		r.fault = r.disk.faults.Inject(f)
		r.others()
	}}
}

// repaired clears the fault.
var repaired = step{"*repaired*", func(r *rig) {
	r.others()
	r.fault.Clear()
}}

// quiet waits until nothing has failed for long enough that a success counts as
// the end of the fault, and a little.
var quiet = step{"*5 s later*", func(*rig) { time.Sleep(5*time.Second + 100*time.Millisecond) }}

// restart restarts the server.
func restart(status int) step {
	return step{"*server restarted*", func(r *rig) { r.restart(status) }}
}

// often repeats steps that go unmentioned: as many failures cost no more lines
// in the log.
func often(steps ...step) step {
	return step{"", func(r *rig) {
		for range 20 {
			for _, s := range steps {
				s.do(r)
			}
		}
	}}
}
