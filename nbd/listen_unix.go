package nbd

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

// SocketAccess says who may connect to a unix socket. The zero value leaves that
// to the umask and to the directory.
type SocketAccess struct {
	// Mode are the permissions of the socket's file; 0: what the umask leaves.
	// It takes the right to write to connect.
	Mode fs.FileMode
	// SetOwner makes UID and GID the file's owner and group; -1 leaves one as
	// it is.
	SetOwner bool
	UID, GID int
}

// ListenUnix is [Listen] on a unix socket with its access set before anybody can
// connect. It must not run at the same time as something else that makes files:
// it changes the umask for a moment.
func ListenUnix(path string, access SocketAccess) (net.Listener, error) {
	if access == (SocketAccess{}) {
		return listenUnix(path)
	}
	old := syscall.Umask(0o177) // nobody else, until the owner is set
	l, err := listenUnix(path)
	syscall.Umask(old)
	if err != nil {
		return nil, err
	}
	if err := access.apply(path, fs.FileMode(0o777&^old)); err != nil {
		l.Close()
		return nil, fmt.Errorf("can't set who may connect to the unix socket %s: %w", path, rootCause(err))
	}
	return l, nil
}

// apply sets the access; usual is the mode if none is given.
func (a SocketAccess) apply(path string, usual fs.FileMode) error {
	if a.SetOwner {
		if err := os.Lchown(path, a.UID, a.GID); err != nil {
			return err
		}
	}
	if a.Mode != 0 {
		usual = a.Mode
	}
	return os.Chmod(path, usual)
}

// listenUnix listens on a unix socket at path. A socket that a killed server
// left there is replaced. One that a server still answers on, and a file that
// is no socket, are errors and stay as they are.
func listenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("socket path %q is %d bytes long; the system allows %d", path, len(path), maxSocketPath)
	}
	unlock, err := lockDirectory(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if err := removeStaleSocket(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		return nil, fmt.Errorf("can't listen on the unix socket %s: %w", path, rootCause(err))
	}
	l.SetUnlinkOnClose(false) // that would remove whatever has the name then
	file, err := os.Lstat(path)
	if err != nil {
		l.Close()
		return nil, fmt.Errorf("the socket %s was removed while it was made: %w", path, rootCause(err))
	}
	return &unixListener{UnixListener: l, path: path, file: file}, nil
}

// lockDirectory keeps another server of ours from looking for a stale socket
// between our look and our bind: it would take the fresh socket for a stale
// one. The lock is on the directory itself, so no lock file is left behind. A
// directory that can't be locked (unreadable, or on a file system without
// locks) is used without.
func lockDirectory(dir string) (unlock func(), err error) {
	const patience = 5 * time.Second
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the directory %s does not exist: create it, or choose another path for the socket", dir)
	}
	if err != nil {
		return func() {}, nil
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		err := syscall.Flock(int(d.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EWOULDBLOCK) {
			return func() { d.Close() }, nil
		}
		if time.Now().After(deadline) {
			d.Close()
			return nil, fmt.Errorf("another process holds the lock of the directory %s: choose another one for the socket", dir)
		}
	}
}

// removeStaleSocket removes the socket at path if nobody listens on it.
func removeStaleSocket(path string) error {
	file, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("can't look at %s: %w", path, rootCause(err))
	case file.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s exists and is not a socket: remove it, or choose another path", path)
	}

	c, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		c.Close()
		return fmt.Errorf("the socket %s is already in use by another server: stop it, or choose another path", path)
	case errors.Is(err, syscall.ECONNREFUSED):
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("can't remove the socket %s, which a server left behind: %w", path, rootCause(err))
		}
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return nil
	}
	// Somebody is there: too busy to take the connection, or a socket of
	// another type.
	return fmt.Errorf("the socket %s seems to be in use by another server: %w", path, rootCause(err))
}

// rootCause strips what a message of ours says already from an error of
// packages os and net.
func rootCause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return err
}

// unixListener removes its socket's file when it is closed, if the file is
// still its own: another server may have taken the path since.
type unixListener struct {
	*net.UnixListener
	path   string
	file   fs.FileInfo // as it was made
	remove sync.Once
}

// Close removes the file and stops listening. The file goes first, so that
// nobody finds a socket without a server.
func (l *unixListener) Close() error {
	l.remove.Do(func() {
		if now, err := os.Lstat(l.path); err == nil && os.SameFile(now, l.file) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
