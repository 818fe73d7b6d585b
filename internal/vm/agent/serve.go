package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"scstuser/internal/vm/wire"
)

// agent serves one host.
type agent struct {
	// sending is held while a message is written to port.
	sending sync.Mutex
	port    io.Writer

	// mu guards commands. It is not held while anything is sent.
	mu sync.Mutex
	// commands are those that run, with their process groups.
	commands map[uint32]int
}

// serve serves the host until it hangs up.
func serve() error {
	port, err := openPort()
	if err != nil {
		return err
	}
	defer port.Close()
	return serveOn(port, port)
}

// serveOn is serve on a connection.
func serveOn(r io.Reader, w io.Writer) error {
	a := &agent{port: w, commands: make(map[uint32]int)}
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return err
	}
	if err := a.send(wire.Event{Kind: wire.Hello, Text: unix.ByteSliceToString(uts.Release[:])}); err != nil {
		return fmt.Errorf("greet the host: %w", err)
	}
	for {
		var req wire.Request
		if err := wire.Receive(r, &req); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("hear from the host: %w", err)
		}
		a.handle(req)
	}
}

// handle carries a request out. What may take time goes on behind its back, but
// a command is started here, so that a later signal finds it. The host sends the
// next part of a file when the last one is written.
func (a *agent) handle(req wire.Request) {
	switch req.Op {
	case wire.Run:
		a.run(req)
	case wire.Read:
		go func() { a.answer(req.ID, a.read(req)) }()
	case wire.Write:
		go func() { a.answer(req.ID, write(req)) }()
	case wire.Signal:
		a.answer(req.ID, a.signal(req))
	case wire.PowerOff:
		go func() {
			powerOff()
			a.answer(req.ID, errors.New("the kernel does not power off"))
		}()
	default:
		a.answer(req.ID, fmt.Errorf("there is no request %q", req.Op))
	}
}

// send sends an event.
func (a *agent) send(e wire.Event) error {
	a.sending.Lock()
	defer a.sending.Unlock()
	return wire.Send(a.port, e)
}

// answer ends a request. A host that does not hear is gone, which the next
// Receive finds out.
func (a *agent) answer(id uint32, err error) {
	e := wire.Event{ID: id, Kind: wire.Done}
	if err != nil {
		e.Kind, e.Text = wire.Failed, err.Error()
	}
	_ = a.send(e)
}

// read sends a file.
func (a *agent) read(req wire.Request) error {
	f, err := os.Open(req.Path)
	if err != nil {
		return err
	}
	defer f.Close()
	b := make([]byte, wire.Chunk)
	for {
		n, err := io.ReadFull(f, b)
		if n > 0 {
			if err := a.send(wire.Event{ID: req.ID, Kind: wire.Data, Data: b[:n]}); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// write writes a part of a file.
func write(req wire.Request) error {
	flags := os.O_WRONLY
	if req.Offset == 0 {
		flags |= os.O_CREATE | os.O_TRUNC
		if err := os.MkdirAll(filepath.Dir(req.Path), 0o755); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(req.Path, flags, os.FileMode(req.Mode).Perm())
	if err != nil {
		return err
	}
	// Not WriteAt: files of the kernel, such as those in /sys, know no offsets.
	if req.Offset > 0 {
		_, err = f.Seek(req.Offset, io.SeekStart)
	}
	if err == nil {
		_, err = f.Write(req.Data)
	}
	return errors.Join(err, f.Close())
}

// signal passes a signal on.
func (a *agent) signal(req wire.Request) error {
	a.mu.Lock()
	group, ok := a.commands[req.Target]
	a.mu.Unlock()
	if !ok {
		return nil
	}
	err := syscall.Kill(-group, syscall.Signal(req.Signal))
	if errors.Is(err, syscall.ESRCH) {
		return nil
	}
	return err
}
