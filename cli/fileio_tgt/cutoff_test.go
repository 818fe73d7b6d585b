package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/nbd/nbdtest"
	"scstuser/ucmd"
)

// hangingBacking is a medium whose reads at hangOffset do not return until
// leave is closed. Other than its file it can do nothing without waiting.
type hangingBacking struct {
	describedBacking
	inside, leave chan struct{}
}

const hangOffset = 1 << 20

func (b *hangingBacking) ReadAt(p []byte, off int64) (int, error) {
	if off == hangOffset {
		b.inside <- struct{}{}
		<-b.leave
	}
	return b.describedBacking.ReadAt(p, off)
}

// hangingRun is the program with two exports, "bad" on a hangingBacking and
// "good".
type hangingRun struct {
	t      *testing.T
	p      *program
	bad    *hangingBacking
	addr   string
	cancel context.CancelFunc
	over   chan error
	log    *syncBuffer
	// requests are those that hang.
	requests []nbdtest.Request
}

// syncBuffer is a log that can be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newHangingRun(t *testing.T, action cmdAction, exports ...string) *hangingRun {
	t.Helper()
	r := &hangingRun{t: t, over: make(chan error, 1), log: &syncBuffer{}}
	dir := t.TempDir()
	cfg := img(func(c *config) {
		c.CmdTimeout, c.CmdAction = 300*time.Millisecond, action
		c.Listen = []string{"unix:" + filepath.Join(dir, "sock")}
		c.ReleaseTimeout, c.DrainTimeout = 5*time.Second, 5*time.Second
		c.Exports = nil
		c.SGVShared = true // the hardest case for buffers: both disks use the same
	})
	for _, name := range exports {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, bytes.Repeat([]byte(name), 1<<20), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg.Exports = append(cfg.Exports, exportConfig{name, path})
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the log:\n%s", r.log)
		}
	})
	log := logrus.New()
	log.SetOutput(r.log)
	r.p = newProgram(cfg, log)
	r.p.open = func(cfg *config, e exportConfig) (medium, error) {
		m, err := openMedium(cfg, e)
		if err == nil && e.Name == "bad" {
			r.bad = &hangingBacking{describedBacking: m.describedBacking, inside: make(chan struct{}, 64), leave: make(chan struct{})}
			m.describedBacking = r.bad
		}
		return m, err
	}
	var ctx context.Context
	ctx, r.cancel = context.WithCancel(context.Background())
	ready := make(chan struct{})
	go func() { r.over <- r.p.run(ctx, func(served) { close(ready) }) }()
	select {
	case <-ready:
	case err := <-r.over:
		t.Fatal(err)
	}
	r.addr = filepath.Join(dir, "sock")
	return r
}

func (r *hangingRun) dial(export string) *nbdtest.Conn {
	r.t.Helper()
	c := nbdtest.Dial(r.t, "unix", r.addr)
	c.Hello()
	c.Go(export)
	return c
}

// hang makes n reads hang in the backing of "bad", and returns the client that
// waits for them.
func (r *hangingRun) hang(n int) *nbdtest.Conn {
	r.t.Helper()
	c := r.dial("bad")
	for i := range n {
		r.requests = append(r.requests, nbdtest.Request{Type: nbdtest.CmdRead, Cookie: uint64(i), Offset: hangOffset, Length: 4096})
	}
	c.SendRequests(r.requests...)
	for range n {
		<-r.bad.inside
	}
	return c
}

// logged waits for a log line that has all of these.
func (r *hangingRun) logged(parts ...string) string {
	r.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	next:
		for _, l := range strings.Split(r.log.String(), "\n") {
			for _, p := range parts {
				if !strings.Contains(l, p) {
					continue next
				}
			}
			return l
		}
	}
	r.t.Fatalf("no line with %q in the log:\n%s", parts, r.log)
	return ""
}

// stop ends the program.
func (r *hangingRun) stop() error {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	err := r.p.Shutdown(ctx)
	r.cancel()
	<-r.over
	return err
}

