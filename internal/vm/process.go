package vm

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"scstuser/internal/vm/wire"
)

// killTimeout is how long a command in the guest may take to end after SIGKILL.
// One that hangs in the kernel does not end.
const killTimeout = 10 * time.Second

// Command is what is run in the guest.
type Command struct {
	// Args is the program and its arguments; there is no shell.
	Args []string
	// Dir is the working directory; default /.
	Dir string
	// Env are additions to the environment, KEY=value.
	Env []string
	// Stdin is the standard input; default empty. At most half a MiB.
	Stdin []byte
	// Output gets both outputs as they come, if it is not nil. It must not
	// wait: the whole machine's events come through the same goroutine.
	Output io.Writer
}

// Result is how a command ended.
type Result struct {
	// Status is the exit status; 128 and the number of the signal that ended
	// it.
	Status int
	// Stdout and Stderr are the ends of what it printed, up to 4 MiB.
	Stdout, Stderr string
	// Time is how long it took, as seen from the host.
	Time time.Duration
}

// StatusError is what Run returns for a command that ended with a status other
// than 0.
type StatusError struct {
	Args []string
	Result
}

// Error implements error, with what the command printed.
func (e *StatusError) Error() string {
	text := fmt.Sprintf("in the guest: %s: exit status %d", strings.Join(e.Args, " "), e.Status)
	for _, out := range []string{e.Stdout, e.Stderr} {
		if out = strings.TrimSpace(out); out != "" {
			text += "\n" + out
		}
	}
	return text
}

// Process is a command that runs in the guest. Its methods may be called from
// any goroutine.
type Process struct {
	m       *Machine
	args    []string
	id      uint32
	started time.Time
	stdout  safeBuffer
	stderr  safeBuffer

	done chan struct{}
	// Set before done is closed, constant afterwards.
	status int
	err    error
	took   time.Duration
}

// Run runs a command to its end. When ctx ends before, the command is killed and
// the error wraps ctx's. A status other than 0 is a *StatusError; the Result is
// valid then, too.
func (m *Machine) Run(ctx context.Context, c Command) (Result, error) {
	p, err := m.Start(c)
	if err != nil {
		return Result{}, err
	}
	r, err := p.Wait(ctx)
	if ctx.Err() != nil && err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTimeout)
		defer cancel()
		if killed := p.Signal(end, syscall.SIGKILL); killed == nil {
			_, _ = p.Wait(end)
		}
		return p.result(), fmt.Errorf("%w\n%s%s", err, p.stdout.String(), p.stderr.String())
	}
	return r, err
}

// Start starts a command that runs on while the caller does something else. The
// end of the machine ends it, nothing else does.
func (m *Machine) Start(c Command) (*Process, error) {
	p := &Process{m: m, args: c.Args, started: time.Now(), done: make(chan struct{})}
	stdout, stderr := tee{&p.stdout, c.Output}, tee{&p.stderr, c.Output}
	req := wire.Request{Op: wire.Run, Command: &wire.Command{Args: c.Args, Dir: c.Dir, Env: c.Env, Stdin: c.Stdin}}
	id, err := m.link.send(req, func(e wire.Event, err error) {
		switch e.Kind {
		case wire.Stdout:
			_, _ = stdout.Write(e.Data)
		case wire.Stderr:
			_, _ = stderr.Write(e.Data)
		case wire.Failed:
			if err == nil {
				err = errors.New(e.Text)
			}
			p.end(-1, err)
		case wire.Exit:
			p.end(e.Status, nil)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("in the guest: %s: %w", strings.Join(c.Args, " "), err)
	}
	p.id = id
	return p, nil
}

func (p *Process) end(status int, err error) {
	p.status, p.err, p.took = status, err, time.Since(p.started)
	close(p.done)
}

// Done is closed when the command has ended, or the machine.
func (p *Process) Done() <-chan struct{} { return p.done }

// Stdout returns what the command has printed so far, its end.
func (p *Process) Stdout() string { return p.stdout.String() }

// Stderr is Stdout for the standard error.
func (p *Process) Stderr() string { return p.stderr.String() }

// Wait waits for the command to end, or for ctx, which does not end the command.
// It may be called again. Errors are as of Run.
func (p *Process) Wait(ctx context.Context) (Result, error) {
	select {
	case <-p.done:
	case <-ctx.Done():
		return Result{}, fmt.Errorf("in the guest: %s: not over after %v: %w",
			strings.Join(p.args, " "), time.Since(p.started).Round(time.Millisecond), ctx.Err())
	}
	r := p.result()
	switch {
	case p.err != nil:
		return r, fmt.Errorf("in the guest: %s: %w", strings.Join(p.args, " "), p.err)
	case p.status != 0:
		return r, &StatusError{Args: p.args, Result: r}
	}
	return r, nil
}

// result is what is known so far.
func (p *Process) result() Result {
	r := Result{Status: -1, Stdout: p.stdout.String(), Stderr: p.stderr.String()}
	select {
	case <-p.done:
		r.Status, r.Time = p.status, p.took
	default:
	}
	return r
}

// Signal sends a signal to the command and what it has started (its process
// group). One that has ended is no error.
func (p *Process) Signal(ctx context.Context, sig syscall.Signal) error {
	err := p.m.link.call(ctx, wire.Request{Op: wire.Signal, Target: p.id, Signal: int(sig)}, nil)
	if err != nil {
		return fmt.Errorf("signal %v to %s in the guest: %w", sig, strings.Join(p.args, " "), err)
	}
	return nil
}
