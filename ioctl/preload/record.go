package preload

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"scstuser/ioctl/trace"
)

// Options of a recording.
type Options struct {
	Out     string   // the trace's file; its end says how it is packed
	Program []string // with its arguments
	Cache   string   // where the library is kept; empty: CacheDir
	Data    int      // bytes of a command's data that are kept; 0: 512, negative: none

	Stdin          io.Reader
	Stdout, Stderr io.Writer
}

// ErrNothing is what Record returns when the program has ended and was not
// seen to use a node.
var ErrNothing = errors.New("nothing was recorded: the program did not open a file called scst_user, or is linked statically")

// Record runs a program under the library until it ends, and makes the trace of
// it. Signals to this process (SIGTERM, SIGHUP, SIGINT) go to the program,
// which then decides. The events are there however the program ends, by a
// signal too. The result is the program's; the error is about the recording.
func Record(ctx context.Context, o Options) (*os.ProcessState, int, error) {
	if len(o.Program) == 0 {
		return nil, 0, errors.New("no program to record")
	}
	lib, err := library(ctx, o.Cache)
	if err != nil {
		return nil, 0, err
	}
	raw, err := os.CreateTemp(filepath.Dir(o.Out), ".scst-record-*") // where there is room for the trace
	if err != nil {
		return nil, 0, fmt.Errorf("record: %w", err)
	}
	defer os.Remove(raw.Name())
	defer raw.Close()
	start := wallClock()
	state, err := run(ctx, o, lib, raw.Name())
	if err != nil {
		return nil, 0, err
	}
	w, err := trace.Create(o.Out, trace.Header{Source: "preload", Command: strings.Join(o.Program, " "), Start: start})
	if err != nil {
		return state, 0, err
	}
	n, err := Import(raw, w)
	err = errors.Join(err, w.Close())
	if err == nil && n == 0 {
		err = ErrNothing
	}
	return state, n, err
}

// library builds the library where it belongs.
func library(ctx context.Context, dir string) (string, error) {
	if dir == "" {
		var err error
		if dir, err = CacheDir(); err != nil {
			return "", err
		}
	}
	return Build(ctx, dir)
}

// wallClock is the wall clock at 0 of the monotonic one, in ns since 1970.
func wallClock() int64 {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_MONOTONIC, &t) != nil {
		return 0
	}
	return time.Now().UnixNano() - t.Nano()
}

// run runs the program to its end.
func run(ctx context.Context, o Options, lib, raw string) (*os.ProcessState, error) {
	cmd := exec.CommandContext(ctx, o.Program[0], o.Program[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = o.Stdin, o.Stdout, o.Stderr
	cmd.Env = append(os.Environ(), "LD_PRELOAD="+preloads(lib), "SCST_TRACE_FILE="+raw)
	if o.Data != 0 {
		cmd.Env = append(cmd.Env, "SCST_TRACE_DATA="+strconv.Itoa(max(o.Data, 0)))
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("run the program to record: %w", err)
	}
	signals := make(chan os.Signal, 8)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT)
	passed := make(chan struct{})
	go func() {
		defer close(passed)
		for s := range signals {
			_ = cmd.Process.Signal(s) // it may have ended
		}
	}()
	err := cmd.Wait()
	signal.Stop(signals)
	close(signals)
	<-passed
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		return nil, fmt.Errorf("run the program to record: %w", err)
	}
	return cmd.ProcessState, nil
}

// preloads puts the library in front of what is preloaded anyway.
func preloads(lib string) string {
	if old := os.Getenv("LD_PRELOAD"); old != "" {
		return lib + ":" + old
	}
	return lib
}
