package unixsocket

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
	"time"
)

// LockDirectory keeps another process of ours from looking for stale sockets in
// dir between a look and a bind of this one: it would take the fresh socket for a
// stale one. The lock is on the directory itself, so no lock file is left behind.
// A directory that can't be locked (unreadable, or on a file system without
// locks) is used without. The caller unlocks. The error is that there is no such
// directory, or that somebody has held its lock for five seconds.
func LockDirectory(dir string) (unlock func(), err error) {
	const patience = 5 * time.Second
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("the directory %s does not exist: create it, or choose another path for the socket", dir)
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
			return nil, fmt.Errorf("another process holds the lock of the directory %s: choose another one for the socket", dir)
		}
	}
}
