package unixsocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// MaxPath is the longest path of a unix socket, in bytes (sun_path of
// sockaddr_un without its NUL, unix(7)).
const MaxPath = 107

// Access says who may connect to a socket. The zero value leaves that to the
// umask and to the directory.
type Access struct {
	// Mode are the permissions of the socket's file; 0: what the umask leaves.
	// It takes the right to write to connect.
	Mode fs.FileMode
	// SetOwner makes UID and GID the file's owner and group; -1 leaves one as
	// it is.
	SetOwner bool
	UID, GID int
}

// Listen listens on a unix socket at path, whose access is set before anybody
// can connect. A socket that a killed server left there is replaced. One that a
// server still answers on, and a file that is no socket, are errors and stay as
// they are. The error is one line that says what is in the way and what to do.
// Closing the listener removes the file. It may be called from any goroutine.
func Listen(path string, access Access) (net.Listener, error) {
	if len(path) > MaxPath {
		return nil, fmt.Errorf("socket path %q is %d bytes long; the system allows %d", path, len(path), MaxPath)
	}
	unlock, err := LockDirectory(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := bind(path, access != Access{})
	if err != nil {
		return nil, fmt.Errorf("can't listen on the unix socket %s: %w", path, rootCause(err))
	}
	l.SetUnlinkOnClose(false) // that would remove whatever has the name then
	file, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("the socket %s was removed while it was made: %w", path, rootCause(err))
	}
	s := &listener{UnixListener: l, path: path, file: file}
	if err := access.apply(path); err != nil {
		s.Close()
		return nil, fmt.Errorf("can't set who may connect to the unix socket %s: %w", path, rootCause(err))
	}
	return s, nil
}

// bind makes the socket; private: for this user alone, until its access is set.
func bind(path string, private bool) (*net.UnixListener, error) {
	var c net.ListenConfig
	if private {
		// The file gets the mode that the socket has before it is bound, less
		// what the umask takes (unix_bind of the kernel).
		c.Control = func(_, _ string, raw syscall.RawConn) (err error) {
			return errors.Join(raw.Control(func(fd uintptr) { err = syscall.Fchmod(int(fd), 0o600) }), err)
		}
	}
	l, err := c.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, err
	}
	return l.(*net.UnixListener), nil
}

// apply sets the access of the file at path.
func (a Access) apply(path string) error {
	if a == (Access{}) {
		return nil
	}
	if a.SetOwner {
		if err := os.Lchown(path, a.UID, a.GID); err != nil {
			return err
		}
	}
	mode := a.Mode
	if mode == 0 {
		mode = 0o777 &^ umask()
	}
	return os.Chmod(path, mode)
}

// umask is this process's. It is not asked for by changing it: other goroutines
// may be making files.
func umask() fs.FileMode {
	const usual = 0o022
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return usual
	}
	for line := range bytes.Lines(text) {
		if value, ok := bytes.CutPrefix(line, []byte("Umask:")); ok {
			if n, err := strconv.ParseUint(string(bytes.TrimSpace(value)), 8, 32); err == nil {
				return fs.FileMode(n)
			}
		}
	}
	return usual
}

// listener removes its socket's file when it is closed, if the file is still its
// own: another server may have taken the path since.
type listener struct {
	*net.UnixListener
	path   string
	file   fs.FileInfo // as it was made
	remove sync.Once
}

// Close removes the file and stops listening. The file goes first, so that
// nobody finds a socket without a server.
func (l *listener) Close() error {
	l.remove.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}

// rootCause strips what a message of ours says already from an error of packages
// os and net.
func rootCause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}