// --cmd_timeout_action kill: the clients of the disk that hangs get errors and
// new ones don't find it; the other disk goes on, and none of its commands
// ever gets a buffer that the hanging call has.
func TestKillCutsOffOneDiskOnly(t *testing.T) {
	r := newHangingRun(t, cmdKill, "good", "bad")
	good := r.dial("good")
	read := func(c *nbdtest.Conn) {
		t.Helper()
		data, errno := c.Read(0, 4096, 0)
		if errno != 0 || !bytes.Equal(data[:8], []byte("goodgood")) {
			t.Fatalf("the good disk: %v, %q", errno, data[:min(len(data), 8)])
		}
	}
	read(good)
	other := r.dial("bad") // a hanging command lets nobody attach
	bad := r.hang(3)
	// Before its time is over it is served like any other.
	if _, errno := other.Read(0, 4096, 0); errno != 0 {
		t.Fatal(errno)
	}
	start := time.Now()
	for range 3 {
		if errno, _ := bad.ReadReply(); errno != nbdtest.ESHUTDOWN {
			t.Errorf("a hanging read: %v, want ESHUTDOWN", errno)
		}
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("the answers took %v", d)
	}

	r.logged("it is cut off", "READ(16)", "device=bad", "lba=2048")
	r.logged("the export is gone until", "device=bad")
	c := nbdtest.Dial(t, "unix", r.addr)
	c.Hello()
	if _, rep := c.TryInfo(nbdtest.OptGo, "bad"); rep != nbdtest.RepErrUnknown {
		t.Errorf("a new client gets %#x, want that the export is unknown", rep)
	}
	if l := c.List(); len(l) != 1 || l[0].Name != "good" {
		t.Errorf("listed: %v", l)
	}
	// The good disk's writes go through all the pool's buffers while three
	// reads can still come back and fill theirs.
	want := bytes.Repeat([]byte{0xa5}, 4096)
	for i := range 64 {
		if errno := good.Write(uint64(8192+4096*i), want, 0); errno != 0 {
			t.Fatal(errno)
		}
	}
	r.p.Resize() // does not touch the disk that hangs
	close(r.bad.leave)
	for i := range 64 {
		if got, errno := good.Read(uint64(8192+4096*i), 4096, 0); errno != 0 || !bytes.Equal(got, want) {
			t.Fatalf("the good disk has other data than was written: %v", errno)
		}
	}
	read(good)
	err := r.stop()
	if err == nil || !strings.Contains(err.Error(), "device bad: its handler was cut off") || exitStatus(err) != exitFailure {
		t.Errorf("the program ends with %v", err)
	}
	if strings.Contains(fmt.Sprint(err), "still uses") {
		t.Errorf("%v: it had come back", err)
	}
}

// A handler that never comes back does not keep the program from ending.
func TestKilledHandlerDoesNotHoldTheEnd(t *testing.T) {
	r := newHangingRun(t, cmdKill, "good", "bad")
	r.hang(1)
	r.logged("the export is gone until", "device=bad")
	start := time.Now()
	err := r.stop()
	if err == nil || !strings.Contains(err.Error(), "still uses") {
		t.Errorf("the program ends with %v", err)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v", d)
	}
	close(r.bad.leave) // for goleak
}

// When no export is left the program ends by itself, as a failure.
func TestKillOfTheLastDiskEndsTheProgram(t *testing.T) {
	r := newHangingRun(t, cmdKill, "bad")
	r.hang(1)
	select {
	case err := <-r.over:
		if !errors.Is(err, errNothingLeft) || exitStatus(err) != exitFailure {
			t.Errorf("the program ends with %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it goes on with nothing to serve")
	}
	r.cancel()
	close(r.bad.leave)
}

// report and reset leave the hanging command to the storage.
func TestReportAndResetLogAndGoOn(t *testing.T) {
	for action, want := range map[cmdAction]string{cmdReport: "does not answer", cmdReset: "the disk is reset"} {
		r := newHangingRun(t, action, "good", "bad")
		c := r.hang(2)
		r.logged(want, "device=bad", "READ(16)", "initiator=", `cdb="88 00`)
		time.Sleep(500 * time.Millisecond)
		if n := strings.Count(r.log.String(), "does not answer"); n != 2 {
			t.Errorf("%s: %d reports for 2 commands:\n%s", action, n, r.log)
		}
		close(r.bad.leave)
		for _, reply := range c.Collect(r.requests...) {
			if reply.Errno != 0 {
				t.Errorf("%s: a read that came back: %v", action, reply.Errno)
			}
		}
		if data, errno := r.dial("bad").Read(0, 3<<9, 0); errno != 0 || !bytes.HasPrefix(data, []byte("badbad")) {
			t.Errorf("%s: afterwards: %v", action, errno)
		}
		if err := r.stop(); err != nil {
			t.Errorf("%s: the program ends with %v", action, err)
		}
	}
}

// What holds a release is logged with everything that helps to find it.
func TestStuckReleaseIsLogged(t *testing.T) {
	out := &syncBuffer{}
	log := logrus.New()
	log.SetOutput(out)
	e := &ucmd.StuckError{Device: "disk", Err: errors.New("why")}
	for i := range maxHolders + 5 {
		e.Commands = append(e.Commands, ucmd.Command{
			Handle: uint32(i), State: ucmd.StateExecing, Ref: 2, Owners: "creation+sgv", HasCmd: true, Age: 31 * time.Second,
		})
	}
	reporter{log: log}.ReleaseStuck(e)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != maxHolders+2 {
		t.Fatalf("%d lines:\n%s", len(lines), out)
	}
	for i, parts := range [][]string{
		{"makes no progress", "device=disk", "error=why", fmt.Sprint("ucmds=", maxHolders+5)},
		{"device=disk", "handle=0", "state=EXECING", "ref=2", "owners=creation+sgv", "age=31s"},
	} {
		for _, p := range parts {
			if !strings.Contains(lines[i], p) {
				t.Errorf("%q does not tell %q", lines[i], p)
			}
		}
	}
	if l := lines[maxHolders+1]; !strings.Contains(l, "ucmds=5") {
		t.Error(l)
	}
}
