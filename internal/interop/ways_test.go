package interop

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/proc"
)

// serverBin is the path of the server under test.
func serverBin(t *testing.T) string {
	t.Helper()
	fileioOnly(t)
	argv, err := program(t, false).Argv(proc.Config{})
	if err != nil {
		t.Fatal(err)
	}
	return argv[0]
}

// output is what a program prints, to be read while it runs.
type output struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

// Write implements io.Writer.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// String is what was printed so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// background starts a program and ends it with the test; done tells how it
// ended.
func background(t *testing.T, cmd *exec.Cmd) (done <-chan error, printed *output) {
	t.Helper()
	printed = new(output)
	if cmd.Stdout == nil {
		cmd.Stdout, cmd.Stderr = printed, printed
	}
	cmd.WaitDelay = time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	reaped := make(chan struct{})
	go func() {
		ended <- cmd.Wait()
		close(reaped)
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-reaped
	})
	return ended, printed
}

// endsWell waits for the end of a program.
func endsWell(t *testing.T, what string, done <-chan error, printed *output) {
	t.Helper()
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("%s: %v\n%s", what, err, printed)
		}
	case <-time.After(stopTimeout):
		t.Errorf("%s does not end", what)
	}
}

// socketThere waits until path is there.
func socketThere(t *testing.T, path string) {
	t.Helper()
	eventually(t, "the socket is there", func() bool {
		_, err := os.Lstat(path)
		return err == nil
	})
}

