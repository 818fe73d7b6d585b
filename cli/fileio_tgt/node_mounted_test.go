package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/nodehost"
	"scstuser/nbd/nbdtest"
)

// mainVariable makes the test binary the program itself.
const mainVariable = "FILEIO_TGT_TEST_MAIN"

// becomeAnotherProcess is what TestMain does first: the test binary is also the
// host and the program of these tests.
func becomeAnotherProcess() {
	nodehost.Main()
	if os.Getenv(mainVariable) != "" {
		main()
	}
}

// process is fileio_tgt as a process of its own.
type process struct {
	*nodehost.Program
	banner jsonBanner
}

// startProcess starts fileio_tgt with --json and waits for its banner.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	cmd := exec.Command(os.Args[0], append(args, "--json")...)
	cmd.Env = append(os.Environ(), mainVariable+"=1")
	p := new(process)
	var line string
	p.Program, line = nodehost.StartProgram(t, cmd)
	if err := json.Unmarshal([]byte(line), &p.banner); err != nil {
		t.Fatalf("no banner: %v, %q", err, line)
	}
	return p
}

// emptyImage makes a file of size bytes.
func emptyImage(t *testing.T, name string, size int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, size); err != nil {
		t.Fatal(err)
	}
	return path
}

const mib = 1 << 20

// Two files are two devices; fio's bytes arrive in both, with every option that
// changes how commands travel; a signal ends all in order.
func TestDeviceVerify(t *testing.T) {
	for _, options := range []string{
		"", "-M 0", "-e 1", "-e 16 -M 64", "-l", "-m none", "-m read", "-p call", "-R 4 -Z 64", "-F 1 -s",
	} {
		t.Run("fileio_tgt "+options, func(t *testing.T) {
			host := nodehost.Start(t)
			a, b := emptyImage(t, "a", 16*mib), emptyImage(t, "b", 16*mib)
			p := startProcess(t, append(strings.Fields(options), "-f", a, "-f", b, "--device", host.Node)...)
			if len(p.banner.Exports) != 2 || p.banner.Device != host.Node || len(p.banner.Listeners) != 0 {
				t.Errorf("the banner says %+v", p.banner)
			}
			for _, name := range []string{"a", "b"} {
				host.WaitExport(name)
				host.FioVerify(t, name, "--rw=randwrite", "--iodepth=16", "--size=16m", "--bssplit=4k/70:64k/30", "--blockalign=4k")
			}
			if status := p.End(syscall.SIGTERM); status != exitOK || strings.Contains(p.Stderr.String(), "level=warn") {
				t.Errorf("status %d, %s", status, p.Stderr.String())
			}
			host.WaitGone("a")
			host.WaitGone("b")
		})
	}
}

// What was flushed is there after the process was killed and started again,
// each time under the same name (I6, R70).
func TestDeviceKilledAndRestarted(t *testing.T) {
	host := nodehost.Start(t)
	image := emptyImage(t, "disk", 16*mib)
	for i := range byte(8) {
		p := startProcess(t, "-f", image, "--device", host.Node)
		host.WaitExport("disk")
		c := host.Dial(t)
		c.Hello()
		c.Go("disk")
		if got, errno := c.Read(4096, 4096, 0); errno != 0 || !bytes.Equal(got, bytes.Repeat([]byte{i}, 4096)) {
			t.Fatalf("round %d: %v, or what was flushed is lost", i, errno)
		}
		if errno := c.Write(4096, bytes.Repeat([]byte{i + 1}, 4096), 0); errno != 0 {
			t.Errorf("write: %v", errno)
		}
		if errno := c.Flush(0); errno != 0 {
			t.Errorf("flush: %v", errno)
		}
		c.Disc(0)
		ended := host.Load(t, "disk")
		killed := time.Now()
		if status := p.End(syscall.SIGKILL); status != -1 {
			t.Errorf("it had ended: status %d, %s", status, p.Stderr.String())
		}
		select {
		case at := <-ended:
			if d := at.Sub(killed); d > time.Second {
				t.Errorf("the last request was answered after %v", d)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a request was not answered")
		}
	}
}

// Signals that come while commands are in flight, and a stop in between, change
// nothing (R24, F4).
func TestDeviceSignalsUnderLoad(t *testing.T) {
	host := nodehost.Start(t)
	p := startProcess(t, "-f", emptyImage(t, "disk", 16*mib), "--device", host.Node)
	host.WaitExport("disk")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
			}
			signals := []syscall.Signal{syscall.SIGURG, syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGWINCH}
			_ = p.Cmd.Process.Signal(signals[i%len(signals)])
			if i%10 == 0 {
				_ = p.Cmd.Process.Signal(syscall.SIGSTOP)
				time.Sleep(3 * time.Millisecond)
				_ = p.Cmd.Process.Signal(syscall.SIGCONT)
			}
		}
	}()
	host.FioVerify(t, "disk", "--rw=randwrite", "--iodepth=16", "--size=16m", "--bssplit=4k/70:64k/30", "--blockalign=4k", "--loops=2")
	close(stop)
	<-stopped
	if status := p.End(syscall.SIGTERM); status != exitOK {
		t.Errorf("status %d, %s", status, p.Stderr.String())
	}
}

