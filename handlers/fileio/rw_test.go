package fileio

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"golang.org/x/sys/unix"
)

// stutter makes a system call move odd numbers of bytes and be interrupted.
func stutter(call func(int, []byte, int64) (int, error)) func(int, []byte, int64) (int, error) {
	r := rand.New(rand.NewPCG(1, 2))
	return func(fd int, p []byte, off int64) (int, error) {
		if r.IntN(3) == 0 {
			return 0, unix.EINTR
		}
		if len(p) > 1 {
			p = p[:1+r.IntN(len(p))]
		}
		return call(fd, p, off)
	}
}

// Short and interrupted system calls are continued.
func TestShortAndInterruptedCalls(t *testing.T) {
	for _, o := range []Options{{}, {WriteThrough: true}} {
		f := newFile(t, 64<<10, o)
		f.sys.pread = stutter(unix.Pread)
		f.sys.pwrite = stutter(unix.Pwrite)
		f.sys.pwriteDsync = stutter(pwriteDsync)
		want := make([]byte, 30000)
		for i := range want {
			want[i] = byte(i % 251)
		}
		if n, err := f.WriteAt(want, 777); n != len(want) || err != nil {
			t.Fatalf("WriteAt: %d, %v", n, err)
		}
		got := make([]byte, len(want))
		if n, err := f.ReadAt(got, 777); n != len(got) || err != nil {
			t.Fatalf("ReadAt: %d, %v", n, err)
		}
		if !bytes.Equal(got, want) {
			t.Error("the bytes differ")
		}
	}
}

// With O_DIRECT a short call is continued from a sector's start.
func TestShortDirectCalls(t *testing.T) {
	f := newFile(t, 64<<10, Options{Direct: true})
	calls := 0
	short := func(call func(int, []byte, int64) (int, error)) func(int, []byte, int64) (int, error) {
		return func(fd int, p []byte, off int64) (int, error) {
			n, err := call(fd, p, off)
			if calls++; err == nil && n > f.align {
				n -= f.align/2 + 1
			}
			return n, err
		}
	}
	f.sys.pread, f.sys.pwrite = short(unix.Pread), short(unix.Pwrite)
	want := fillBytes(10*f.align, 'w')
	if n, err := f.WriteAt(want, 0); n != len(want) || err != nil {
		t.Fatalf("WriteAt: %d, %v", n, err)
	}
	got := make([]byte, len(want))
	if n, err := f.ReadAt(got, 0); n != len(got) || err != nil || !bytes.Equal(got, want) {
		t.Fatalf("ReadAt: %d, %v", n, err)
	}
	if calls < 4 {
		t.Errorf("%d calls: the test tests nothing", calls)
	}
}

// An error in the middle comes with what was done before it, and no call that
// makes no progress is repeated for ever.
func TestErrorsInTheMiddle(t *testing.T) {
	first := func(p []byte) func(int, []byte, int64) (int, error) {
		calls := 0
		return func(_ int, p []byte, _ int64) (int, error) {
			if calls++; calls == 1 {
				return 1000, nil
			}
			return 0, unix.EIO
		}
	}
	f := newFile(t, 64<<10, Options{})
	p := make([]byte, 4096)
	f.sys.pread, f.sys.pwrite, f.sys.pwriteDsync = first(p), first(p), first(p)
	for name, op := range map[string]func([]byte, int64) (int, error){
		"ReadAt": f.ReadAt, "WriteAt": f.WriteAt, "WriteAtDurable": f.WriteAtDurable,
	} {
		if n, err := op(p, 0); n != 1000 || !errors.Is(err, unix.EIO) {
			t.Errorf("%s: %d, %v, want 1000, EIO", name, n, err)
		}
	}
	f.sys.pwrite = func(int, []byte, int64) (int, error) { return 0, nil }
	if n, err := f.WriteAt(p, 0); n != 0 || !errors.Is(err, io.ErrShortWrite) {
		t.Errorf("write without progress: %d, %v", n, err)
	}
}

// A system without RWF_DSYNC gets a write and an fdatasync.
func TestDurableWithoutDsync(t *testing.T) {
	f := newFile(t, 64<<10, Options{})
	dsyncs, syncs := 0, 0
	f.sys.pwriteDsync = func(int, []byte, int64) (int, error) { dsyncs++; return 0, unix.EOPNOTSUPP }
	f.sys.fdatasync = func(fd int) error { syncs++; return unix.Fdatasync(fd) }
	for range 3 {
		if n, err := f.WriteAtDurable(fillBytes(4096, 'd'), 0); n != 4096 || err != nil {
			t.Fatal(n, err)
		}
	}
	if dsyncs != 1 || syncs != 3 {
		t.Errorf("%d attempts and %d syncs, want 1 and 3", dsyncs, syncs)
	}
	if content(t, f.path)[0] != 'd' {
		t.Error("nothing was written")
	}
}

func TestReadOnlyRefusesChanges(t *testing.T) {
	f := newFile(t, 8192, Options{ReadOnly: true})
	p := make([]byte, 512)
	_, err := f.WriteAt(p, 0)
	_, errDurable := f.WriteAtDurable(p, 0)
	for name, err := range map[string]error{
		"WriteAt": err, "WriteAtDurable": errDurable,
		"TryWriteAt": f.TryWriteAt(p, 0), "Punch": f.Punch(0, 512), "Zero": f.Zero(0, 512),
	} {
		if !errors.Is(err, ErrReadOnly) || !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v, want ErrReadOnly", name, err)
		}
	}
	if err := f.Sync(); err != nil || !f.ReadOnly() {
		t.Errorf("Sync: %v", err)
	}
}
