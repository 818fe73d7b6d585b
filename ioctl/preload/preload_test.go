package preload

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
)

func TestMain(m *testing.M) {
	// The runtime keeps the goroutine that hands signals out.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("os/signal.loop"))
}

// rig is a program that is recorded, and a file called scst_user.
type rig struct{ dir, program, node string }

func newRig(t *testing.T) *rig {
	t.Helper()
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler")
	}
	dir := t.TempDir()
	r := &rig{dir: dir, program: filepath.Join(dir, "program"), node: filepath.Join(dir, "scst_user")}
	if out, err := exec.Command("cc", "-O2", "-D_FORTIFY_SOURCE=2", "-o", r.program, "testdata/program.c", "-pthread").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := os.WriteFile(r.node, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return r
}

// record runs the program and returns its recording.
func (r *rig) record(t *testing.T, what string) (*os.ProcessState, *trace.Recording) {
	t.Helper()
	out := filepath.Join(r.dir, what+".jsonl.gz")
	var stderr bytes.Buffer
	state, n, err := Record(context.Background(), Options{Out: out, Cache: filepath.Join(r.dir, "cache"),
		Program: []string{r.program, r.node, what}, Stderr: &stderr})
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v %s", err, stderr.String())
	}
	rec, err := trace.Load(out)
	if err != nil || rec.Truncated || len(rec.Events) != n {
		t.Fatalf("%d events of %d: %v", len(rec.Events), n, err)
	}
	if left, _ := filepath.Glob(filepath.Join(r.dir, ".scst*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	return state, rec
}

// kinds are the events as kind and op.
func kinds(rec *trace.Recording) []string {
	var l []string
	for _, e := range rec.Events {
		l = append(l, strings.TrimSpace(string(e.Kind)+" "+e.Op))
	}
	return l
}

// What goes in is recorded with what it points to, descriptors are followed,
// and the last one's close is the release.
func TestRecordCalls(t *testing.T) {
	state, rec := newRig(t).record(t, "fail")
	if state.ExitCode() != 3 {
		t.Errorf("exit status %d, want the program's, 3", state.ExitCode())
	}
	want := []string{"open", "enter REGISTER_DEVICE", "exit REGISTER_DEVICE", "enter REPLY_AND_GET_MULTI", "exit REPLY_AND_GET_MULTI",
		"enter FLUSH_CACHE", "exit FLUSH_CACHE", "enter poll", "exit poll", "close",
		"enter DEVICE_CAPACITY_CHANGED", "exit DEVICE_CAPACITY_CHANGED", "close", "release"}
	if got := kinds(rec); !slices.Equal(got, want) {
		t.Fatalf("%q, want %q", got, want)
	}
	e := rec.Events
	if h := rec.Header; h.Source != "preload" || !strings.HasSuffix(h.Command, "scst_user fail") || h.Start == 0 {
		t.Errorf("%+v", h)
	}
	if !e[0].NonBlock || e[0].File != 1 || e[0].PID == 0 || e[0].TID != e[0].PID {
		t.Errorf("%+v", e[0])
	}
	if in := e[1].In; in.DevDesc.Name != "disk1" || in.Version != "3.11.0-pre" || in.License != "GPL" || len(in.Raw) != abi.SizeDevDesc {
		t.Errorf("%+v", in)
	}
	if e[2].Ret != -1 || e[2].Errno != trace.Errno(syscall.ENOTTY) || e[2].Call != e[1].Seq {
		t.Errorf("%+v", e[2])
	}
	in := e[3].In
	if in.Multi.RepliesCnt != 1 || in.Multi.CmdsCnt != 2 || len(in.Replies) != 1 {
		t.Fatalf("%+v", in)
	}
	r := in.Replies[0]
	if r.CmdH != 5 || r.Subcode != abi.SubcodeExec || r.Exec.Status != 2 || len(r.Sense) != 18 || r.Sense[0] != 0x70 || r.Sense[12] != 0x20 {
		t.Errorf("%+v", r)
	}
	if out := e[4].Out; out == nil || out.Multi.RepliesCnt != 1 {
		t.Errorf("MULTI's argument comes out when it fails, too: %+v", out)
	}
	if e[8].Ret != 1 || e[8].Errno != 0 { // a plain file is always ready
		t.Errorf("%+v", e[8])
	}
	for i := 1; i < len(e); i++ {
		if e[i].Time < e[i-1].Time || e[i].File != 1 {
			t.Errorf("event %d: %+v", i, e[i])
		}
	}
}

// Threads write whole lines, and all of them.
func TestRecordThreads(t *testing.T) {
	_, rec := newRig(t).record(t, "threads")
	handles := map[uint32]bool{}
	tids := map[int]bool{}
	for _, e := range rec.Events {
		if e.Kind == trace.KindEnter {
			handles[e.In.Replies[0].CmdH] = true
			tids[e.TID] = true
		}
	}
	if len(handles) != 800 || len(tids) != 4 || len(rec.Events) != 2*800+2 {
		t.Errorf("%d handles of %d threads in %d events", len(handles), len(tids), len(rec.Events))
	}
}

// A child shares the open file; the program's end is what releases it.
func TestRecordFork(t *testing.T) {
	_, rec := newRig(t).record(t, "fork")
	pids := map[int]uint32{}
	for _, e := range rec.Events {
		if e.File != 1 {
			t.Errorf("%+v", e)
		}
		if e.Kind == trace.KindEnter {
			pids[e.PID] = e.In.Replies[0].CmdH
		}
	}
	last := rec.Events[len(rec.Events)-1]
	if len(pids) != 2 || last.Kind != trace.KindRelease {
		t.Errorf("%v, last %+v", pids, last)
	}
}

// A killed program leaves what it did.
func TestRecordKilled(t *testing.T) {
	state, rec := newRig(t).record(t, "kill")
	if ws, ok := state.Sys().(syscall.WaitStatus); !ok || ws.Signal() != syscall.SIGKILL {
		t.Errorf("%v", state)
	}
	if got := kinds(rec); !slices.Equal(got, []string{"open", "enter REPLY_AND_GET_MULTI", "exit REPLY_AND_GET_MULTI", "release"}) {
		t.Errorf("%q", got)
	}
}

// Pointers to nowhere are the program's problem: it gets what the kernel says.
func TestRecordBadPointers(t *testing.T) {
	state, rec := newRig(t).record(t, "bad")
	if state.ExitCode() != 0 {
		t.Errorf("%v", state)
	}
	e := rec.Events
	if len(e) != 8 || e[1].In == nil || len(e[1].In.Replies) != 0 || e[1].In.Multi.RepliesCnt != 100 || e[3].In != nil || e[5].In != nil {
		t.Errorf("%q %+v", kinds(rec), e[1])
	}
}

// Programs that close all descriptors don't close ours.
func TestRecordDaemon(t *testing.T) {
	state, rec := newRig(t).record(t, "daemon")
	if got := kinds(rec); state.ExitCode() != 0 || !slices.Contains(got, "exit REPLY_AND_GET_MULTI") {
		t.Errorf("%v %q", state, got)
	}
}

func TestRecordErrors(t *testing.T) {
	r := newRig(t)
	o := Options{Out: filepath.Join(r.dir, "t.jsonl"), Cache: filepath.Join(r.dir, "cache")}
	if _, _, err := Record(context.Background(), o); err == nil {
		t.Error("no program was recorded")
	}
	o.Program = []string{"true"}
	if _, _, err := Record(context.Background(), o); !errors.Is(err, ErrNothing) {
		t.Errorf("%v, want ErrNothing", err)
	}
	o.Program = []string{filepath.Join(r.dir, "none")}
	if _, _, err := Record(context.Background(), o); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	t.Setenv("CC", "/nonexistent/cc")
	o.Cache = filepath.Join(r.dir, "other")
	if _, _, err := Record(context.Background(), o); err == nil || !strings.Contains(err.Error(), "C compiler") && !strings.Contains(err.Error(), "cc") {
		t.Errorf("%v", err)
	}
}

// The library is built once.
func TestBuildOnce(t *testing.T) {
	r := newRig(t)
	path, err := Build(context.Background(), r.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("CC", "/nonexistent/cc")
	if again, err := Build(context.Background(), r.dir); err != nil || again != path {
		t.Errorf("%q %v", again, err)
	}
}

// No text makes the importer fail but with a line's number, and what it has
// written is a good trace.
func FuzzImport(f *testing.F) {
	f.Add([]byte(`{"ev":"open","t_ns":1,"pid":1,"tid":1,"opener":1,"number":1,"fd":3}` + "\n" +
		`{"ev":"enter","t_ns":2,"pid":1,"tid":1,"opener":1,"number":1,"op":"0xc010750b","id":1,"in":{"raw":"00000000000000000000000002000000"}}` + "\n" +
		`{"ev":"exit","t_ns":3,"pid":1,"tid":1,"opener":1,"number":1,"op":"0xc010750b","id":1,"ret":-1,"errno":"errno 11","out":{"raw":"00000000000000000000000000000000","cmds":[]}}` + "\n" +
		`{"ev":"close","t_ns":4,"pid":1,"tid":1,"opener":1,"number":1,"fd":3}` + "\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		w, err := trace.NewWriter(&out, trace.Header{})
		if err != nil {
			t.Fatal(err)
		}
		n, err := Import(bytes.NewReader(b), w)
		if err != nil && !strings.HasPrefix(err.Error(), "line ") {
			t.Fatal(err)
		}
		_ = w.Close()
		r, err := trace.NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		rec, err := trace.ReadAll(r)
		if err != nil || len(rec.Events) != n {
			t.Fatalf("%d events, want %d: %v", len(rec.Events), n, err)
		}
	})
}
