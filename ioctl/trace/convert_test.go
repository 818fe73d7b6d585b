package trace

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"scstuser/ioctl/abi"
)

func recordings(t testing.TB) []string {
	t.Helper()
	files, _ := filepath.Glob("../../testdata/ioctl/recordings/*.jsonl.gz")
	if len(files) < 19 {
		t.Fatalf("%d recordings, want 19", len(files))
	}
	return files
}

// convertFile imports one recording.
func convertFile(t testing.TB, name string) ([]byte, Converted) {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out bytes.Buffer
	w, err := NewWriter(&out, Header{Source: "module"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := Convert(f, w)
	if err != nil {
		t.Fatal(name, err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), c
}

// readAll reads a trace to its end.
func readAll(t testing.TB, b []byte) (events []*Event, truncated bool) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for {
		e, err := r.Next()
		if err == io.EOF {
			return events, r.Truncated()
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, e)
	}
}

// Every recording of the real module imports, line for line; what its events
// say after a way through a file is what their bytes say.
func TestRecordingsImport(t *testing.T) {
	total, replies, cmds, unreturned := 0, 0, 0, 0
	for _, name := range recordings(t) {
		b, c := convertFile(t, name)
		events, truncated := readAll(t, b)
		if truncated || c.Truncated || len(events) != c.Events {
			t.Errorf("%s: %d events, converted %+v", name, len(events), c)
		}
		open := map[uint64]*Event{}
		for _, e := range events {
			switch e.Kind {
			case KindEnter:
				open[e.Seq] = e
			case KindExit:
				if in := open[e.Call]; in == nil || in.TID != e.TID || in.Op != e.Op || in.File != e.File {
					t.Errorf("%s: event %d does not match its call %d", name, e.Seq, e.Call)
				}
				delete(open, e.Call)
			}
			checkBytes(t, name, e)
			if e.In != nil {
				replies += len(e.In.Replies)
			}
			if e.Out != nil {
				cmds += len(e.Out.Cmds)
			}
		}
		total += len(events)
		unreturned += len(open)
	}
	if total != 6143 || replies == 0 || cmds == 0 || unreturned == 0 {
		t.Errorf("%d events, %d replies, %d subcommands, %d calls without end; want 6143 and some of each", total, replies, cmds, unreturned)
	}
	t.Logf("%d events, %d replies, %d subcommands, %d calls without end", total, replies, cmds, unreturned)
}

// checkBytes compares decoded members with the bytes beside them.
func checkBytes(t *testing.T, name string, e *Event) {
	t.Helper()
	var op abi.Ioctl
	if e.Op != "" {
		if err := op.UnmarshalText([]byte(e.Op)); err != nil || !op.Known() {
			t.Errorf("%s: event %d: op %q (%v)", name, e.Seq, e.Op, err)
		}
	}
	if in := e.In; in != nil {
		want, err := ArgIn(op, in.Raw)
		if err != nil {
			t.Fatal(err)
		}
		want.Version, want.License, want.Replies = in.Version, in.License, in.Replies
		if !reflect.DeepEqual(in, want) {
			t.Errorf("%s: event %d: in %+v, its bytes say %+v", name, e.Seq, in, want)
		}
		for _, r := range in.Replies {
			if want, err := NewReply(r.Raw); err != nil || !reflect.DeepEqual(r.Answer, want.Answer) {
				t.Errorf("%s: event %d: reply %+v, its bytes say %+v", name, e.Seq, r, want)
			}
		}
		if in.Multi != nil && in.Multi.Replies() != len(in.Replies) {
			t.Errorf("%s: event %d: %d replies, want %d", name, e.Seq, len(in.Replies), in.Multi.Replies())
		}
		if op == abi.IoctlRegisterDevice && (in.Version != abi.Version || in.License != "GPL") {
			t.Errorf("%s: event %d: %q %q", name, e.Seq, in.Version, in.License)
		}
	}
	if e.Out != nil {
		for _, c := range e.Out.Cmds {
			if want, err := NewCmd(c.Raw); err != nil || !reflect.DeepEqual(c.Command, want.Command) {
				t.Errorf("%s: event %d: subcommand %+v, its bytes say %+v", name, e.Seq, c, want)
			}
		}
		if m := e.Out.Multi; m != nil && m.Room() != len(e.Out.Cmds) {
			t.Errorf("%s: event %d: %d subcommands, want %d", name, e.Seq, len(e.Out.Cmds), m.Room())
		}
	}
}

func TestConvertRefuses(t *testing.T) {
	for name, line := range map[string]string{
		"not JSON":            `{"ev":`,
		"unknown kind":        `{"ev":"leave","cmd_nr":"0x7502"}`,
		"bad number":          `{"ev":"enter","cmd_nr":"seven"}`,
		"exit without enter":  `{"ev":"exit","call":3,"cmd_nr":"0x7502"}`,
		"argument cut off":    `{"ev":"enter","cmd_nr":"0x40147503","in":{"hex":"0011"}}`,
		"reply cut off":       `{"ev":"enter","cmd_nr":"0xc010750b","in":{"hex":"00000000000000000000000000000000","replies":[{"hex":"00"}]}}`,
		"subcommand cut off":  `{"ev":"exit","call":1,"cmd_nr":"0xc010750b","out":{"hex":"00000000000000000000000000000000","cmds":[{"hex":"00"}]}}`,
		"odd number of digit": `{"ev":"enter","cmd_nr":"0x40147503","in":{"hex":"001"}}`,
	} {
		w, err := NewWriter(io.Discard, Header{})
		if err != nil {
			t.Fatal(err)
		}
		in := `{"ev":"enter","seq":1,"cmd_nr":"0x7502"}` + "\n" + line + "\n"
		if _, err := Convert(strings.NewReader(in), w); err == nil || !strings.Contains(err.Error(), "line 2") {
			t.Errorf("%s: %v, want an error in line 2", name, err)
		}
	}
}

func TestConvertPollAndClose(t *testing.T) {
	var out bytes.Buffer
	w, _ := NewWriter(&out, Header{})
	in := `{"ev":"enter","seq":1,"cmd":"poll","tid":4,"fd":3}
{"ev":"exit","seq":2,"cmd":"poll","call":1,"ret":1,"tid":4,"fd":3}
{"ev":"enter","seq":3,"cmd":"close","tid":4,"fd":3}
{"ev":"exit","seq":4,"cmd":"close","call":3,"tid":4,"fd":3}
{"ev":"mark","te`
	c, err := Convert(strings.NewReader(in), w)
	if err != nil || !c.Truncated || c.Events != 3 {
		t.Fatalf("%+v %v", c, err)
	}
	_ = w.Close()
	events, _ := readAll(t, out.Bytes())
	if len(events) != 3 || events[0].Op != OpPoll || events[1].Call != 1 || events[1].Ret != 1 || events[2].Kind != KindClose {
		t.Errorf("%+v", events)
	}
}

// A call returns once.
func TestConvertRefusesSecondExit(t *testing.T) {
	w, err := NewWriter(io.Discard, Header{})
	if err != nil {
		t.Fatal(err)
	}
	exit := `{"ev":"exit","seq":2,"call":1,"cmd_nr":"0x7502"}` + "\n"
	in := `{"ev":"enter","seq":1,"cmd_nr":"0x7502"}` + "\n" + exit + exit
	if c, err := Convert(strings.NewReader(in), w); err == nil || c.Events != 2 || !strings.Contains(err.Error(), "line 3") {
		t.Errorf("%+v %v, want an error in line 3", c, err)
	}
}
