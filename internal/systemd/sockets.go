package systemd

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstFD is the number of the first socket that is passed.
const firstFD = 3

// maxSockets is more than anybody passes, and few enough to be closed.
const maxSockets = 1024

// The variables that tell about sockets.
const (
	envPID   = "LISTEN_PID"
	envCount = "LISTEN_FDS"
	envNames = "LISTEN_FDNAMES"
)

// Sockets returns the sockets that this process was started with, named as
// their unit names them (FileDescriptorName=, by default the socket unit's
// name). None is no error. It takes the variables out of the environment, and
// keeps the sockets from programs that this one starts. The caller has to close
// the files.
func Sockets() ([]*os.File, error) {
	pid, count, names := os.Getenv(envPID), os.Getenv(envCount), os.Getenv(envNames)
	for _, name := range []string{envPID, envCount, envNames} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	n, err := countOf(pid, count, os.Getpid())
	if err != nil || n == 0 {
		return nil, err
	}
	return filesOf(firstFD, n, names)
}

// countOf says how many sockets are for the process self. Variables that were
// meant for another process have been left over by a parent.
func countOf(pid, count string, self int) (int, error) {
	if pid == "" || count == "" {
		return 0, nil
	}
	p, err := strconv.Atoi(pid)
	if err != nil {
		return 0, fmt.Errorf("%s=%q is not a process ID", envPID, pid)
	}
	if p != self {
		return 0, nil
	}
	n, err := strconv.Atoi(count)
	if err != nil || n < 0 || n > maxSockets {
		return 0, fmt.Errorf("%s=%q is not a number of sockets", envCount, count)
	}
	return n, nil
}

// filesOf makes files of n descriptors. names has their names, with colons in
// between; missing ones are called after their place.
func filesOf(first, n int, names string) ([]*os.File, error) {
	var given []string
	if names != "" {
		given = strings.Split(names, ":")
	}
	var files []*os.File
	for i := range n {
		fd := first + i
		if err := prepare(fd); err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, fmt.Errorf("%s promises %d sockets, but descriptor %d is none: %w", envCount, n, fd, err)
		}
		name := fmt.Sprintf("descriptor %d", fd)
		if i < len(given) && given[i] != "" {
			name = given[i]
		}
		files = append(files, os.NewFile(uintptr(fd), name))
	}
	return files, nil
}

// prepare makes a descriptor ours, if it is a socket: closed on exec, and one
// that the runtime's poller waits for instead of a thread.
func prepare(fd int) error {
	if _, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE); err != nil {
		return err
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
		return err
	}
	return unix.SetNonblock(fd, true)
}
