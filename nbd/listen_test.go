package nbd

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// socketDir returns a directory whose path leaves room for a socket's name.
func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nbd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func mustListen(t *testing.T, a ListenAddr) net.Listener {
	t.Helper()
	l, err := Listen(a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// refuses requires that listening fails with a message of one line that has
// all the hints.
func refuses(t *testing.T, a ListenAddr, hints ...string) {
	t.Helper()
	l, err := Listen(a)
	if err == nil {
		l.Close()
		t.Fatalf("listens on %v", a)
	}
	for _, hint := range append(hints, a.Address) {
		if !strings.Contains(err.Error(), hint) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q does not say %q in one line", err, hint)
		}
	}
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// connects checks that l accepts what is sent to a.
func connects(t *testing.T, l net.Listener, a ListenAddr) {
	t.Helper()
	c, err := net.Dial(a.Network, a.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
}

func TestListenTCP(t *testing.T) {
	l := mustListen(t, ListenAddr{"tcp", "127.0.0.1:0"})
	a := ListenAddrOf(l)
	if strings.HasSuffix(a.Address, ":0") || a.Network != "tcp" {
		t.Errorf("listens on %v", a)
	}
	connects(t, l, a)
	refuses(t, a, "in use", "--listen")
	l.Close()
	mustListen(t, a)
}

func TestListenTCPErrors(t *testing.T) {
	refuses(t, ListenAddr{"tcp", "192.0.2.1:10809"}, "not an address of this machine", "--listen")
}

// Row 26: the socket's file goes with the listener.
func TestRow26UnixSocketIsRemoved(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	a := ListenAddr{"unix", path}
	l := mustListen(t, a)
	if got := ListenAddrOf(l); got != a {
		t.Errorf("listens on %v", got)
	}
	connects(t, l, a)
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if exists(path) {
		t.Error("the socket is still there")
	}
	if l.Close() == nil {
		t.Error("a second Close reports success")
	}
	mustListen(t, a)
}

func TestStaleSocketIsReplaced(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	killed, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	killed.SetUnlinkOnClose(false)
	killed.Close()
	if !exists(path) {
		t.Fatal("no socket to find stale")
	}
	a := ListenAddr{"unix", path}
	connects(t, mustListen(t, a), a)
}

func TestLiveSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	a := ListenAddr{"unix", path}
	l := mustListen(t, a)
	refuses(t, a, "already in use by another server")
	s, err := l.Accept() // the other's look
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	connects(t, l, a)
}

func TestSocketOfAnotherTypeIsLeftAlone(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	refuses(t, ListenAddr{"unix", path}, "in use by another server")
	if !exists(path) {
		t.Error("it was removed")
	}
}

func TestOtherFilesAreLeftAlone(t *testing.T) {
	dir := socketDir(t)
	file, link, pipe := filepath.Join(dir, "file"), filepath.Join(dir, "link"), filepath.Join(dir, "pipe")
	if err := os.WriteFile(file, []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), link); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, link, pipe, dir} {
		refuses(t, ListenAddr{"unix", path}, "is not a socket")
		if !exists(path) {
			t.Errorf("%s was removed", path)
		}
	}
	if b, _ := os.ReadFile(file); string(b) != "precious" {
		t.Error("the file was changed")
	}
}

// A listener whose path another server has taken over leaves it to that one.
func TestCloseLeavesSuccessorsSocket(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	a := ListenAddr{"unix", path}
	first := mustListen(t, a)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := mustListen(t, a)
	first.Close()
	connects(t, second, a)
}

func TestListenUnixErrors(t *testing.T) {
	dir := socketDir(t)
	l, err := Listen(ListenAddr{"unix", dir + "/missing/s"})
	if err == nil {
		l.Close()
		t.Fatal("listens in a directory that is not there")
	}
	if want := "the directory " + dir + "/missing does not exist"; !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
	refuses(t, ListenAddr{"unix", dir + "/" + strings.Repeat("x", 107)}, "the system allows 107")
}

// Many servers that start at once over a stale socket: one gets it, and what
// it gets is not taken for stale by the next.
func TestSimultaneousStartsOverStaleSocket(t *testing.T) {
	const servers = 8
	path := filepath.Join(socketDir(t), "s")
	a := ListenAddr{"unix", path}
	for range 20 {
		stale, err := net.ListenUnix("unix", &net.UnixAddr{Net: "unix", Name: path})
		if err != nil {
			t.Fatal(err)
		}
		stale.SetUnlinkOnClose(false)
		stale.Close()

		var mu sync.Mutex // guards winners
		var winners []net.Listener
		var wg sync.WaitGroup
		for range servers {
			wg.Go(func() {
				if l, err := Listen(a); err == nil {
					mu.Lock()
					winners = append(winners, l)
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(winners) != 1 || !exists(path) {
			t.Fatalf("%d servers listen, socket there: %v", len(winners), exists(path))
		}
		winners[0].Close()
	}
}
