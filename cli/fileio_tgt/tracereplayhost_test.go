package main

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/fusenode"
)

func TestTraceReplayCommandLine(t *testing.T) {
	ka := traceFile(t, "ka")
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"trace replay --as both x", exitUsage, "--as both: want handler or host"},
		{"trace replay", exitUsage, "needs one file name, got 0"},
		{"trace replay x true", exitUsage, "needs one file name, got 2"},
		{"trace replay --as host x", exitUsage, "needs a file name and a program"},
		{"trace replay --as host x --", exitUsage, "needs a file name and a program"},
		{"trace replay --as host /nonexistent -- true", exitFailure, "no such file"},
		{"trace replay --as handler " + ka, exitOK, ""},
	} {
		if o := runWith(strings.Fields(c.args)...); o.status != c.status || !strings.Contains(o.stderr, c.want) {
			t.Errorf("%s: %+v, want %q", c.args, o, c.want)
		}
	}
}

// The host's side of a recording of the module, against a handler whose data is
// all zeros: found out by its first INQUIRY, and everything is taken down.
func TestTraceReplayAsHost(t *testing.T) {
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("no C compiler")
	}
	dir, ka := t.TempDir(), traceFile(t, "ka")
	program := filepath.Join(dir, "blank")
	if text, err := exec.Command("cc", "-I../../ioctl/abi", "-o", program, "testdata/handler/blank.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	t.Setenv("TMPDIR", dir)
	o := runWith("trace", "replay", "--as", "host", ka, "--", program, abi.Version, "{}")
	if strings.Contains(o.stderr, fusenode.ErrNoFUSE.Error()) || strings.Contains(o.stderr, "mount") {
		t.Skip(o.stderr)
	}
	if o.status != exitFailure || !strings.Contains(o.stdout, "the handler answered INQUIRY h=1 (120000002400) otherwise") ||
		!strings.Contains(o.stderr, errHandlerDiffers.Error()) {
		t.Errorf("%+v", o)
	}
	// One that ends, one that is not there.
	if o := runWith("trace", "replay", "--as", "host", ka, "true"); o.status != exitFailure || !strings.Contains(o.stderr, "before it registered") {
		t.Errorf("%+v", o)
	}
	if o := runWith("trace", "replay", "--as", "host", ka, "/nonexistent/program"); o.status != exitFailure || !strings.Contains(o.stderr, "run the handler") {
		t.Errorf("%+v", o)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "fileio_tgt-replay-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}
