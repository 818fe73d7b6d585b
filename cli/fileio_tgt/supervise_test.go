package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"scstuser/nbd"

	"github.com/sirupsen/logrus"
)

// fakeServer is a serve that serves nothing.
type fakeServer struct {
	// startErr ends the start; waitForCtx makes it last until ctx ends.
	startErr   error
	waitForCtx bool
	// hang makes Shutdown wait for its context.
	hang bool

	started chan struct{} // closed when serve is called
	ready   chan struct{} // closed after ready has returned
	resized chan struct{} // gets one for each Resize
	stop    chan struct{} // closed by Shutdown
	once    sync.Once
}

func newFakeServer() *fakeServer {
	return &fakeServer{
		started: make(chan struct{}), ready: make(chan struct{}), resized: make(chan struct{}, 8), stop: make(chan struct{}),
	}
}

func (f *fakeServer) Resize() { f.resized <- struct{}{} }

func (f *fakeServer) Shutdown(ctx context.Context) error {
	defer f.once.Do(func() { close(f.stop) })
	if f.hang {
		<-ctx.Done()
		return ctx.Err()
	}
	return nil
}

func (f *fakeServer) serve(ctx context.Context, cfg *config, log *logrus.Logger, ready func(served)) error {
	close(f.started)
	if f.startErr != nil {
		return f.startErr
	}
	if f.waitForCtx {
		<-ctx.Done()
		return ctx.Err()
	}
	e := cfg.Exports[0]
	ready(served{
		Exports:   []servedExport{{Name: e.Name, Path: e.Path, Size: 1 << 20, BlockSize: cfg.BlockSize}},
		Listeners: []nbd.ListenAddr{{Network: "tcp", Address: "127.0.0.1:10809"}},
		Control:   f,
	})
	close(f.ready)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-f.stop:
		return nil
	}
}

// running is a supervised run under test.
type running struct {
	signals chan os.Signal
	stdout  bytes.Buffer
	stderr  bytes.Buffer
	exited  chan int
	result  chan error
}

// startRun supervises server in the background. stdout is where the banner
// goes; nil is running.stdout.
func startRun(cfg *config, server *fakeServer) *running {
	r := &running{signals: make(chan os.Signal, 8), exited: make(chan int, 1), result: make(chan error, 1)}
	env := environment{
		stdout: &r.stdout, stderr: &r.stderr, serve: server.serve, signals: r.signals,
		stopSignals: func() {}, exit: func(status int) { r.exited <- status },
	}
	go func() { r.result <- supervise(context.Background(), cfg, env) }()
	return r
}

// wait waits for the end of the run.
func (r *running) wait(t *testing.T) error {
	t.Helper()
	select {
	case err := <-r.result:
		return err
	case <-time.After(10 * time.Second):
		t.Fatal("the run did not end")
		return nil
	}
}

func TestSignalsStopTheServer(t *testing.T) {
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			server := newFakeServer()
			r := startRun(img(nil), server)
			<-server.ready
			r.signals <- sig
			if err := r.wait(t); err != nil {
				t.Errorf("got %v", err)
			}
			if n := strings.Count(r.stdout.String(), "1 export over NBD"); n != 1 {
				t.Errorf("%d banners: %s", n, r.stdout.String())
			}
		})
	}
}

func TestSignalDuringTheStart(t *testing.T) {
	server := newFakeServer()
	server.waitForCtx = true
	r := startRun(img(nil), server)
	<-server.started
	r.signals <- syscall.SIGUSR1 // nothing to look at yet
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Errorf("got %v", err)
	}
	if r.stdout.Len() != 0 {
		t.Errorf("stdout %q", r.stdout.String())
	}
}

func TestSecondSignalExitsAtOnce(t *testing.T) {
	server := newFakeServer()
	server.hang = true
	pid := filepath.Join(t.TempDir(), "pid")
	r := startRun(img(func(c *config) { c.DrainTimeout, c.PIDFile = 200*time.Millisecond, pid }), server)
	<-server.ready
	r.signals <- syscall.SIGTERM
	r.signals <- syscall.SIGINT
	if status := <-r.exited; status != exitFailure {
		t.Errorf("status %d, want %d", status, exitFailure)
	}
	if _, err := os.Stat(pid); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the process ID file is still there: %v", err)
	}
	// The real exit does not return; here the drain ends by its timeout.
	if err := r.wait(t); err == nil {
		t.Error("no error")
	}
}

func TestDrainHasATimeout(t *testing.T) {
	server := newFakeServer()
	server.hang = true
	r := startRun(img(func(c *config) { c.DrainTimeout = 10 * time.Millisecond }), server)
	<-server.ready
	r.signals <- syscall.SIGTERM
	err := r.wait(t)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "--drain_timeout 10ms") {
		t.Errorf("got %v", err)
	}
	if exitStatus(err) != exitFailure {
		t.Errorf("status %d", exitStatus(err))
	}
}

func TestSIGUSR1Resizes(t *testing.T) {
	server := newFakeServer()
	r := startRun(img(nil), server)
	<-server.ready
	r.signals <- syscall.SIGUSR1
	<-server.resized
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
}

