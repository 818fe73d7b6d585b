package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"scstuser/internal/vm/wire"
)

// closeTimeout is how long an orderly end may take.
const closeTimeout = 30 * time.Second

// Machine is a virtual machine whose agent has greeted. Its methods may be
// called from any goroutine.
type Machine struct {
	cmd     *exec.Cmd
	dir     string // sockets and image, ours
	link    *link
	monitor *monitor
	ports   map[int]int // of the host, by those of the guest
	release string
	console safeBuffer
	events  sync.WaitGroup // the goroutine that takes the agent's events in

	done chan struct{} // closed when QEMU has ended and is reaped
	err  error         // how it ended; set before done is closed
}

// Start boots a machine and returns when its agent greets. If that takes longer
// than c.BootTimeout, or ctx ends, or QEMU ends, nothing is left and the error
// has the end of the console. The caller must call Close or Kill. ctx does not
// end a machine that is up.
func Start(ctx context.Context, c Config) (*Machine, error) {
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := Available(); err != nil {
		return nil, err
	}
	k, err := findKernel()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "vm")
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: dir, done: make(chan struct{})}
	if err := m.start(ctx, k, c); err != nil {
		_ = os.RemoveAll(dir)
		return nil, fmt.Errorf("boot a virtual machine: %w", err)
	}
	return m, nil
}

func (m *Machine) start(ctx context.Context, k *kernel, c Config) error {
	image := filepath.Join(m.dir, "initramfs")
	if err := writeImage(ctx, image, k, c); err != nil {
		return err
	}
	s := sockets{agent: filepath.Join(m.dir, "agent"), monitor: filepath.Join(m.dir, "monitor")}
	agents, err := net.Listen("unix", s.agent)
	if err != nil {
		return err
	}
	defer agents.Close()
	monitors, err := net.Listen("unix", s.monitor)
	if err != nil {
		return err
	}
	defer monitors.Close()

	m.cmd = exec.Command(qemuProgram, qemuArgs(k, image, s, c)...)
	out := tee{&m.console, c.Console}
	m.cmd.Stdout, m.cmd.Stderr = out, out
	// As in internal/proc: a test run that is aborted leaves nothing behind.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	go m.wait()
	ctx, cancel := context.WithTimeout(ctx, c.BootTimeout)
	defer cancel()
	if err := m.connect(ctx, agents, monitors, c); err != nil {
		m.Kill()
		return fmt.Errorf("%w\n%s", err, lastLines(m.console.String(), 40))
	}
	return nil
}

// wait reaps QEMU.
func (m *Machine) wait() {
	m.err = m.cmd.Wait()
	close(m.done)
}

// connect waits for both connections and for the agent. What it waits for ends
// when ctx or QEMU does.
func (m *Machine) connect(ctx context.Context, agents, monitors net.Listener, c Config) error {
	conn, control, err := m.accept(ctx, agents, monitors)
	if err != nil {
		return err
	}
	end, _ := ctx.Deadline()
	stop := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	r := bufio.NewReaderSize(conn, 64<<10)
	err = conn.SetDeadline(end)
	if err == nil {
		m.release, err = greet(r)
	}
	if err == nil {
		m.monitor, err = newMonitor(control)
	}
	if stop(); err == nil {
		err = conn.SetDeadline(time.Time{})
	}
	if err != nil {
		return errors.Join(err, ctx.Err(), conn.Close(), control.Close())
	}
	m.link = &link{conn: conn, pending: make(map[uint32]handler)}
	m.events.Go(func() { m.link.serve(r) })
	return m.findPorts(c.Forward)
}

// accept waits for both connections.
func (m *Machine) accept(ctx context.Context, agents, monitors net.Listener) (agent, control net.Conn, err error) {
	over := make(chan struct{})
	defer close(over)
	go func() {
		select {
		case <-ctx.Done():
		case <-m.done:
		case <-over:
			return
		}
		agents.Close()
		monitors.Close()
	}()
	if agent, err = agents.Accept(); err == nil {
		if control, err = monitors.Accept(); err != nil {
			agent.Close()
		}
	}
	if err != nil {
		return nil, nil, errors.Join(errors.New("QEMU does not connect to us"), ctx.Err())
	}
	return agent, control, nil
}

// findPorts asks QEMU which ports of the host it has taken.
func (m *Machine) findPorts(wanted []int) error {
	text, err := m.Monitor("info usernet")
	if err != nil {
		return err
	}
	m.ports = forwards(text)
	for _, port := range wanted {
		if m.ports[port] == 0 {
			return fmt.Errorf("QEMU does not forward port %d; it says:\n%s", port, text)
		}
	}
	return nil
}

// Addr returns where the host connects to a port of the guest that
// Config.Forward has, as host:port.
func (m *Machine) Addr(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(m.ports[port]))
}

// Release returns the version of the guest's kernel.
func (m *Machine) Release() string { return m.release }

// Pid returns the process id of QEMU. It may belong to another process once Done
// is closed.
func (m *Machine) Pid() int { return m.cmd.Process.Pid }

// Console returns the end of what the kernel and process 1 have printed, and
// QEMU, up to 4 MiB.
func (m *Machine) Console() string { return m.console.String() }

// Done is closed when the machine has ended, for whatever reason.
func (m *Machine) Done() <-chan struct{} { return m.done }

// Wait waits for the machine to end, or for ctx. It returns an error for an end
// that QEMU's exit status shows to be a failure.
func (m *Machine) Wait(ctx context.Context) error {
	select {
	case <-m.done:
		return m.err
	case <-ctx.Done():
		return fmt.Errorf("wait for the virtual machine to end: %w", ctx.Err())
	}
}

// Kill is a power cut: QEMU gets SIGKILL. What the guest had sent to its disks is
// in the host's page cache, what it had not is lost. Kill returns when all that
// belonged to the machine is gone, except the disks. It may be called at any
// time, any number of times.
func (m *Machine) Kill() {
	_ = m.cmd.Process.Kill()
	m.tidy()
}

// tidy waits for QEMU, which is ending, and removes what is left.
func (m *Machine) tidy() {
	<-m.done
	if m.monitor != nil {
		_ = m.monitor.conn.Close()
	}
	if m.link != nil {
		_ = m.link.conn.Close()
		m.events.Wait()
	}
	_ = os.RemoveAll(m.dir)
}

// Close makes the guest write everything to its disks and power off. If it does
// not within half a minute it is killed, and the error says so. A machine that
// has ended is only tidied up; that is no error.
func (m *Machine) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	_, err := m.link.send(wire.Request{Op: wire.PowerOff}, func(wire.Event, error) {})
	if err != nil && !errors.Is(err, ErrGone) {
		return err
	}
	select {
	case <-m.done:
		m.tidy()
		return nil
	case <-ctx.Done():
		m.Kill()
		return fmt.Errorf("the guest did not power off within %v and was killed\n%s", closeTimeout, lastLines(m.Console(), 40))
	}
}

// lastLines returns the end of a text.
func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
