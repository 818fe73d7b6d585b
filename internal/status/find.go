package status

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"scstuser/internal/unixsocket"
)

// socketSuffix ends the names of control sockets in a Dir.
const socketSuffix = ".sock"

// Dir is a directory that has the control sockets of one user's processes, each
// called like its process ID.
type Dir string

// DefaultDir is this user's: under /run for root, else under $XDG_RUNTIME_DIR,
// which must be set then.
func DefaultDir(program string) (Dir, error) {
	if os.Geteuid() == 0 {
		return Dir(filepath.Join("/run", program)), nil
	}
	base := os.Getenv("XDG_RUNTIME_DIR")
	if !filepath.IsAbs(base) {
		return "", errors.New("there is no directory for control sockets: XDG_RUNTIME_DIR is not set")
	}
	return Dir(filepath.Join(base, program)), nil
}

// Path is where the process with this ID has its socket.
func (d Dir) Path(pid int) string { return filepath.Join(string(d), strconv.Itoa(pid)+socketSuffix) }

// Make creates the directory, for this user only, and takes out what killed
// processes left there. A directory that is there must be this user's own, and
// for nobody else to write in.
func (d Dir) Make() error {
	if err := os.Mkdir(string(d), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make the directory for control sockets: %w", err)
	}
	info, err := os.Lstat(string(d))
	if err != nil {
		return fmt.Errorf("look at the directory for control sockets: %w", err)
	}
	owner, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !info.IsDir():
		return fmt.Errorf("%s, which should have the control sockets, is not a directory: remove it", d)
	case !ok || int(owner.Uid) != os.Geteuid() || info.Mode().Perm()&0o022 != 0:
		return fmt.Errorf("%s, which should have the control sockets, can be written by others: make it yours, with mode 0700", d)
	}
	return d.sweep()
}

// sweep removes stale sockets.
func (d Dir) sweep() error {
	unlock, err := unixsocket.LockDirectory(string(d))
	if err != nil {
		return err
	}
	defer unlock()
	found, err := d.sockets()
	if err != nil {
		return err
	}
	for _, r := range found {
		if unixsocket.Stale(r.Path) {
			_ = os.Remove(r.Path) // the next one tries again
		}
	}
	return nil
}

// Running is a process that has a control socket in a Dir.
type Running struct {
	PID  int
	Path string
}

// Find returns the processes that answer, by their ID.
func (d Dir) Find() ([]Running, error) {
	found, err := d.sockets()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(found, func(r Running) bool { return unixsocket.Stale(r.Path) }), nil
}

// sockets returns what is called like a control socket. No directory has none.
func (d Dir) sockets() ([]Running, error) {
	entries, err := os.ReadDir(string(d))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("look for control sockets: %w", err)
	}
	var found []Running
	for _, e := range entries {
		name, isSocket := strings.CutSuffix(e.Name(), socketSuffix)
		pid, err := strconv.Atoi(name)
		if isSocket && err == nil && pid > 0 && e.Type()&fs.ModeSocket != 0 {
			found = append(found, Running{PID: pid, Path: d.Path(pid)})
		}
	}
	slices.SortFunc(found, func(a, b Running) int { return cmp.Compare(a.PID, b.PID) })
	return found, nil
}
