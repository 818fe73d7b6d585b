package fileio

import (
	"bytes"
	"io"
	"os"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// fromSource reads what TryFile points to.
func fromSource(t *testing.T, f *File, off, n int64) ([]byte, error) {
	t.Helper()
	r, ok := f.TryFile(off, n)
	if !ok {
		t.Fatalf("%d bytes at %d: they are said not to be in memory", n, off)
	}
	p := make([]byte, n)
	var failed error
	err := r.Source.Control(func(fd uintptr) { _, failed = unix.Pread(int(fd), p, r.Off) })
	if err != nil {
		return nil, err
	}
	return p, failed
}

func TestTryFileIsForWhatIsInMemory(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	want := fillBytes(1<<20, 'r')
	if _, err := f.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	for _, r := range [][2]int64{{0, 1 << 20}, {4096, 65536}, {512, 70_000}, {1<<20 - 1, 1}} {
		if got, err := fromSource(t, f, r[0], r[1]); err != nil || !bytes.Equal(got, want[r[0]:][:r[1]]) {
			t.Errorf("%d bytes at %d: %v, or other bytes", r[1], r[0], err)
		}
	}
	for _, r := range [][2]int64{{0, 0}, {0, 1<<20 + 1}, {1 << 20, 1}, {-1, 2}, {1 << 62, 1 << 62}} {
		if _, ok := f.TryFile(r[0], r[1]); ok {
			t.Errorf("%d bytes at %d are said to be in memory", r[1], r[0])
		}
	}
	cold(t, f)
	if _, ok := f.TryFile(0, 1<<20); ok {
		t.Skip("SKIPPED the rest: this file system keeps its pages")
	}
	if err := unix.Fadvise(f.fd, 0, 0, unix.FADV_RANDOM); err != nil { // no readahead
		t.Fatal(err)
	}
	for _, r := range [][2]int64{{64 << 10, 128 << 10}, {0, 4096}, {508 << 10, 4096}} {
		if _, err := f.ReadAt(make([]byte, r[1]), r[0]); err != nil {
			t.Fatal(err)
		}
	}
	for _, tt := range []struct {
		off, n int64
		want   bool
	}{
		{64 << 10, 128 << 10, true}, {65 << 10, 126 << 10, true},
		{0, 512 << 10, false}, // both ends are there, and a part in between is not
		{63 << 10, 128 << 10, false}, {64 << 10, 129 << 10, false}, {4096, 4096, false}, {0, 4096, true}, {0, 1 << 20, false},
	} {
		if _, ok := f.TryFile(tt.off, tt.n); ok != tt.want {
			t.Errorf("%d bytes at %d: %v, want %v", tt.n, tt.off, ok, tt.want)
		}
	}
}

func TestTryFileWhereItCanNotBeKnown(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	asked := 0
	f.sys.inCache = func([]byte) (bool, error) {
		asked++
		return false, unix.ENOSYS
	}
	for range 2 {
		if _, ok := f.TryFile(0, 4096); ok {
			t.Error("it is said to be in memory")
		}
	}
	if asked != 1 {
		t.Errorf("the kernel was asked %d times, want once", asked)
	}
	f = newFile(t, 1<<20, Options{})
	f.opts.Direct = true
	if _, ok := f.TryFile(0, 4096); ok {
		t.Error("direct I/O goes past the page cache")
	}
}

// What is still to be sent when the file is closed is an error, and never
// another file's bytes.
func TestTryFileEndsWithTheFile(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	if _, err := f.WriteAt(fillBytes(4096, 'x'), 0); err != nil {
		t.Fatal(err)
	}
	r, ok := f.TryFile(0, 4096)
	if !ok {
		t.Fatal("it is said not to be in memory")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	other, err := os.CreateTemp(t.TempDir(), "") // takes the descriptor's number
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := io.WriteString(other, "secret"); err != nil {
		t.Fatal(err)
	}
	if err := r.Source.Control(func(fd uintptr) { t.Errorf("descriptor %d is handed out", fd) }); err == nil {
		t.Error("no error from a closed file")
	}
	if _, ok := f.TryFile(0, 4096); ok {
		t.Error("a closed file has bytes")
	}
}

// Somebody who is sending keeps the descriptor from being used again.
func TestCloseLeavesTheSenderItsDescriptor(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	want := fillBytes(4096, 'y')
	if _, err := f.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	r, ok := f.TryFile(0, 4096)
	if !ok {
		t.Fatal("it is said not to be in memory")
	}
	err := r.Source.Control(func(fd uintptr) {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		got := make([]byte, 4096)
		if n, err := unix.Pread(int(fd), got, 0); err != nil || !bytes.Equal(got[:n], want) {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
}

// A file that has grown is mapped anew; one that has become shorter has nothing
// where it ends.
func TestTryFileFollowsTheSize(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	if _, err := f.WriteAt(fillBytes(1<<20, 'a'), 0); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.TryFile(0, 1<<20); !ok {
		t.Fatal("it is said not to be in memory")
	}
	if err := unix.Ftruncate(f.fd, 2<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Refresh(); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(fillBytes(1<<20, 'b'), 1<<20); err != nil {
		t.Fatal(err)
	}
	if got, err := fromSource(t, f, 1<<20, 1<<20); err != nil || !bytes.Equal(got, fillBytes(1<<20, 'b')) {
		t.Errorf("what has grown: %v, or other bytes", err)
	}
	if err := unix.Ftruncate(f.fd, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, ok := f.TryFile(1<<20, 4096); ok {
		t.Error("what has been cut off is said to be in memory")
	}
	if _, ok := f.TryFile(0, 1<<20); !ok {
		t.Error("what is left is said not to be in memory")
	}
}

// On a tmpfs a write waits for whoever has the file's lock: the scheduler has to
// know, if somebody has it for long.
func TestWritesToMemoryAreQuickUnlessOneHoldsTheLock(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	f.memory = true
	var quick []bool
	f.sys.writeMemory = func(_ int, p []byte, _ int64, q bool) (int, error) {
		quick = append(quick, q)
		return len(p), nil
	}
	f.sys.fallocate = func(int, uint32, int64, int64) error { return f.TryWriteAt(make([]byte, 4096), 0) }
	for _, do := range []func() error{
		func() error { return f.TryWriteAt(make([]byte, 4096), 0) },
		func() error { return f.Punch(0, 1<<19) },
		func() error { return f.TryWriteAt(make([]byte, 128<<10), 0) },
		func() error { return f.TryWriteAt(make([]byte, 4096), 0) },
	} {
		if err := do(); err != nil {
			t.Fatal(err)
		}
	}
	if want := []bool{true, false, false, true}; !slices.Equal(quick, want) {
		t.Errorf("quick: %v, want %v", quick, want)
	}
	if n := f.holders.Load(); n != 0 {
		t.Errorf("%d holders are left", n)
	}
}

func BenchmarkTryFile(b *testing.B) {
	f := newFile(b, 1<<20, Options{})
	if _, err := f.WriteAt(fillBytes(1<<20, 'r'), 0); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := f.TryFile(0, 1<<20); !ok {
			b.Fatal("not in memory")
		}
	}
}
