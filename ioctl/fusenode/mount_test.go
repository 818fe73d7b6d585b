package fusenode

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/node"
)

// rules is the C program in testdata, compiled.
var rules string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "fusenode")
	if err != nil {
		panic(err)
	}
	code := 1
	if rules, err = compile(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// compile builds testdata/rules.c against the ABI's header; "" without a
// compiler.
func compile(dir string) (string, error) {
	cc, err := exec.LookPath("cc")
	if err != nil {
		return "", nil
	}
	bin := filepath.Join(dir, "rules")
	out, err := exec.Command(cc, "-O1", "-g", "-Wall", "-Wextra", "-Werror", "-I../abi", "-o", bin, "testdata/rules.c", "-lpthread").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return bin, nil
}

// quiet is a logger that says nothing.
func quiet() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// needFUSE skips, loudly, where there is no FUSE to test with.
func needFUSE(t testing.TB) {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("NOT TESTED: this machine has no /dev/fuse")
	}
	if os.Geteuid() != 0 {
		t.Skip("NOT TESTED: mounting here needs root")
	}
}

// mounted mounts a tree. No file of it is opened by this process (F8): tests
// run programs.
func mounted(t testing.TB) (dir string, h *node.Host) {
	t.Helper()
	return mountedWith(t, node.Options{Log: quiet()})
}

// mountedWith is mounted, with a host of these options.
func mountedWith(t testing.TB, o node.Options) (dir string, h *node.Host) {
	t.Helper()
	needFUSE(t)
	h = node.New(o)
	dir = t.TempDir()
	m, err := Mount(Options{Dir: dir, Host: h, Version: "3.11", Linger: 500 * time.Millisecond, Log: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := errors.Join(h.Close(ctx), m.Close(ctx)); err != nil {
			t.Error(err)
		}
	})
	return dir, h
}

// patience is how long a program may run.
var patience = time.Minute

// run runs a program for at most patience.
func run(t testing.TB, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// hostsOf are the hosts of rules that are about an option of the host.
var hostsOf = map[string]node.Options{
	"R5_exact": {Versions: abi.Versions{Exact: []string{abi.Version}}},
}

// The rules as a C program meets them. Each is a process of its own, and leaves
// nothing behind.
func TestRules(t *testing.T) {
	needFUSE(t)
	if rules == "" {
		t.Skip("NOT TESTED: no C compiler (cc) here")
	}
	if raceEnabled && os.Getenv("CYCLES") == "" {
		t.Setenv("CYCLES", "10") // kills; 100 otherwise, the soak says 1000
		t.Setenv("SLACK", "10")  // seconds in which each has to be over; 1 otherwise
	}
	if n, err := strconv.Atoi(os.Getenv("CYCLES")); err == nil && n > 100 {
		patience *= time.Duration(n / 100)
	}
	names, err := run(t, rules)
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(names) {
		t.Run(name, func(t *testing.T) {
			o := hostsOf[name]
			o.Log = quiet()
			dir, h := mountedWith(t, o)
			if _, err := run(t, rules, dir); err != nil { // opens what is opened once
				t.Fatal(err)
			}
			fds := descriptors(t)
			out, err := run(t, rules, dir, name)
			if err != nil {
				t.Errorf("%v: %s", err, out)
			}
			t.Log(strings.TrimSpace(out))
			for deadline := time.Now().Add(5 * time.Second); len(h.Devices()) > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("devices are left")
				}
			}
			if n := descriptors(t); n > fds {
				t.Errorf("%d descriptors, %d before", n, fds)
			}
		})
	}
}