func TestSIGHUPReopensTheLog(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	server := newFakeServer()
	r := startRun(img(func(c *config) { c.LogFile = path }), server)
	<-server.ready
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	r.signals <- syscall.SIGHUP
	r.signals <- syscall.SIGUSR1 // the loop takes one signal after the other
	<-server.resized
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
	if got := readFile(t, path); !strings.Contains(got, "finishing the commands in flight") {
		t.Errorf("log: %q", got)
	}
	if r.stderr.Len() != 0 {
		t.Errorf("stderr: %q", r.stderr.String())
	}
}

func TestFailedStart(t *testing.T) {
	dir := t.TempDir()
	server := newFakeServer()
	server.startErr = errors.New("port in use")
	r := startRun(img(func(c *config) {
		c.LogFile, c.PIDFile = filepath.Join(dir, "log"), filepath.Join(dir, "pid")
	}), server)
	if err := r.wait(t); !errors.Is(err, server.startErr) || exitStatus(err) != exitFailure {
		t.Errorf("got %v", err)
	}
	if got := readFile(t, filepath.Join(dir, "log")); !strings.Contains(got, "port in use") {
		t.Errorf("log: %q", got)
	}
	if _, err := os.Stat(filepath.Join(dir, "pid")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a process ID file: %v", err)
	}
}

func TestLogFileThatCannotBeOpened(t *testing.T) {
	path := filepath.Join(t.TempDir(), "missing", "log")
	got := runWith("--log-file", path, "-f", "img")
	want := "fileio_tgt: open the log file " + path + ": no such file or directory\n"
	if got.status != exitFailure || got.stderr != want || got.cfg != nil {
		t.Errorf("status %d, stderr %q", got.status, got.stderr)
	}
}

func TestPIDFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil { // left by a crash
		t.Fatal(err)
	}
	server := newFakeServer()
	r := startRun(img(func(c *config) { c.PIDFile = path }), server)
	<-server.ready
	if got, want := readFile(t, path), strconv.Itoa(os.Getpid())+"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	r.signals <- syscall.SIGTERM
	if err := r.wait(t); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("still there: %v", err)
	}
}

// The file may belong to a successor by the time we leave.
func TestPIDFileOfAnotherProcessIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pid")
	p := &pidFile{path: path}
	if err := p.write(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.remove(); err != nil {
		t.Fatal(err)
	}
	if got := readFile(t, path); got != "1\n" {
		t.Errorf("got %q", got)
	}
}

func TestPIDFileThatCannotBeWritten(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "missing")
	server := newFakeServer()
	r := startRun(img(func(c *config) { c.PIDFile = filepath.Join(dir, "pid") }), server)
	err := r.wait(t)
	if err == nil || !strings.HasPrefix(err.Error(), "write the process ID to "+dir) || exitStatus(err) != exitFailure {
		t.Errorf("got %v", err)
	}
	if r.stdout.Len() != 0 {
		t.Errorf("stdout: %q", r.stdout.String())
	}
}

// errWriter is a stdout that is closed.
type errWriter struct{}

func (errWriter) Write([]byte) (int, error) { return 0, syscall.EPIPE }

func TestBannerThatCannotBePrinted(t *testing.T) {
	server := newFakeServer()
	env := environment{
		stdout: errWriter{}, stderr: &bytes.Buffer{}, serve: server.serve, signals: make(chan os.Signal),
		stopSignals: func() {}, exit: func(int) {},
	}
	if err := supervise(context.Background(), img(nil), env); !errors.Is(err, syscall.EPIPE) {
		t.Errorf("got %v", err)
	}
}

func TestExposedListenerIsWarnedAbout(t *testing.T) {
	for address, warned := range map[string]bool{"127.0.0.1:1": false, "0.0.0.0:1": true} {
		var stderr bytes.Buffer
		log, err := openLog(img(nil), &stderr)
		if err != nil {
			t.Fatal(err)
		}
		s := served{Listeners: []nbd.ListenAddr{{Network: "tcp", Address: address}}}
		if err := announce(img(nil), &bytes.Buffer{}, log.Logger, &pidFile{}, s); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(stderr.String(), "no authentication"); got != warned {
			t.Errorf("%s: warned %v", address, got)
		}
	}
}

// The signals that the process catches are those that the loop knows.
func TestRealSignals(t *testing.T) {
	server := newFakeServer()
	var stdout, stderr bytes.Buffer
	env := newEnvironment(&stdout, &stderr, server.serve)
	result := make(chan error, 1)
	go func() { result <- supervise(context.Background(), img(nil), env) }()
	<-server.ready
	for _, sig := range []syscall.Signal{syscall.SIGPIPE, syscall.SIGUSR1, syscall.SIGHUP, syscall.SIGTERM} {
		if err := syscall.Kill(os.Getpid(), sig); err != nil {
			t.Fatal(err)
		}
		if sig == syscall.SIGUSR1 {
			<-server.resized
		}
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
}
