package fileio

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestRefreshFollowsTheFile(t *testing.T) {
	path := image(t, t.TempDir(), 8192)
	f := mustOpen(t, path, Options{})
	for _, n := range []int64{8192 + 700, 4096, 100, 0, 1 << 20} {
		if err := os.Truncate(path, n); err != nil {
			t.Fatal(err)
		}
		before := f.Size()
		if _, err := f.ReadAt(nil, before); err != nil {
			t.Errorf("the size changed without Refresh: %v", err)
		}
		got, err := f.Refresh()
		if want := n / 512 * 512; got != want || err != nil || f.Size() != want || f.Tail() != n%512 {
			t.Errorf("%d bytes: Refresh() = %d, %v; Tail() = %d", n, got, err, f.Tail())
		}
	}
}

// The bytes behind the last whole block are nobody's.
func TestTailIsNeverTouched(t *testing.T) {
	path := image(t, t.TempDir(), 1024+100)
	if err := os.WriteFile(path, fillBytes(1024+100, 'x'), 0o600); err != nil {
		t.Fatal(err)
	}
	f := mustOpen(t, path, Options{})
	if _, err := f.WriteAt(fillBytes(1024, 'y'), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Punch(0, 1024); err != nil {
		t.Fatal(err)
	}
	for _, off := range []int64{1, 1024, 1030} {
		if _, err := f.WriteAt(fillBytes(1024, 'z'), off); !errors.Is(err, ErrRange) {
			t.Errorf("write at %d: %v", off, err)
		}
	}
	if got := content(t, path); string(got[1024:]) != strings.Repeat("x", 100) || len(got) != 1124 {
		t.Errorf("the tail is %q", got[1024:])
	}
}

// A file that somebody made shorter has no bytes to give: an error, not zeroes.
func TestTruncatedBehindOurBack(t *testing.T) {
	for _, o := range []Options{{}, {Direct: true}} {
		path := image(t, t.TempDir(), 64<<10)
		f := mustOpen(t, path, o)
		if err := os.Truncate(path, 8192+1000); err != nil {
			t.Fatal(err)
		}
		p := fillBytes(32<<10, 'x')
		n, err := f.ReadAt(p, 4096)
		if !errors.Is(err, ErrTruncated) || !errors.Is(err, unix.EIO) || !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("%+v: read %d, %v, want ErrTruncated", o, n, err)
		}
		if n > 4096+1000 {
			t.Errorf("%+v: claims %d bytes", o, n)
		}
		if err := f.TryReadAt(p, 16<<10); err == nil {
			t.Errorf("%+v: TryReadAt of bytes that are gone succeeded", o)
		}
		if e, err := f.NextExtent(16 << 10); !errors.Is(err, ErrTruncated) {
			t.Errorf("%+v: NextExtent of bytes that are gone: %+v, %v", o, e, err)
		}
		if e, err := f.NextExtent(0); err != nil || e.Off+e.Len > 8192+1000 {
			t.Errorf("%+v: NextExtent: %+v, %v", o, e, err)
		}
		if n, err := f.ReadAt(p[:8192], 0); n != 8192 || err != nil {
			t.Errorf("%+v: what is left: %d, %v", o, n, err)
		}
		f.Close()
	}
}

func TestCloseTwice(t *testing.T) {
	f := newFile(t, 4096, Options{})
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); !errors.Is(err, os.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	// No other file's bytes, whatever got the number of the closed one.
	if _, err := f.ReadAt(make([]byte, 512), 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("ReadAt after Close: %v", err)
	}
}

func TestDescribe(t *testing.T) {
	f := newFile(t, 4096, Options{})
	if got := f.Describe(); got != f.path+" (regular file)" {
		t.Error(got)
	}
	d := mustOpen(t, loopDevice(t, 1<<20, 512), Options{})
	if got := d.Describe(); got != d.path+" (block device)" {
		t.Error(got)
	}
	d.Close()
}

// A full file system says ENOSPC, and space given back can be used again.
func TestNoSpace(t *testing.T) {
	dir := tinyFS(t, 64<<10, "")
	f := mustOpen(t, image(t, dir, 1<<20), Options{})
	defer f.Close()
	p := fillBytes(32<<10, 'x')
	for off := int64(0); ; off += int64(len(p)) {
		n, err := f.WriteAt(p, off)
		if err == nil {
			continue
		}
		if !errors.Is(err, unix.ENOSPC) {
			t.Fatalf("WriteAt(%d) = %d, %v, want ENOSPC", off, n, err)
		}
		if n, err := f.WriteAtDurable(p, 512<<10); !errors.Is(err, unix.ENOSPC) || n == len(p) {
			t.Errorf("WriteAtDurable: %d, %v", n, err)
		}
		break
	}
	if err := f.TryWriteAt(p, 900<<10); err == nil {
		t.Error("TryWriteAt without space succeeded")
	}
	// ENOSPC is no lost write: durability goes on.
	if err := f.Sync(); err != nil {
		t.Errorf("Sync: %v", err)
	}
	if err := f.Punch(0, 1<<20); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAtDurable(p, 512<<10); err != nil {
		t.Errorf("after Punch: %v", err)
	}
}
