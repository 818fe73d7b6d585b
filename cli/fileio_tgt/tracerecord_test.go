package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestTraceRecordCommandLine(t *testing.T) {
	for args, want := range map[string]string{
		"trace record":                      "needs -o FILE",
		"trace record -o x":                 "needs a program",
		"trace record -o x --data -1 true":  "--data -1: want a number of bytes",
		"trace record -o x --dat 1 -- true": "unknown option --dat; fileio_tgt trace --help",
	} {
		if o := runWith(strings.Fields(args)...); o.status != exitUsage || !strings.Contains(o.stderr, want) {
			t.Errorf("%s: %+v, want %q", args, o, want)
		}
	}
}

// A program is recorded, its options are its own, its failure is ours, and
// what was recorded can be shown.
func TestTraceRecord(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler")
	}
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	program, node, out := filepath.Join(dir, "program"), filepath.Join(dir, "scst_user"), filepath.Join(dir, "t.jsonl.zst")
	if text, err := exec.Command("cc", "-o", program, "../../ioctl/preload/testdata/program.c", "-pthread").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if err := os.WriteFile(node, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o := runWith("trace", "record", "-o", out, "--", program, node, "--help")
	if o.status != 0 || !strings.Contains(o.stderr, "14 events") || o.stdout != "" {
		t.Fatalf("%+v", o)
	}
	if o := runWith("trace", "show", out); o.status != 0 || !strings.Contains(o.stdout, "[EXEC h=5 CHECK CONDITION len 0 sense 7000") {
		t.Errorf("%+v", o)
	}
	if o := runWith("trace", "record", "-o", out, program, node, "fail"); o.status != 1 || !strings.Contains(o.stderr, "exit status 3") {
		t.Errorf("%+v", o)
	}
	if o := runWith("trace", "record", "-o", out, "true"); o.status != 1 || !strings.Contains(o.stderr, "nothing was recorded") {
		t.Errorf("%+v", o)
	}
}
