package fileio

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// refused opens path, which must fail with the kind and one line that has the
// words.
func refused(t *testing.T, path string, o Options, kind OpenErrorKind, words ...string) {
	t.Helper()
	f, err := Open(path, o)
	if err == nil {
		f.Close()
		t.Fatalf("opening %s with %+v succeeded, want %q", path, o, kind)
	}
	var oe *OpenError
	if !errors.As(err, &oe) {
		t.Fatalf("%v is a %T, want an *OpenError", err, err)
	}
	if oe.Kind != kind || oe.Path != path {
		t.Errorf("kind %q, path %q, want %q, %q: %v", oe.Kind, oe.Path, kind, path, err)
	}
	if strings.ContainsAny(err.Error(), "\n\r") {
		t.Errorf("more than one line: %q", err.Error())
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q doesn't mention %q", err.Error(), w)
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	file := image(t, dir, 8192)

	refused(t, in("none"), Options{}, NotFound, "no such file", "check the path")
	refused(t, "", Options{}, NotFound)
	refused(t, filepath.Join(file, "below"), Options{}, NotFound, "not a directory")
	refused(t, in("two\nlines"), Options{}, NotFound)
	refused(t, dir, Options{}, IsDirectory, "directory")
	refused(t, dir, Options{ReadOnly: true}, IsDirectory)
	refused(t, "/dev/null", Options{}, NotRegular, "character device")

	if err := unix.Mkfifo(in("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	// Must not wait for somebody at the other end.
	refused(t, in("pipe"), Options{ReadOnly: true}, NotRegular, "pipe")
	l, err := net.Listen("unix", in("socket"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	refused(t, in("socket"), Options{}, NotRegular, "socket")

	refused(t, image(t, dir, 0), Options{}, Empty, "empty", "truncate")
	refused(t, image(t, dir, 511), Options{}, Empty, "511", "512")
	refused(t, image(t, dir, 2048), Options{BlockSize: 4096}, Empty, "2048", "4096")
	for _, n := range []int{-512, 1, 256, 511, 513, 1000, 128 << 10} {
		refused(t, file, Options{BlockSize: n}, BadBlockSize, "power of two", "512", "65536")
	}

	loop := in("loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	refused(t, loop, Options{}, Other)
	if err := os.Symlink(file, in("link")); err != nil {
		t.Fatal(err)
	}
	mustOpen(t, in("link"), Options{})
}

// onlyFor runs fn with the file rights of another user.
func onlyFor(t *testing.T, uid int, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: only root can take another user's rights")
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// Not unlocked: the thread ends with the goroutine.
		runtime.LockOSThread()
		if err := errors.Join(unix.Setfsgid(uid), unix.Setfsuid(uid)); err != nil {
			t.Error(err)
			return
		}
		fn()
	}()
	<-done
}

func TestOpenWithoutPermission(t *testing.T) {
	dir, err := os.MkdirTemp("", "fileio-open-") // t.TempDir is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	closed := filepath.Join(dir, "closed")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(closed, 0o700)); err != nil {
		t.Fatal(err)
	}
	secret, readable, inside := image(t, dir, 4096), image(t, dir, 4096), image(t, closed, 4096)
	if err := errors.Join(os.Chmod(secret, 0), os.Chmod(readable, 0o444)); err != nil {
		t.Fatal(err)
	}
	onlyFor(t, 65534, func() {
		refused(t, secret, Options{}, Permission, "permission denied")
		refused(t, secret, Options{ReadOnly: true}, Permission)
		refused(t, inside, Options{ReadOnly: true}, Permission)
		refused(t, readable, Options{}, ReadOnlyFile, "--read_only")
		// Not the owner: the access time is nothing it may suppress.
		if f, err := Open(readable, Options{ReadOnly: true}); err != nil {
			t.Error(err)
		} else {
			f.Close()
		}
	})
	// Permission bits don't bind root.
	mustOpen(t, secret, Options{})
	mustOpen(t, readable, Options{})
}

func TestOpenReadOnlyFileSystem(t *testing.T) {
	dir := tinyFS(t, 1<<20, "")
	path := image(t, dir, 8192)
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	refused(t, path, Options{}, ReadOnlyFile, "file system is read-only", "--read_only")
	mustOpen(t, path, Options{ReadOnly: true}).Close()
}

func TestOpenImmutableFile(t *testing.T) {
	path := image(t, t.TempDir(), 8192)
	fd, err := unix.Open(path, unix.O_RDONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	const immutable = 0x10 // FS_IMMUTABLE_FL
	flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|immutable)
	}
	if err != nil {
		t.Skipf("SKIPPED, can't make a file immutable here: %v", err)
	}
	defer unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags)
	refused(t, path, Options{}, ReadOnlyFile, "immutable", "--read_only")
	mustOpen(t, path, Options{ReadOnly: true}).Close()
}

func TestOpenReadOnlyDevice(t *testing.T) {
	dev := loopDevice(t, 1<<20, 512, "--read-only")
	refused(t, dev, Options{}, ReadOnlyFile, "device is read-only", "--read_only")
	f := mustOpen(t, dev, Options{ReadOnly: true})
	if f.Size() != 1<<20 {
		t.Errorf("size %d", f.Size())
	}
	f.Close()
}

// A device that somebody holds exclusively, as a mount does, is refused.
func TestOpenDeviceInUse(t *testing.T) {
	dev := loopDevice(t, 1<<20, 512)
	first := mustOpen(t, dev, Options{})
	refused(t, dev, Options{}, InUse, "in use", "--read_only")
	mustOpen(t, dev, Options{ReadOnly: true}).Close()
	first.Close()
	mustOpen(t, dev, Options{}).Close()
}

// The end of a size that O_DIRECT can't reach would be lost without a word.
func TestOpenDirectNeedsReachableSize(t *testing.T) {
	dev := loopDevice(t, 16<<20, 4096)
	dir := t.TempDir()
	if !makeExt4(t, dev, dir) {
		return
	}
	path := image(t, dir, 3*512)
	refused(t, path, Options{Direct: true}, NoDirect, "multiple of 4096", "1536", "--direct")
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, path, Options{Direct: true})
	if f.Alignment() != 4096 {
		t.Errorf("alignment %d", f.Alignment())
	}
	if _, err := f.WriteAt(fillBytes(512, 7), 8192-512); err != nil {
		t.Error(err)
	}
	if err := os.Truncate(path, 8192+512); err != nil {
		t.Fatal(err)
	}
	if n, err := f.Refresh(); n != 8192 || err != nil || f.Tail() != 512 {
		t.Errorf("Refresh() = %d, %v; Tail() = %d", n, err, f.Tail())
	}
	f.Close()
	if b := content(t, path); b[8191] != 7 || b[8191-512] != 0 || len(b) != 8192+512 {
		t.Error("the last block is wrong")
	}
}

func TestOptionsDefaults(t *testing.T) {
	f := newFile(t, 1000, Options{})
	if f.opts.BlockSize != 512 || f.Size() != 512 || f.Tail() != 488 {
		t.Errorf("block %d, size %d, tail %d", f.opts.BlockSize, f.Size(), f.Tail())
	}
	if OpenErrorKind(99).String() == "" || Empty.String() != "empty" {
		t.Error("names of kinds")
	}
}
