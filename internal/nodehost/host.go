package nodehost

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"scstuser/nbd/nbdtest"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

// Host is a host process with a mount.
type Host struct {
	// Mount is the mount point, Node the scst_user node in it, Socket where
	// NBD clients connect.
	Mount, Node, Socket string

	t      testing.TB
	config Config
	cmd    *exec.Cmd

	talk sync.Mutex     // held from a line to its answer
	in   io.WriteCloser // lines to the process
	out  *bufio.Reader  // its answers
}

// Start starts a host that ends with the test. Where mounts can't be made the
// test is skipped.
func Start(t testing.TB) *Host {
	t.Helper()
	return StartWith(t, Config{})
}

// StartWith is Start with other settings.
func StartWith(t testing.TB, c Config) *Host {
	t.Helper()
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil || os.Geteuid() != 0 {
		t.Skip("mounting a node takes root and /dev/fuse")
	} else {
		f.Close()
	}
	dir := t.TempDir()
	h := &Host{t: t, config: c, Mount: filepath.Join(dir, mountName), Socket: filepath.Join(dir, socketName)}
	h.Node = filepath.Join(h.Mount, "scst_user")
	if err := os.Mkdir(h.Mount, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(h.end)
	h.Restart()
	return h
}

// Restart starts the process again, after Kill or Stop.
func (h *Host) Restart() {
	h.t.Helper()
	self, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	h.cmd = exec.Command(self)
	h.cmd.Env = append(os.Environ(), dirVariable+"="+filepath.Dir(h.Mount), h.config.variable(),
		"GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=10") // with the race detector it would sleep for a second at its end
	h.cmd.Stderr = os.Stderr
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := h.cmd.StdoutPipe()
	if err == nil {
		h.in, err = h.cmd.StdinPipe()
	}
	if err == nil {
		err = h.cmd.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	h.out = bufio.NewReader(out)
	line, err := h.out.ReadString('\n')
	if err != nil || strings.TrimSpace(line) != readyLine {
		h.t.Fatalf("the host did not start: %q, %v", line, err)
	}
}

// Pid is the host's process.
func (h *Host) Pid() int { return h.cmd.Process.Pid }

// Kill ends the host as a crash does.
func (h *Host) Kill() { h.leave(syscall.SIGKILL) }

// Stop ends the host in order; the test fails if it can't.
func (h *Host) Stop() {
	h.t.Helper()
	if err := h.leave(syscall.SIGTERM); err != nil {
		h.t.Errorf("the host ended with %v", err)
	}
}

func (h *Host) leave(sig syscall.Signal) error {
	if h.cmd == nil {
		return nil
	}
	_ = h.cmd.Process.Signal(sig)
	err := h.cmd.Wait()
	h.cmd = nil
	return err
}

// end is the end of the test.
func (h *Host) end() {
	h.Stop()
	_ = unix.Unmount(h.Mount, unix.MNT_DETACH) // only a killed host leaves it
}

// WaitExport waits until an export can be used.
func (h *Host) WaitExport(name string) {
	h.t.Helper()
	h.wait("export "+name, func() bool {
		c, err := net.Dial("unix", h.Socket)
		if err != nil {
			return false
		}
		c.Close()
		n := nbdtest.Dial(h.t, "unix", h.Socket)
		defer n.Close()
		n.Hello()
		for _, e := range n.List() {
			if e.Name == name {
				return true
			}
		}
		return false
	})
}

// WaitGone waits until a device has been released.
func (h *Host) WaitGone(name string) {
	h.t.Helper()
	h.wait("the end of device "+name, func() bool {
		_, err := os.Stat(filepath.Join(h.Mount, "devices", name))
		return os.IsNotExist(err)
	})
}

// Commands is the device's list of commands (R73).
func (h *Host) Commands(name string) string {
	h.t.Helper()
	b, err := os.ReadFile(filepath.Join(h.Mount, "devices", name, "commands"))
	if err != nil {
		h.t.Error(err)
	}
	return string(b)
}

// URI is where clients find an export.
func (h *Host) URI(name string) string {
	return fmt.Sprintf("nbd+unix:///%s?socket=%s", name, h.Socket)
}

// Dial connects an NBD client, which has said nothing yet.
func (h *Host) Dial(t testing.TB) *nbdtest.Conn { return nbdtest.Dial(t, "unix", h.Socket) }

func (h *Host) wait(what string, ok func() bool) {
	h.t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			h.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// Tool runs a program that the test needs, or skips the test where it is not
// installed.
func Tool(t testing.TB, name string, args ...string) string {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed (make deps)", name)
	}
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// FioVerify writes to an export with fio, and lets it read and compare.
func (h *Host) FioVerify(t testing.TB, name string, options ...string) {
	t.Helper()
	out := Tool(t, "fio", append([]string{
		"--name=verify", "--ioengine=nbd", "--uri=" + h.URI(name), "--thread",
		"--group_reporting", "--verify=crc32c", "--do_verify=1", "--verify_fatal=1",
		"--verify_state_save=0", // it would leave a file behind
	}, options...)...)
	if !strings.Contains(out, "err= 0") {
		t.Errorf("fio reports an error:\n%s", out)
	}
}
