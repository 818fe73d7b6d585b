package status

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"scstuser/internal/unixsocket"
)

// leaveSocket leaves a socket as a killed process does.
func leaveSocket(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// entries are the names in a directory.
func entries(t *testing.T, dir string) (names []string) {
	t.Helper()
	l, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range l {
		names = append(names, e.Name())
	}
	return names
}

func TestListenMakesAPrivateSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ctl.sock")
	leaveSocket(t, path) // is replaced
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("mode %v, %v; want a socket with 0600", info.Mode(), err)
	}
	if got := entries(t, dir); len(got) != 1 {
		t.Errorf("left beside it: %q", got)
	}
	l.Close()
	l.Close() // may be called again
	if got := entries(t, dir); len(got) != 0 {
		t.Errorf("left behind: %q", got)
	}
}

func TestListenRefuses(t *testing.T) {
	dir := t.TempDir()
	file, used := filepath.Join(dir, "file"), filepath.Join(dir, "used")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := Listen(used)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for path, want := range map[string]string{
		file: "is not a socket: remove it", used: "already in use by another server",
		filepath.Join(dir, "no", "s"):                               "does not exist: create it",
		filepath.Join(dir, strings.Repeat("x", unixsocket.MaxPath)): "the system allows 107",
	} {
		if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
	}
	if got := entries(t, dir); len(got) != 2 {
		t.Errorf("what was there has changed: %q", got)
	}
}

// A socket of another process that took the name stays.
func TestCloseLeavesWhatIsNotItsOwn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctl.sock")
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	other, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l.Close()
	if unixsocket.Stale(path) {
		t.Error("the other one's socket was removed")
	}
}

// Of many that start at one moment, where a killed one left its socket, one
// gets it.
func TestListenRace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ctl.sock")
	leaveSocket(t, path)
	var mu sync.Mutex
	var got []net.Listener
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			l, err := Listen(path)
			if err != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			got = append(got, l)
		})
	}
	all.Wait()
	if len(got) != 1 {
		t.Errorf("%d have the socket, want 1", len(got))
	}
	for _, l := range got {
		l.Close()
	}
}

func TestDir(t *testing.T) {
	d := Dir(filepath.Join(t.TempDir(), "fileio_tgt"))
	if found, err := d.Find(); err != nil || len(found) != 0 {
		t.Errorf("without a directory: %v, %v", found, err)
	}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(string(d)); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v; want 0700", info.Mode(), err)
	}
	leaveSocket(t, d.Path(99))
	if err := os.WriteFile(d.Path(98), nil, 0o600); err != nil { // no socket
		t.Fatal(err)
	}
	for _, pid := range []int{200, 11} {
		l, err := Listen(d.Path(pid))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
	}
	found, err := d.Find()
	if err != nil || len(found) != 2 || found[0] != (Running{11, d.Path(11)}) || found[1].PID != 200 {
		t.Errorf("found %v, %v", found, err)
	}
	if err := d.Make(); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(entries(t, string(d)), " "); got != "11.sock 200.sock 98.sock" {
		t.Errorf("after a sweep: %s", got)
	}
}

// A directory that others can write in could hold their sockets.
func TestDirOfOthers(t *testing.T) {
	base := t.TempDir()
	open, link, file := Dir(filepath.Join(base, "open")), Dir(filepath.Join(base, "link")), Dir(filepath.Join(base, "file"))
	if err := os.Mkdir(string(open), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(string(open), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(base, string(link)); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(string(file), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for d, want := range map[Dir]string{open: "can be written by others", link: "is not a directory", file: "is not a directory"} {
		if err := d.Make(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", d, err, want)
		}
	}
}

func TestDefaultDir(t *testing.T) {
	if os.Geteuid() == 0 {
		if d, err := DefaultDir("x"); err != nil || d != "/run/x" {
			t.Errorf("root: %s, %v", d, err)
		}
		return
	}
	t.Setenv("XDG_RUNTIME_DIR", "/r")
	if d, err := DefaultDir("x"); err != nil || d != "/r/x" {
		t.Errorf("%s, %v", d, err)
	}
	t.Setenv("XDG_RUNTIME_DIR", "")
	if d, err := DefaultDir("x"); err == nil {
		t.Errorf("without XDG_RUNTIME_DIR: %s", d)
	}
}
