package unixsocket

import (
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// modeOf is the mode of a file; the test fails if there is none.
func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// withUmask sets the umask for the test. Tests with it are not parallel.
func withUmask(t *testing.T, mask int) {
	t.Helper()
	old := syscall.Umask(mask)
	t.Cleanup(func() { syscall.Umask(old) })
}

// leave leaves a socket as a killed process does.
func leave(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

func TestAccess(t *testing.T) {
	withUmask(t, 0o027)
	uid := os.Geteuid()
	for name, tc := range map[string]struct {
		access Access
		want   fs.FileMode
	}{
		"the umask's":        {Access{}, 0o750},
		"a mode":             {Access{Mode: 0o666}, 0o666},
		"private":            {Access{Mode: 0o600}, 0o600},
		"an owner":           {Access{SetOwner: true, UID: uid, GID: -1}, 0o750},
		"an owner, and mode": {Access{SetOwner: true, UID: uid, GID: -1, Mode: 0o660}, 0o660},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "s")
			l, err := Listen(path, tc.access)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			if got := modeOf(t, path); got != fs.ModeSocket|tc.want {
				t.Errorf("mode %v, want %v", got, fs.ModeSocket|tc.want)
			}
			if got := l.Addr().String(); got != path {
				t.Errorf("its address is %s", got)
			}
		})
	}
	if now := syscall.Umask(0o027); now != 0o027 {
		t.Errorf("the umask is %#o", now)
	}
}

// Before its access is set a socket is for its user alone, whatever the umask
// allows.
func TestPrivateUntilItsAccessIsSet(t *testing.T) {
	withUmask(t, 0)
	dir := t.TempDir()
	for name, want := range map[string]fs.FileMode{"private": 0o600, "not": 0o777} {
		path := filepath.Join(dir, name)
		l, err := bind(path, name == "private")
		if err != nil {
			t.Fatal(err)
		}
		if got := modeOf(t, path).Perm(); got != want {
			t.Errorf("%s: mode %v, want %v", name, got, want)
		}
		l.Close()
	}
}

// An access that can't be set leaves nothing behind.
func TestAccessFails(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root can set any owner")
	}
	path := filepath.Join(t.TempDir(), "s")
	l, err := Listen(path, Access{SetOwner: true, UID: 0, GID: 0})
	if err == nil {
		l.Close()
		t.Fatal("another user's socket was made")
	}
	if _, err := os.Lstat(path); !os.IsNotExist(err) {
		t.Error("the socket is left")
	}
}

func TestStale(t *testing.T) {
	dir := t.TempDir()
	left, used, file, none := filepath.Join(dir, "left"), filepath.Join(dir, "used"), filepath.Join(dir, "file"), filepath.Join(dir, "none")
	leave(t, left)
	l, err := Listen(used, Access{})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]bool{left: true, used: false, none: false} {
		if Stale(path) != want {
			t.Errorf("%s: stale %v, want %v", path, !want, want)
		}
	}
	for path, want := range map[string]string{used: "already in use by another server", file: "is not a socket: remove it"} {
		if _, err := Listen(path, Access{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	again, err := Listen(left, Access{Mode: 0o600})
	if err != nil {
		t.Fatal(err)
	}
	again.Close()
	if _, err := os.Lstat(left); !os.IsNotExist(err) {
		t.Error("the socket is left after Close")
	}
}

// A lock that somebody has is waited for.
func TestLockDirectory(t *testing.T) {
	dir := t.TempDir()
	unlock, err := LockDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan func(), 1)
	var after sync.WaitGroup
	after.Go(func() {
		second, err := LockDirectory(dir)
		if err != nil {
			t.Error(err)
			second = func() {}
		}
		got <- second
	})
	select {
	case <-got:
		t.Error("two have the lock")
	case <-time.After(50 * time.Millisecond):
		unlock()
		(<-got)()
	}
	after.Wait()
	if _, err := LockDirectory(filepath.Join(dir, "none")); err == nil || !strings.Contains(err.Error(), "does not exist: create it") {
		t.Errorf("no directory: %v", err)
	}
}