// A socket that systemd listens on: the first client starts the server, which
// serves the next ones too, listens nowhere else, and leaves the socket's file
// to systemd.
func TestSocketActivation(t *testing.T) {
	bin := serverBin(t)
	needTool(t, "systemd-socket-activate")
	image := randomImage(t, 1<<20)
	socket := filepath.Join(shortDir(t), "s")
	cmd := exec.Command("systemd-socket-activate", "--listen="+socket, "--fdname=disk.socket", bin, "-f", image)
	done, output := background(t, cmd)
	socketThere(t, socket)
	uri := proc.Unix(socket).URI(exportName(image))
	for range 3 {
		if size := strings.TrimSpace(run(t, "nbdinfo", "--size", uri)); size != strconv.Itoa(1<<20) {
			t.Errorf("size %s", size)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	endsWell(t, "the server", done, output)
	if _, err := os.Lstat(socket); err != nil {
		t.Errorf("systemd's socket: %v", err)
	}
	for _, want := range []string{"disk.socket", "nbd+unix:"} {
		if !strings.Contains(output.String(), want) {
			t.Errorf("the server does not say %s:\n%s", want, output)
		}
	}
	if strings.Contains(output.String(), "nbd://") {
		t.Errorf("the server listens on the default address too:\n%s", output)
	}
}

// Each client has a server of its own, which gets the connection itself: as a
// passed socket, and as standard input and output.
func TestOneServerForEachConnection(t *testing.T) {
	bin := serverBin(t)
	needTool(t, "systemd-socket-activate")
	for name, args := range map[string][]string{
		"passed": {"--accept", bin},
		"inetd":  {"--accept", "--inetd", bin, "--listen", "stdin"},
	} {
		t.Run(name, func(t *testing.T) {
			image := randomImage(t, 1<<20)
			socket := filepath.Join(shortDir(t), "s")
			args := append([]string{"--listen=" + socket}, args...)
			// The manager passes the connection as both of inetd's files; its own
			// standard error stays the servers'.
			cmd := exec.Command("systemd-socket-activate", append(args, "--control", "none", "-f", image)...)
			_, output := background(t, cmd)
			socketThere(t, socket)
			uri := proc.Unix(socket).URI(exportName(image))
			back := filepath.Join(t.TempDir(), "back")
			for range 2 {
				run(t, "nbdcopy", uri, back)
				sameFiles(t, back, image)
			}
			if strings.Contains(output.String(), "error") {
				t.Error(output)
			}
		})
	}
}

// A server on a connection ends with its client, and nothing but the protocol
// is on the connection, even if it is all three standard files.
func TestStdinEndsWithItsClient(t *testing.T) {
	bin := serverBin(t)
	image := randomImage(t, 1<<20)
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	theirs, ours := os.NewFile(uintptr(fds[0]), "theirs"), os.NewFile(uintptr(fds[1]), "ours")
	cmd := exec.Command(bin, "--listen", "stdin", "-f", image)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	done, output := background(t, cmd)
	theirs.Close()
	c, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	greeting := make([]byte, 18)
	_ = c.SetDeadline(time.Now().Add(stopTimeout))
	if _, err := c.Read(greeting); err != nil || !bytes.HasPrefix(greeting, []byte("NBDMAGICIHAVEOPT")) {
		t.Errorf("the first bytes are %q, %v", greeting, err)
	}
	c.Close()
	endsWell(t, "the server", done, output)
}

// What a service manager is told.
func TestNotifications(t *testing.T) {
	bin := serverBin(t)
	dir := shortDir(t)
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: filepath.Join(dir, "notify")})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	heard := func() string {
		t.Helper()
		_ = manager.SetReadDeadline(time.Now().Add(stopTimeout))
		b := make([]byte, 1000)
		n, err := manager.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	// others skips the watchdog's.
	others := func() string {
		t.Helper()
		for {
			if s := heard(); s != "WATCHDOG=1" {
				return s
			}
		}
	}
	image := randomImage(t, 1<<20)
	socket := filepath.Join(dir, "s")
	cmd := exec.CommandContext(context.Background(), bin, "--listen", "unix:"+socket, "-f", image)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+filepath.Join(dir, "notify"), "WATCHDOG_USEC=100000")
	done, output := background(t, cmd)
	if s := others(); s != "READY=1\nSTATUS=serving 1 export" {
		t.Errorf("%q", s)
	}
	run(t, "nbdinfo", "--size", proc.Unix(socket).URI(exportName(image)))
	for range 3 {
		if s := heard(); s != "WATCHDOG=1" {
			t.Errorf("%q", s)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"RELOADING=1\nMONOTONIC_USEC=", "READY=1\n"} {
		if s := others(); !strings.HasPrefix(s, want) {
			t.Errorf("%q, want %q", s, want)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if s := others(); !strings.HasPrefix(s, "STOPPING=1\n") {
		t.Errorf("%q", s)
	}
	endsWell(t, "the server", done, output)
}

// Who is not on the list gets nothing, and is named in the log.
func TestAllow(t *testing.T) {
	fileioOnly(t)
	image := randomImage(t, 1<<20)
	for _, tc := range []struct {
		allow string
		want  bool
	}{{"127.0.0.0/8", true}, {"192.0.2.0/24", false}, {fmt.Sprintf("uid:%d", os.Getuid()), false}} {
		t.Run(tc.allow, func(t *testing.T) {
			unix := proc.Unix(filepath.Join(shortDir(t), "s"))
			// The unix socket is for proc, which waits for a greeting.
			s := start(t, program(t, false), proc.Config{
				Files: []string{image}, Listen: []proc.Endpoint{unix},
				Args: []string{"--listen", "tcp:127.0.0.1:0", "--json", "--allow", tc.allow, "--allow", fmt.Sprintf("uid:%d", os.Getuid())},
			})
			eventually(t, "the banner is there", func() bool { return strings.Contains(s.Output(), "\n") })
			_, rest, _ := strings.Cut(s.Output(), `"network":"tcp","address":"`)
			address, _, _ := strings.Cut(rest, `"`)
			_, _, err := try(t, "nbdinfo", "--size", "nbd://"+address)
			if (err == nil) != tc.want {
				t.Errorf("nbdinfo: %v", err)
			}
			if !tc.want {
				eventually(t, "the log tells", func() bool { return strings.Contains(s.Output(), "client turned away") })
			}
			stop(t, s)
		})
	}
}
