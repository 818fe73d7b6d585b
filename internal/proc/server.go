package proc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"
)

const (
	// startTimeout is how long a server may take to greet. A binary with the
	// race detector on a busy machine is the slow case.
	startTimeout = 30 * time.Second
	// traceTimeout is how long a server that missed its deadline may take to
	// print its goroutines before it is killed.
	traceTimeout = 2 * time.Second
)

// Server is a running server process. Its methods may be called from any
// goroutine.
type Server struct {
	// Set by Start, constant afterwards.
	name      string
	cmd       *exec.Cmd
	endpoints []Endpoint
	output    *tail
	done      chan struct{}

	// state is set by the waiting goroutine before it closes done, and only
	// read after that.
	state *os.ProcessState
}

// Start runs p as c says and returns when every endpoint greets as an NBD
// server. If the process exits before, or does not greet within half a minute,
// or ctx ends, nothing is left running and the error holds what the process
// printed. The error wraps ErrUnsupported if p has no options for c, and
// exec.ErrNotFound if the program is not installed.
//
// The caller must call Stop or Kill.
func Start(ctx context.Context, p Program, c Config) (*Server, error) {
	argv, err := p.Argv(c)
	if err != nil {
		return nil, err
	}
	argv = append(append([]string{}, c.Wrap...), argv...)
	s := &Server{
		name:      p.Name(),
		cmd:       exec.Command(argv[0], argv[1:]...),
		endpoints: append([]Endpoint{}, c.Listen...),
		output:    new(tail),
		done:      make(chan struct{}),
	}
	s.cmd.Env = append(os.Environ(), c.Env...)
	s.cmd.Stdout, s.cmd.Stderr = s.output, s.output
	// A child that keeps the output open must not keep Wait from returning.
	s.cmd.WaitDelay = time.Second
	// The signal follows the death of the thread that forked; the Go runtime
	// ends a thread only when a goroutine locked to it returns, and nothing
	// here locks one.
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", s.name, err)
	}
	go s.wait()

	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := s.awaitReady(ctx); err != nil {
		s.Kill()
		return nil, fmt.Errorf("%s: %w\n%s", s.name, err, s.Output())
	}
	return s, nil
}

// wait reaps the process.
func (s *Server) wait() {
	// The error repeats what the process state says.
	_ = s.cmd.Wait()
	s.state = s.cmd.ProcessState
	close(s.done)
}

// Name returns the program's name.
func (s *Server) Name() string { return s.name }

// Pid returns the process id. It may belong to another process once Done is
// closed.
func (s *Server) Pid() int { return s.cmd.Process.Pid }

// Endpoint returns the i-th endpoint of the Config, with the port that the
// kernel chose if that was left open.
func (s *Server) Endpoint(i int) Endpoint { return s.endpoints[i] }

// URI returns the NBD URI of the named export at the first endpoint.
func (s *Server) URI(export string) string { return s.endpoints[0].URI(export) }

// Output returns the end of what the process printed on its standard output
// and standard error, up to 64 KiB.
func (s *Server) Output() string { return s.output.String() }

// Done is closed when the process has ended.
func (s *Server) Done() <-chan struct{} { return s.done }

// ExitCode returns the exit status, or -1 if a signal ended the process. It
// must not be called before Done is closed.
func (s *Server) ExitCode() int { return s.state.ExitCode() }

// Usage returns what the process has used so far.
func (s *Server) Usage() (Usage, error) {
	u, err := ReadUsage(s.Pid())
	if err != nil {
		return Usage{}, fmt.Errorf("usage of %s: %w", s.name, err)
	}
	return u, nil
}

// Signal sends sig to the process. A process that has ended is no error.
func (s *Server) Signal(sig os.Signal) error {
	if err := s.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to %s: %w", sig, s.name, err)
	}
	return nil
}

// Stop sends SIGTERM and waits for the process to end. It returns an error if
// the exit status is not 0, or if the process takes longer than timeout: it is
// then asked for its goroutines (SIGQUIT, which a Go program answers with a
// trace) and killed. The errors hold the process's last output. If the process
// has ended already, Stop judges how.
func (s *Server) Stop(timeout time.Duration) error {
	if err := s.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	if !s.WaitExit(timeout) {
		_ = s.Signal(syscall.SIGQUIT)
		s.WaitExit(traceTimeout)
		s.Kill()
		return fmt.Errorf("%s did not end within %v of SIGTERM and was killed\n%s", s.name, timeout, s.Output())
	}
	if s.ExitCode() != 0 {
		return fmt.Errorf("%s ended with %v, want status 0\n%s", s.name, s.state, s.Output())
	}
	return nil
}

// WaitExit waits up to timeout for the process to end and says whether it has.
func (s *Server) WaitExit(timeout time.Duration) bool {
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-s.done:
		return true
	case <-timer.C:
		return false
	}
}

// Kill ends the process at once and waits until it is gone.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	<-s.done
}
