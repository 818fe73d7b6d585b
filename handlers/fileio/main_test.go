package fileio

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// image makes a file of size zero bytes in dir.
func image(t testing.TB, dir string, size int64) string {
	t.Helper()
	f, err := os.CreateTemp(dir, "image-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(f.Name()) })
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	return f.Name()
}

// memoryDir is a directory on tmpfs.
func memoryDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "fileio-test-")
	if err != nil {
		t.Skipf("SKIPPED, no tmpfs to test on: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// loopDevice makes a block device of size bytes with the sector size.
func loopDevice(t testing.TB, size int64, sector int, more ...string) string {
	t.Helper()
	return attachLoop(t, image(t, t.TempDir(), size), sector, more...)
}

// attachLoop makes a block device of a file.
func attachLoop(t testing.TB, file string, sector int, more ...string) string {
	t.Helper()
	args := append([]string{"--find", "--show", "--sector-size", strconv.Itoa(sector)}, more...)
	out, err := exec.Command("losetup", append(args, file)...).CombinedOutput()
	if err != nil {
		t.Skipf("SKIPPED, no block device to test on (losetup needs root and loop devices): %v: %s", err, out)
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup --detach %s: %v: %s", dev, err, out)
		}
	})
	return dev
}

// tinyFS mounts a tmpfs of size bytes.
func tinyFS(t testing.TB, size int, more string) string {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+strconv.Itoa(size)+more); err != nil {
		t.Skipf("SKIPPED, no file system to fill up (mount needs root): %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return dir
}

// mustOpen opens path and closes it when the test ends.
func mustOpen(t testing.TB, path string, o Options) *File {
	t.Helper()
	f, err := Open(path, o)
	if o.Direct {
		var oe *OpenError
		if errors.As(err, &oe) && oe.Kind == NoDirect {
			t.Skipf("SKIPPED, O_DIRECT doesn't work on %s: %v", filepath.Dir(path), err)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if f.fd >= 0 {
			f.Close()
		}
	})
	return f
}

// newFile opens a new image.
func newFile(t testing.TB, size int64, o Options) *File {
	t.Helper()
	return mustOpen(t, image(t, t.TempDir(), size), o)
}

func fillBytes(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }

// content is what a program without O_DIRECT finds in the file.
func content(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