// The node goes: a line that says so, status 1, and the files are closed in order.
func TestDeviceHostGoes(t *testing.T) {
	for name, leave := range map[string]func(*nodehost.Host){"stopped": (*nodehost.Host).Stop, "killed": (*nodehost.Host).Kill} {
		for _, options := range []string{"", "-l"} {
			t.Run(name+" "+options, func(t *testing.T) {
				host := nodehost.Start(t)
				p := startProcess(t, append(strings.Fields(options), "-f", emptyImage(t, "disk", mib), "--device", host.Node)...)
				host.WaitExport("disk")
				leave(host)
				status := p.End(0)
				lines := strings.Split(strings.TrimSpace(p.Stderr.String()), "\n")
				last := lines[len(lines)-1]
				if status != exitFailure || !strings.HasPrefix(last, programName+": device disk") || !strings.Contains(last, "host") {
					t.Errorf("status %d, %s", status, p.Stderr.String())
				}
			})
		}
	}
}

// A second device of a name, a version that is not accepted: one line, status 1.
func TestDeviceRefusedByTheNode(t *testing.T) {
	host := nodehost.Start(t)
	image := emptyImage(t, "disk", mib)
	first := startProcess(t, "-f", image, "--device", host.Node)
	for _, tc := range []struct{ options, want string }{
		{"", "has a device of that name"}, {"--device_version 9.9", "other versions"},
	} {
		var stdout, stderr bytes.Buffer
		args := append([]string{programName, "-r", "-f", image, "--device", host.Node}, strings.Fields(tc.options)...)
		status := run(args, &stdout, &stderr, serve)
		if status != exitFailure || !strings.Contains(stderr.String(), tc.want) || strings.Count(stderr.String(), "\n") != 1 {
			t.Errorf("%s: status %d, %s", tc.options, status, stderr.String())
		}
	}
	if status := first.End(syscall.SIGINT); status != exitOK {
		t.Errorf("the first one: status %d, %s", status, first.Stderr.String())
	}
}

// SIGUSR1 announces a new size.
func TestDeviceResize(t *testing.T) {
	host := nodehost.Start(t)
	image := emptyImage(t, "disk", mib)
	p := startProcess(t, "-f", image, "--device", host.Node)
	host.WaitExport("disk")
	if err := os.Truncate(image, 3*mib); err != nil {
		t.Fatal(err)
	}
	_ = p.Cmd.Process.Signal(syscall.SIGUSR1)
	size := func() uint64 {
		c := host.Dial(t)
		defer c.Close()
		c.Hello()
		return c.Go("disk").Size
	}
	for end := time.Now().Add(20 * time.Second); size() != 3*mib; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("the export has %d bytes; %s", size(), p.Stderr.String())
		}
	}
	if status := p.End(syscall.SIGTERM); status != exitOK {
		t.Errorf("status %d, %s", status, p.Stderr.String())
	}
}

// The two halves of the program: host in one process, the disk in another.
func TestHostAndDevice(t *testing.T) {
	nodehost.Start(t) // skips where nothing can be mounted
	dir := t.TempDir()
	mount, socket := filepath.Join(dir, "scst"), filepath.Join(dir, "nbd.sock")
	if err := os.Mkdir(mount, 0o755); err != nil {
		t.Fatal(err)
	}
	host := startProcess(t, "host", "--mount", mount, "--listen", "unix:"+socket)
	disk := startProcess(t, "-f", emptyImage(t, "disk", mib), "--device", filepath.Join(mount, "scst_user"))

	c := dialExport(t, socket, "disk")
	data := bytes.Repeat([]byte("abcdefgh"), 1024)
	if errno := c.Write(8192, data, 0); errno != 0 {
		t.Errorf("write: %v", errno)
	}
	if got, errno := c.Read(8192, uint32(len(data)), 0); errno != 0 || !bytes.Equal(got, data) {
		t.Errorf("read: %v, or other bytes", errno)
	}
	c.Disc(0)
	if status := disk.End(syscall.SIGTERM); status != exitOK {
		t.Errorf("the disk: status %d, %s", status, disk.Stderr.String())
	}
	if status := host.End(syscall.SIGTERM); status != exitOK {
		t.Errorf("the host: status %d, %s", status, host.Stderr.String())
	}
}

// dialExport connects to an export that is about to be there.
func dialExport(t *testing.T, socket, name string) *nbdtest.Conn {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		c := nbdtest.Dial(t, "unix", socket)
		c.Hello()
		for _, e := range c.List() {
			if e.Name == name {
				c.Go(name)
				return c
			}
		}
		c.Close()
		if time.Now().After(end) {
			t.Fatalf("there is no export %s", name)
		}
	}
}