// descriptors counts this process's open files.
func descriptors(t testing.TB) int {
	t.Helper()
	l, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

// The files that people read.
func TestTree(t *testing.T) {
	dir, h := mounted(t)
	script := func(s string) string {
		t.Helper()
		out, err := run(t, "sh", "-ec", "cd "+dir+"; "+s)
		if err != nil {
			t.Fatalf("%s: %v: %s", s, err, out)
		}
		return strings.TrimSpace(out)
	}
	if got := script("ls"); got != "devices\nhandlers\nscst_user\nsgv\ntrace_level\nversion" {
		t.Errorf("ls: %q", got)
	}
	if got := script("cat version trace_level; echo debug > trace_level; cat trace_level; stat -c %a scst_user"); got != "3.11\ninfo\ndebug\n600" {
		t.Errorf("version and levels: %q", got)
	}
	if out, err := run(t, "sh", "-c", "echo nonsense > "+dir+"/trace_level"); err == nil {
		t.Errorf("a nonsensical level is taken: %s", out)
	}
	handler := startHandler(t, dir, "disk1")
	if got := script("cat devices/disk1/type devices/disk1/block_size devices/disk1/size handlers/disk1/type; ls sgv devices"); got !=
		"0 - Direct-access device (e.g., magnetic disk)\n512\n1048576\n0 - Direct-access device (e.g., magnetic disk)\ndevices:\ndisk1\n\nsgv:\ndisk1\ndisk1-clust" {
		t.Errorf("the device: %q", got)
	}
	if got := script("cat devices/disk1/commands; cat sgv/disk1/stats devices/disk1/stats"); !strings.Contains(got, "state 7, ref 1), sent_to_user 0") ||
		!strings.Contains(got, "hits") || !strings.Contains(got, "sessions ") {
		t.Errorf("commands and stats: %q", got)
	}
	if got := script("exec 3<devices/disk1/lun; cat devices/disk1/sessions/*"); !strings.HasPrefix(got, "initiator fuse\ntarget disk1") {
		t.Errorf("sessions: %q", got)
	}
	handler()
	for deadline := time.Now().Add(5 * time.Second); len(h.Devices()) > 0 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	if got := script("ls devices handlers sgv"); got != "devices:\n\nhandlers:\n\nsgv:" {
		t.Errorf("afterwards: %q", got)
	}
}

// startHandler runs a handler; the returned function kills it.
func startHandler(t testing.TB, dir, name string) (kill func()) {
	t.Helper()
	if rules == "" {
		t.Skip("NOT TESTED: no C compiler (cc) here")
	}
	cmd := exec.Command(rules, dir, "-handler", name)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	kill = func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	t.Cleanup(kill)
	if line, err := bufio.NewReader(out).ReadString('\n'); err != nil || line != "serving\n" {
		t.Fatalf("the handler: %q %v", line, err)
	}
	return kill
}

// lun as a file: copied in and out, at odd places, and under a loop device.
func TestLun(t *testing.T) {
	dir, _ := mounted(t)
	startHandler(t, dir, "disk1")
	lun := filepath.Join(dir, "devices/disk1/lun")
	image := filepath.Join(t.TempDir(), "image")
	data := bytes.Repeat([]byte("0123456789abcde\n"), 1<<20/16)
	if err := os.WriteFile(image, data, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{
		"dd if=%[2]s of=%[1]s bs=64k conv=notrunc,fsync status=none && cmp %[1]s %[2]s",
		"printf XYZ | dd of=%[1]s bs=1 seek=1021 conv=notrunc status=none && test $(dd if=%[1]s bs=1 skip=1020 count=5 status=none) = 'cXYZ0'",
		"test $(stat -c %%s %[1]s) = 1048576",
		"test $(stat -f -c %%s,%%b %[1]s) = 4096,256",                                              // without it a loop device can't discard
		"! dd if=/dev/zero of=%[1]s bs=4096 seek=256 count=1 conv=notrunc status=none 2>/dev/null", // beyond the end
		"fallocate -z -o 5 -l 10000 %[1]s && test $(dd if=%[1]s bs=1 skip=5 count=10000 status=none | tr -d '\\0' | wc -c) = 0",
		"echo > %[1]s && test $(stat -c %%s %[1]s) = 1048576", // truncation means nothing
	} {
		cmd := fmt.Sprintf(s, lun, image)
		if out, err := run(t, "bash", "-ec", cmd); err != nil {
			t.Errorf("%s: %v: %s", cmd, err, out)
		}
	}
}

// mount -o loop of lun works, and what is written there is there.
func TestLunLoop(t *testing.T) {
	dir, _ := mounted(t)
	startHandler(t, dir, "disk1")
	lun := filepath.Join(dir, "devices/disk1/lun")
	at := t.TempDir()
	if out, err := run(t, "losetup", "-f"); err != nil {
		t.Skipf("NOT TESTED: no loop devices here: %v %s", err, out)
	}
	out, err := run(t, "bash", "-ec", fmt.Sprintf(`
		mkfs.ext2 -q -F %[1]s
		mount -o loop %[1]s %[2]s
		cp /proc/self/status %[2]s/a; head -c 300000 /dev/urandom > %[2]s/b; md5sum < %[2]s/b > /tmp/fusenode.$$
		umount %[2]s
		mount -o loop,ro %[1]s %[2]s
		md5sum < %[2]s/b | cmp - /tmp/fusenode.$$; rm /tmp/fusenode.$$
		umount %[2]s`, lun, at))
	if err != nil {
		_ = unix.Unmount(at, unix.MNT_DETACH)
		if strings.Contains(out, "not found") || strings.Contains(out, "failed to setup loop") {
			t.Skipf("NOT TESTED: %s", out)
		}
		t.Errorf("%v: %s", err, out)
	}
}

// A second process at the same place is told; the remains of a dead one are
// taken away.
func TestStale(t *testing.T) {
	dir, h := mounted(t)
	if _, err := Mount(Options{Dir: dir, Host: h, Log: quiet()}); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second mount: %v", err)
	}
	if _, err := Mount(Options{Dir: filepath.Join(dir, "version"), Host: h, Log: quiet()}); err == nil {
		t.Error("mounted on a file")
	}
	other := t.TempDir()
	// What a crash leaves: a mount whose server is gone.
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount(fsName, other, "fuse."+fsName, 0, fmt.Sprintf("fd=%d,rootmode=40000,user_id=0,group_id=0", fd)); err != nil {
		t.Fatal(err)
	}
	unix.Close(fd)
	m, err := Mount(Options{Dir: other, Host: h, Log: quiet()})
	if err != nil {
		_ = unix.Unmount(other, unix.MNT_DETACH)
		t.Fatal(err)
	}
	if err := m.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if kind, err := mountedAt(other); kind != "" || err != nil {
		t.Errorf("%q is still mounted, %v", kind, err)
	}
}

// Programs that have the node open are cut off by Close, not waited for.
func TestCloseWithOpenFiles(t *testing.T) {
	needFUSE(t)
	l := quiet()
	h := node.New(node.Options{Log: l})
	dir := t.TempDir()
	m, err := Mount(Options{Dir: dir, Host: h, Log: l})
	if err != nil {
		t.Fatal(err)
	}
	startHandler(t, dir, "disk1")
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := errors.Join(h.Close(ctx), m.Close(ctx)); err != nil {
		t.Error(err)
	}
	if kind, _ := mountedAt(dir); kind != "" {
		t.Error("still mounted")
	}
}

func TestParseMountInfo(t *testing.T) {
	for line, want := range map[string][2]string{
		`36 35 98:0 /mnt1 /a\040b rw,noatime master:1 - fuse.scst_user scst_user rw`: {"/a b", "fuse.scst_user"},
		`36 35 98:0 / / rw - ext3 /dev/root rw,errors=continue`:                      {"/", "ext3"},
		``:               {"", ""},
		`36 35 - ext3 x`: {"", ""},
	} {
		if at, kind := parseMountInfo(line); at != want[0] || kind != want[1] {
			t.Errorf("%q: %q %q", line, at, kind)
		}
	}
}
