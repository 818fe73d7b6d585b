package fileio

import (
	"bytes"
	"errors"
	"os"
	"testing"
	"time"

	"scstuser/handlers"

	"golang.org/x/sys/unix"
)

func blocks(t *testing.T, f *File) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}

// skipUnsupported ends the test if the file system here lacks the operation.
func skipUnsupported(t *testing.T, err error) {
	t.Helper()
	if errors.Is(err, handlers.ErrNotSupported) {
		t.Skipf("SKIPPED, this file system can't: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestPunchGivesSpaceBackAndZeroTakesIt(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	if _, err := f.WriteAt(fillBytes(1<<20, 'x'), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	full := blocks(t, f)
	skipUnsupported(t, f.Punch(64<<10, 512<<10))
	if got := blocks(t, f); got > full-(512<<10) {
		t.Errorf("%d bytes allocated after Punch, %d before", got, full)
	}
	e, err := f.NextExtent(64 << 10)
	if want := (handlers.Extent{Off: 64 << 10, Len: 512 << 10, Hole: true}); e != want || err != nil {
		t.Errorf("NextExtent = %+v, %v, want %+v", e, err, want)
	}
	skipUnsupported(t, f.Zero(64<<10, 512<<10))
	if got := blocks(t, f); got < full {
		t.Errorf("%d bytes allocated after Zero, want %d", got, full)
	}
	if b := content(t, f.path); len(b) != 1<<20 || !bytes.Equal(b[64<<10:576<<10], make([]byte, 512<<10)) {
		t.Error("the bytes are wrong")
	}
}

func TestMapOfASparseFile(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	if _, err := f.WriteAt(fillBytes(4096, 'x'), 64<<10); err != nil {
		t.Fatal(err)
	}
	var got []handlers.Extent
	for off := int64(0); off < f.Size(); {
		e, err := f.NextExtent(off)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, e)
		off += e.Len
	}
	want := []handlers.Extent{
		{Off: 0, Len: 64 << 10, Hole: true}, {Off: 64 << 10, Len: 4096}, {Off: 68 << 10, Len: 1<<20 - 68<<10, Hole: true},
	}
	if len(got) != len(want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Errorf("extent %d is %+v, want %+v", i, got[i], want[i])
		}
	}
}

func TestDeviceIsAllData(t *testing.T) {
	f := mustOpen(t, loopDevice(t, 1<<20, 512), Options{})
	e, err := f.NextExtent(4096)
	if want := (handlers.Extent{Off: 4096, Len: 1<<20 - 4096}); e != want || err != nil {
		t.Errorf("%+v, %v, want %+v", e, err, want)
	}
	if g := f.PunchGranularity(); g < 512 {
		t.Errorf("granularity %d", g)
	}
}

// What the medium doesn't have is asked for once, and nothing is done.
func TestFallocateSupportIsRemembered(t *testing.T) {
	f := newFile(t, 64<<10, Options{})
	if _, err := f.WriteAt(fillBytes(64<<10, 'x'), 0); err != nil {
		t.Fatal(err)
	}
	f.zeroGrain = 4096 // with edges to write, had it worked
	var modes []uint32
	f.sys.fallocate = func(_ int, mode uint32, _, _ int64) error {
		modes = append(modes, mode)
		return unix.EOPNOTSUPP
	}
	for range 3 {
		if err := f.Punch(100, 20000); !errors.Is(err, handlers.ErrNotSupported) {
			t.Errorf("Punch: %v", err)
		}
		if err := f.Zero(100, 20000); !errors.Is(err, handlers.ErrNotSupported) {
			t.Errorf("Zero: %v", err)
		}
	}
	if len(modes) != 2 || modes[0] != punchMode || modes[1] != zeroMode {
		t.Errorf("asked %x", modes)
	}
	if !bytes.Equal(content(t, f.path), fillBytes(64<<10, 'x')) {
		t.Error("something was zeroed")
	}
}

func TestFallocateErrorsPassThrough(t *testing.T) {
	f := newFile(t, 64<<10, Options{})
	for _, errno := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EIO, unix.EPERM} {
		calls := 0
		f.sys.fallocate = func(int, uint32, int64, int64) error {
			if calls++; calls == 1 {
				return unix.EINTR
			}
			return errno
		}
		if err := f.Zero(0, 4096); !errors.Is(err, errno) || calls != 2 {
			t.Errorf("%d calls, %v, want %v", calls, err, errno)
		}
	}
}

// A device wants whole sectors; the parts at the ends are written.
func TestFallocateOfPartialSectors(t *testing.T) {
	for _, tc := range []struct{ off, n, in, size int64 }{
		{4096, 4096, 4096, 4096}, {100, 20000, 4096, 12288}, {5000, 100, 0, 0}, {4096, 5000, 4096, 4096}, {100, 8092, 4096, 4096},
		{4000, 200, 0, 0},
	} {
		f := newFile(t, 64<<10, Options{})
		if _, err := f.WriteAt(fillBytes(64<<10, 'x'), 0); err != nil {
			t.Fatal(err)
		}
		f.zeroGrain = 4096
		var off, n int64
		f.sys.fallocate = func(fd int, mode uint32, o, l int64) error {
			off, n = o, l
			return unix.Fallocate(fd, mode, o, l)
		}
		skipUnsupported(t, f.Punch(tc.off, tc.n))
		if off != tc.in || n != tc.size {
			t.Errorf("%+v: fallocate of %d at %d", tc, n, off)
		}
		want := fillBytes(64<<10, 'x')
		clear(want[tc.off : tc.off+tc.n])
		if !bytes.Equal(content(t, f.path), want) {
			t.Errorf("%+v: the bytes are wrong", tc)
		}
		f.Close()
	}
}

// With WriteThrough a change of the space is as durable as a write.
func TestWriteThroughSpace(t *testing.T) {
	f := newFile(t, 64<<10, Options{WriteThrough: true})
	syncs := 0
	f.sys.fdatasync = func(fd int) error { syncs++; return unix.Fdatasync(fd) }
	skipUnsupported(t, f.Punch(0, 4096))
	skipUnsupported(t, f.Zero(0, 4096))
	if syncs != 2 {
		t.Errorf("%d syncs, want 2", syncs)
	}
}

func TestPrefetchReads(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	if _, err := f.WriteAt(fillBytes(1<<20, 'x'), 0); err != nil {
		t.Fatal(err)
	}
	cold(t, f)
	p := make([]byte, 4096)
	if f.TryReadAt(p, 512<<10) == nil {
		t.Skip("SKIPPED: this file system keeps its pages")
	}
	if err := f.Prefetch(512<<10, 4096); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(10 * time.Second)
	for f.TryReadAt(p, 512<<10) != nil {
		if time.Now().After(deadline) {
			t.Fatal("the page didn't come")
		}
		time.Sleep(time.Millisecond)
	}
	// Zero bytes are not "to the end".
	cold(t, f)
	if err := f.Prefetch(0, 0); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Millisecond)
	if f.TryReadAt(p, 0) == nil {
		t.Error("Prefetch of nothing read something")
	}
}

func TestRefreshAfterClose(t *testing.T) {
	f := newFile(t, 4096, Options{})
	f.Close()
	if _, err := f.Refresh(); !errors.Is(err, unix.EBADF) || f.Size() != 4096 {
		t.Errorf("Refresh: %v; Size() = %d", err, f.Size())
	}
	if _, err := os.Stat(f.path); err != nil {
		t.Error(err)
	}
}
