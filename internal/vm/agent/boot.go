package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"
)

// searchPath is the PATH of everything that runs in the guest. Tools of the host
// come before busybox's, which are in /bin.
const searchPath = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// mounts are the kernel's file systems, in order.
var mounts = []struct{ kind, on string }{
	{"proc", "/proc"},
	{"sysfs", "/sys"},
	{"devtmpfs", "/dev"},
	{"tmpfs", "/run"},
	{"tmpfs", "/tmp"},
}

// setup are the commands that make the guest usable. The addresses are those of
// QEMU's user network, where the host is 10.0.2.2.
var setup = []string{
	"ip link set lo up",
	"ip addr add 10.0.2.15/24 dev eth0",
	"ip link set eth0 up",
	"ip route add default via 10.0.2.2",
}

// boot is process 1.
func boot() error {
	for _, m := range mounts {
		if err := os.MkdirAll(m.on, 0o755); err != nil {
			return err
		}
		if err := unix.Mount(m.kind, m.on, m.kind, 0, ""); err != nil && !errors.Is(err, unix.EBUSY) {
			return fmt.Errorf("mount %s: %w", m.on, err)
		}
	}
	if err := os.Setenv("PATH", searchPath); err != nil {
		return err
	}
	if err := loadModules("/etc/modules"); err != nil {
		return err
	}
	for _, line := range setup {
		args := strings.Fields(line)
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", line, err, out)
		}
	}
	child, err := os.StartProcess("/proc/self/exe", []string{"agent", serveArg}, &os.ProcAttr{
		Env: os.Environ(), Files: []*os.File{os.Stdin, os.Stdout, os.Stderr},
	})
	if err != nil {
		return fmt.Errorf("start the agent: %w", err)
	}
	return reap(child.Pid)
}

// reap waits for whatever ends, until it is the agent.
func reap(agent int) error {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return fmt.Errorf("wait for processes: %w", err)
		case pid == agent:
			return fmt.Errorf("the agent ended: exit status %d, signal %v", status.ExitStatus(), status.Signal())
		}
	}
}
