package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"scstuser/ioctl/trace"
)

// traceFile is a recording of the module.
func traceFile(t *testing.T, id string) string {
	t.Helper()
	files, err := filepath.Glob("../../testdata/ioctl/recordings/" + id + "-*.jsonl.gz")
	if err != nil || len(files) != 1 {
		t.Fatal(files, err)
	}
	return files[0]
}

func TestTraceCommandLine(t *testing.T) {
	ka, kg := traceFile(t, "ka"), traceFile(t, "kg")
	old := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		args           string
		status         int
		stdout, stderr string // parts
	}{
		{"trace", 2, "", "needs a verb"},
		{"trace --help", 0, "usage: fileio_tgt trace show", ""},
		{"trace sing", 2, "", "trace sing: there is no such verb"},
		{"trace show", 2, "", "needs one file name, got 0"},
		{"trace diff " + ka, 2, "", "needs 2 file names, got 1"},
		{"trace show --jsno " + ka, 2, "", "did you mean --json?"},
		{"trace stat -h", 0, "usage: fileio_tgt trace show", ""},
		{"trace show " + old, 1, "", "no such file"},
		{"trace show main.go", 1, "", "not a scst_user trace"},
		{"trace show " + ka, 0, "REGISTER_DEVICE \"disk1\"", ""},
		{"trace show --json " + ka, 0, `"op":"REGISTER_DEVICE"`, ""},
		{"trace stat " + ka, 0, "ATTACH_SESS", ""},
		{"trace diff " + ka + " " + ka, 0, "", ""},
		{"trace diff --json " + ka + " " + ka, 0, "null", ""},
		{"trace diff " + ka + " " + kg, 1, "in.dev_desc.opt.on_free_cmd_type: 1 / 0", "the traces differ"},
		{"trace diff --json " + ka + " " + kg, 1, `"path": "in.dev_desc.opt.on_free_cmd_type"`, "the traces differ"},
		{"trace convert " + ka, 2, "", "needs 2 file names"},
		{"trace replay " + ka, 0, "as recorded: 122 events", ""},
		{"trace replay --json " + kg, 0, `"subcommands": 81`, ""},
		{"trace replay " + old, 1, "", "no such file"},
	} {
		o := runWith(strings.Fields(c.args)...)
		if o.status != c.status || !strings.Contains(o.stdout, c.stdout) || !strings.Contains(o.stderr, c.stderr) || c.stderr == "" && o.stderr != "" || o.cfg != nil {
			t.Errorf("%s: status %d, want %d\nstdout %.300s\nstderr %s", c.args, o.status, c.status, o.stdout, o.stderr)
		}
	}
}

// A recording that the host does not play along with is exit status 1, with the
// event and what differs.
func TestTraceReplayDiffers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.jsonl")
	if o := runWith("trace", "convert", traceFile(t, "ka"), path); o.status != 0 {
		t.Fatalf("%+v", o)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), `"lba":24`, `"lba":25`, 1)
	if err := os.WriteFile(path, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	o := runWith("trace", "replay", path)
	if o.status != 1 || !strings.Contains(o.stdout, "exec_cmd.lba: 25 / 24") || !strings.Contains(o.stderr, "did not answer as recorded") {
		t.Errorf("%+v", o)
	}
}

// convert makes a file of each packing that reads like the recording; numbers
// of events are new, and calls follow them.
func TestTraceConvert(t *testing.T) {
	dir, ka := t.TempDir(), traceFile(t, "ka")
	from := ka
	for _, name := range []string{"a.jsonl", "a.jsonl.gz", "a.jsonl.zst"} {
		path := filepath.Join(dir, name)
		if o := runWith("trace", "convert", from, path); o.status != 0 || o.stderr != "" {
			t.Fatalf("%+v", o)
		}
		if o := runWith("trace", "diff", ka, path); o.status != 0 {
			t.Errorf("%s: %+v", name, o)
		}
		from = path
	}
	if o := runWith("trace", "convert", from, from); o.status != 1 || !strings.Contains(o.stderr, "would overwrite") {
		t.Errorf("%+v", o)
	}
	if o := runWith("trace", "diff", ka, from); o.status != 0 {
		t.Errorf("the file was touched: %+v", o)
	}
}

// A file that ends in the middle is used as far as it goes, and its user told.
func TestTraceTruncated(t *testing.T) {
	path := filepath.Join(t.TempDir(), "cut.jsonl")
	if o := runWith("trace", "convert", traceFile(t, "ka"), path); o.status != 0 {
		t.Fatalf("%+v", o)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-9], 0o600); err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"show", "stat"} {
		if o := runWith("trace", verb, path); o.status != 0 || !strings.Contains(o.stderr, "ends in the middle of a line") {
			t.Errorf("%s: %+v", verb, o)
		}
	}
}

// What --json prints is what package trace says.
func TestTraceStatJSON(t *testing.T) {
	ka := traceFile(t, "ka")
	o := runWith("trace", "stat", "--json", ka)
	var got trace.Stats
	if err := json.Unmarshal([]byte(o.stdout), &got); err != nil {
		t.Fatal(err)
	}
	rec, err := trace.Load(ka)
	if err != nil {
		t.Fatal(err)
	}
	if got.Events != len(rec.Events) || got.Subcodes["EXEC"].Fetched == 0 {
		t.Errorf("%+v", got)
	}
}
