package main

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// The test's binary is also the handler in Go.
func TestMain(m *testing.M) {
	becomeHandler()
	os.Exit(m.Run())
}

// The whole of it, as short as can be: a row for each depth, and no command
// failed.
func TestRun(t *testing.T) {
	if _, err := os.Stat("/dev/fuse"); err != nil || os.Geteuid() != 0 {
		t.Skip("NOT TESTED: needs /dev/fuse and root")
	}
	if _, err := exec.LookPath("cc"); err != nil {
		t.Skip("NOT TESTED: no C compiler (cc) here")
	}
	t.Chdir("../..")
	var b strings.Builder
	if err := run(&b, time.Second); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"bare round trip", "\nC       1 ", "\nC       16 ", "\nC       64 ", "\nGo      1 ", "\nGo      16 ", "\nGo      64 "} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}
