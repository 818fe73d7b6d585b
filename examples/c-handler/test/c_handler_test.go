// Package test builds the example in C and runs it against a mounted node. It is
// a directory of its own because go does not take C files without cgo.
package test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"scstuser/internal/nodehost"
)

func TestMain(m *testing.M) {
	nodehost.Main()
	goleak.VerifyTestMain(m)
}

// build makes the program, as README.md says.
func build(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "ram_handler")
	text := nodehost.Tool(t, "make", "-s", "-C", "..", "OUT="+out)
	if t.Failed() {
		t.Fatal(text)
	}
	return out
}

// start runs the program until it says that it serves.
func start(t *testing.T, program string, args ...string) *nodehost.Program {
	t.Helper()
	h, line := nodehost.StartProgram(t, exec.Command(program, args...))
	if !strings.HasPrefix(line, "serving") {
		t.Fatalf("it says %q", line)
	}
	return h
}

// fio --verify over NBD, with one thread and with several; then a clean stop
// with every buffer given back.
func TestVerify(t *testing.T) {
	program := build(t)
	for _, threads := range []string{"1", "4", "16"} {
		t.Run(threads+" threads", func(t *testing.T) {
			host := nodehost.Start(t)
			h := start(t, program, "-t", threads, "-s", "32", host.Node)
			host.WaitExport("ram")
			host.FioVerify(t, "ram", "--rw=randwrite", "--iodepth=16", "--size=32m", "--bssplit=4k/60:12k/20:64k/20", "--blockalign=4k")
			if status := h.End(syscall.SIGTERM); status != 0 || h.Stderr.Len() != 0 {
				t.Errorf("status %d, %s", status, h.Stderr.String())
			}
			host.WaitGone("ram")
		})
	}
}

// Copied in and out, byte by byte; and the commands that it does not have fail.
func TestCopy(t *testing.T) {
	host := nodehost.Start(t)
	h := start(t, build(t), "-n", "disk-c", "-s", "8", "-t", "2", host.Node)
	host.WaitExport("disk-c")
	dir := t.TempDir()
	want := make([]byte, 8<<20)
	for i := range want {
		want[i] = byte(i * 2654435761 >> 13)
	}
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, want, 0o600); err != nil {
		t.Fatal(err)
	}
	nodehost.Tool(t, "nbdcopy", in, host.URI("disk-c"))
	nodehost.Tool(t, "nbdcopy", host.URI("disk-c"), out)
	if got, err := os.ReadFile(out); err != nil || !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back, or others: %v", len(got), err)
	}
	c := host.Dial(t)
	c.Hello()
	c.Go("disk-c")
	if _, errno := c.Read(8<<20, 4096, 0); errno == 0 {
		t.Error("there are bytes behind the end")
	}
	if got, errno := c.Read(4096, 4096, 0); errno != 0 || !bytes.Equal(got, want[4096:8192]) {
		t.Errorf("after an error: %v, or other bytes", errno)
	}
	if status := h.End(syscall.SIGINT); status != 0 {
		t.Errorf("status %d, %s", status, h.Stderr.String())
	}
}

// Killed under load and started again, under its name, each time (R70).
func TestKilledAndRestarted(t *testing.T) {
	host := nodehost.Start(t)
	program := build(t)
	for range 5 {
		h := start(t, program, "-t", "4", host.Node)
		host.WaitExport("ram")
		ended := host.Load(t, "ram")
		time.Sleep(30 * time.Millisecond)
		killed := time.Now()
		h.End(syscall.SIGKILL)
		select {
		case at := <-ended:
			if d := at.Sub(killed); d > time.Second {
				t.Errorf("the last request was answered after %v", d)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a request was not answered")
		}
	}
}

// A host that dies, or stops, is one line and a status.
func TestHostGoes(t *testing.T) {
	program := build(t)
	for name, leave := range map[string]func(*nodehost.Host){"stopped": (*nodehost.Host).Stop, "killed": (*nodehost.Host).Kill} {
		t.Run(name, func(t *testing.T) {
			host := nodehost.Start(t)
			h := start(t, program, "-t", "3", host.Node)
			leave(host)
			status, text := h.End(0), h.Stderr.String()
			if status != 1 || !strings.HasPrefix(text, "ram_handler: the node is gone: ") || strings.Count(text, "\n") != 1 {
				t.Errorf("status %d, %q", status, text)
			}
		})
	}
}

func TestWrongUse(t *testing.T) {
	program := build(t)
	for _, args := range [][]string{{}, {"-s", "0", "/dev/null"}, {"-x"}, {"a", "b"}} {
		var exit *exec.ExitError
		out, err := exec.Command(program, args...).CombinedOutput()
		if !errors.As(err, &exit) || exit.ExitCode() != 2 || !strings.Contains(string(out), "usage") {
			t.Errorf("%q: %v, %s", args, err, out)
		}
	}
	out, err := exec.Command(program, "/dev/null").CombinedOutput()
	if want := fmt.Sprintf("register ram at /dev/null: %v", "Inappropriate ioctl"); err == nil || !strings.Contains(string(out), want) {
		t.Errorf("%v, %s", err, out)
	}
}
