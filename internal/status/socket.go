package status

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// maxSocketPath is how long a socket's path may be (unix(7)).
const maxSocketPath = 107

// Listen makes a control socket at path, which only this user can connect to:
// it gets its mode in a directory that nobody else can enter and comes to its
// place ready. What a killed process left at path is replaced; a socket that is
// answered, and a file that is no socket, are errors. Closing the listener
// removes the socket.
func Listen(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("control socket %q: the path has %d bytes; the system allows %d", path, len(path), maxSocketPath)
	}
	unlock, err := lockDirectory(filepath.Dir(path))
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, err)
	}
	l, err := bindPrivately(path)
	if err != nil {
		return nil, fmt.Errorf("control socket %s: %w", path, rootCause(err))
	}
	return l, nil
}

// bindPrivately makes the socket where nobody sees it, and moves it to path.
func bindPrivately(path string) (net.Listener, error) {
	private, err := os.MkdirTemp(filepath.Dir(path), ".") // mode 0700
	if err != nil {
		return nil, err
	}
	defer os.Remove(private)
	// A name of a process's own, and shorter than the socket's might be.
	dir, err := os.Open(private)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	made := filepath.Join(private, "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: fmt.Sprintf("/proc/self/fd/%d/s", dir.Fd())})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // by then another process may have the name
	file, err := placeSocket(made, path)
	if err != nil {
		l.Close()
		os.Remove(made)
		return nil, err
	}
	return &socket{UnixListener: l, path: path, file: file}, nil
}

// placeSocket gives the socket its mode and its place, which must be free.
func placeSocket(made, path string) (fs.FileInfo, error) {
	if err := os.Chmod(made, 0o600); err != nil {
		return nil, err
	}
	file, err := os.Lstat(made)
	if err != nil {
		return nil, err
	}
	if err := os.Link(made, path); err != nil { // unlike a rename, it replaces nothing
		return nil, err
	}
	return file, os.Remove(made)
}

// socket removes its file when it is closed, if the file is still its own.
type socket struct {
	*net.UnixListener
	path   string
	file   fs.FileInfo
	remove sync.Once
}

// Close implements net.Listener. The file goes first, so that nobody finds a
// socket that is not answered.
func (s *socket) Close() error {
	s.remove.Do(func() {
		if now, err := os.Lstat(s.path); err == nil && os.SameFile(now, s.file) {
			os.Remove(s.path)
		}
	})
	return s.UnixListener.Close()
}

// lockDirectory keeps other processes of ours from taking a socket that is just
// being made for a stale one. A directory that can't be locked is used without.
func lockDirectory(dir string) (unlock func(), err error) {
	const patience = 5 * time.Second
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the directory %s does not exist: create it, or choose another path", dir)
	}
	if err != nil {
		return func() {}, nil
	}
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return func() { d.Close() }, nil
		}
		if time.Now().After(end) {
			d.Close()
			return nil, fmt.Errorf("another process holds the lock of %s: choose another directory", dir)
		}
	}
}

// removeStale removes the socket at path if nobody answers on it.
func removeStale(path string) error {
	file, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return rootCause(err)
	case file.Mode()&fs.ModeSocket == 0:
		return errors.New("there is a file that is not a socket: remove it, or choose another path")
	case !stale(path):
		return errors.New("another process uses it: stop that one, or choose another path")
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove what a process left there: %w", rootCause(err))
	}
	return nil
}

// stale says that nobody listens on the socket at path.
func stale(path string) bool {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// rootCause strips the paths from an error of packages os and net.
func rootCause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
