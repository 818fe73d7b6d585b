package systemd

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("SYSTEMD_TEST_CHILD") != "" {
		child()
	}
	goleak.VerifyTestMain(m)
}

// child prints what it was given. exec(2) keeps the process ID, so that it can
// give itself the LISTEN_PID that a manager would.
func child() {
	if pid := os.Getenv("SYSTEMD_TEST_PID"); pid == "self" {
		os.Setenv("LISTEN_PID", strconv.Itoa(os.Getpid()))
	} else {
		os.Setenv("LISTEN_PID", pid)
	}
	files, err := Sockets()
	for _, f := range files {
		l, err := net.FileListener(f)
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(f.Name(), l.Addr())
	}
	fmt.Println(err, os.Getenv("LISTEN_PID")+os.Getenv("LISTEN_FDS")+os.Getenv("LISTEN_FDNAMES"))
	os.Exit(0)
}

func TestSockets(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	at := l.Addr().String()
	for _, tc := range []struct{ name, pid, fds, names, want string }{
		{"one", "self", "1", "disk.socket", "disk.socket " + at + "\n<nil> \n"},
		{"two", "self", "2", "a:b", "a " + at + "\nb " + at + "\n<nil> \n"},
		{"too few names", "self", "2", "a", "a " + at + "\ndescriptor 4 " + at + "\n<nil> \n"},
		{"no names", "self", "1", "", "descriptor 3 " + at + "\n<nil> \n"},
		{"for another process", "1", "1", "a", "<nil> \n"},
		{"none", "self", "0", "", "<nil> \n"},
		{"not there", "self", "3", "a:b:c", "LISTEN_FDS promises 3 sockets, but descriptor 5 is none: "},
		{"no number", "self", "many", "", `LISTEN_FDS="many" is not a number of sockets ` + "\n"},
		{"negative", "self", "-1", "", `LISTEN_FDS="-1" is not a number of sockets ` + "\n"},
		{"no process", "me", "1", "", `LISTEN_PID="me" is not a process ID ` + "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), "SYSTEMD_TEST_CHILD=1", "SYSTEMD_TEST_PID="+tc.pid, "LISTEN_FDS="+tc.fds, "LISTEN_FDNAMES="+tc.names)
			cmd.ExtraFiles = []*os.File{f, f}
			out, err := cmd.CombinedOutput()
			// Whether the runtime has put something else there is its affair.
			got := string(out)
			if err != nil || got != tc.want && !(strings.HasSuffix(tc.want, ": ") && strings.HasPrefix(got, tc.want)) {
				t.Errorf("%v, %q, want %q", err, got, tc.want)
			}
		})
	}
	if files, err := Sockets(); err != nil || files != nil {
		t.Errorf("without variables: %v, %v", files, err)
	}
}

func TestNotifier(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	heard := func() string {
		_ = manager.SetReadDeadline(time.Now().Add(10 * time.Second))
		b := make([]byte, 1000)
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", "3000000")
	t.Setenv("WATCHDOG_PID", strconv.Itoa(os.Getpid()))
	n, err := NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	if n.Watchdog() != 3*time.Second || os.Getenv("NOTIFY_SOCKET")+os.Getenv("WATCHDOG_USEC") != "" {
		t.Errorf("watchdog %v; the variables are still there", n.Watchdog())
	}
	for _, tc := range []struct {
		say  func() error
		want string
	}{
		{func() error { return n.Ready("2 exports\nREADY=0") }, `^READY=1\nSTATUS=2 exports READY=0$`},
		{n.Reloading, `^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$`},
		{n.Alive, `^WATCHDOG=1$`},
		{n.Stopping, `^STOPPING=1\nSTATUS=.*$`},
	} {
		if err := tc.say(); err != nil {
			t.Error(err)
		}
		if got := heard(); !regexp.MustCompile(tc.want).MatchString(got) {
			t.Errorf("%q, want %s", got, tc.want)
		}
	}
}

func TestNobodyToNotify(t *testing.T) {
	n, err := NewNotifier()
	if n != nil || err != nil {
		t.Fatal(n, err)
	}
	if err := n.Ready("x"); err != nil || n.Watchdog() != 0 || n.Close() != nil {
		t.Error(err)
	}
	t.Setenv("NOTIFY_SOCKET", filepath.Join(t.TempDir(), "gone"))
	if n, err := NewNotifier(); err == nil {
		n.Close()
		t.Error("a manager that is not there")
	}
	t.Setenv("WATCHDOG_PID", "1")
}
