package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"syscall"
	"time"

	"scstuser/internal/vm/wire"
)

// outputDelay is how long output is still taken after a command has ended, from
// processes that it left behind.
const outputDelay = 200 * time.Millisecond

// run starts a command, in a process group of its own.
func (a *agent) run(req wire.Request) {
	if req.Command == nil || len(req.Command.Args) == 0 {
		a.answer(req.ID, errors.New("there is no command"))
		return
	}
	cmd := exec.Command(req.Command.Args[0], req.Command.Args[1:]...)
	cmd.Dir = req.Command.Dir
	cmd.Env = append(os.Environ(), req.Command.Env...)
	if req.Command.Stdin != nil {
		cmd.Stdin = bytes.NewReader(req.Command.Stdin)
	}
	cmd.Stdout = &output{a, req.ID, wire.Stdout}
	cmd.Stderr = &output{a, req.ID, wire.Stderr}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.WaitDelay = outputDelay
	if err := a.start(req.ID, cmd); err != nil {
		a.answer(req.ID, err)
		return
	}
	go a.wait(req.ID, cmd)
}

// wait waits for a command's end, and tells of it.
func (a *agent) wait(id uint32, cmd *exec.Cmd) {
	err := cmd.Wait()
	a.mu.Lock()
	delete(a.commands, id)
	a.mu.Unlock()
	if state := cmd.ProcessState; state == nil {
		a.answer(id, err)
	} else {
		_ = a.send(wire.Event{ID: id, Kind: wire.Exit, Status: exitStatus(state)})
	}
}

// start starts a command so that a signal finds it.
func (a *agent) start(id uint32, cmd *exec.Cmd) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := cmd.Start(); err != nil {
		return err
	}
	a.commands[id] = cmd.Process.Pid
	return nil
}

// exitStatus is what a shell calls it.
func exitStatus(state *os.ProcessState) int {
	if w, ok := state.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return 128 + int(w.Signal())
	}
	return state.ExitCode()
}

// output sends what a command writes.
type output struct {
	a    *agent
	id   uint32
	kind wire.Kind
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	for sent := 0; sent < len(p); {
		part := p[sent:min(len(p), sent+wire.Chunk)]
		if err := o.a.send(wire.Event{ID: o.id, Kind: o.kind, Data: part}); err != nil {
			return sent, err
		}
		sent += len(part)
	}
	return len(p), nil
}
