package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"
)

// Stale says that nobody listens on the socket at path, which a killed process
// left there. It is false for what does not exist. Whoever removes it holds the
// lock of its directory (LockDirectory).
func Stale(path string) bool { return errors.Is(look(path), syscall.ECONNREFUSED) }

// look connects to the socket at path for a moment; nil: somebody took it.
func look(path string) error {
	c, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		c.Close()
	}
	return err
}

// removeStale removes the socket at path if nobody listens on it.
func removeStale(path string) error {
	file, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("can't look at %s: %w", path, rootCause(err))
	case file.Mode()&fs.ModeSocket == 0:
		return fmt.Errorf("%s exists and is not a socket: remove it, or choose another path", path)
	}
	err = look(path)
	switch {
	case err == nil:
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
