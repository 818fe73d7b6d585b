package fileio

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"scstuser/handlers"

	"golang.org/x/sys/unix"
)

// cold drops the file's pages from the page cache.
func cold(t *testing.T, f *File) {
	t.Helper()
	if err := errors.Join(unix.Fsync(f.fd), unix.Fadvise(f.fd, 0, 0, unix.FADV_DONTNEED)); err != nil {
		t.Fatal(err)
	}
}

func wouldBlock(err error) bool { return errors.Is(err, handlers.ErrWouldBlock) }

func TestTryReadAtReadsOnlyWhatIsInMemory(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	want := fillBytes(1<<20, 'r')
	if _, err := f.WriteAt(want, 0); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 4096, 128 << 10} {
		cold(t, f)
		p := make([]byte, n)
		err := f.TryReadAt(p, 8192)
		if err == nil {
			t.Skip("SKIPPED: this file system keeps its pages")
		}
		if !wouldBlock(err) {
			t.Fatalf("cold: %v, want ErrWouldBlock", err)
		}
		if _, err := f.ReadAt(p, 8192); err != nil {
			t.Fatal(err)
		}
		clear(p)
		if err := f.TryReadAt(p, 8192); err != nil || !bytes.Equal(p, want[:n]) {
			t.Errorf("warm, %d bytes: %v", n, err)
		}
	}
	// Half of it in memory is not enough.
	cold(t, f)
	if err := unix.Fadvise(f.fd, 0, 0, unix.FADV_RANDOM); err != nil { // no readahead
		t.Fatal(err)
	}
	if _, err := f.ReadAt(make([]byte, 4096), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.TryReadAt(make([]byte, 64<<10), 0); !wouldBlock(err) {
		t.Errorf("partly cold: %v, want ErrWouldBlock", err)
	}
}

func TestTryWriteAtWaitsForNoRead(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	if _, err := f.WriteAt(fillBytes(1<<20, 'o'), 0); err != nil {
		t.Fatal(err)
	}
	cold(t, f)
	if err := f.TryReadAt(make([]byte, 1), 0); err == nil {
		t.Skip("SKIPPED: this file system keeps its pages")
	}
	const page = 4096
	for _, r := range []struct{ off, n int }{
		{0, 512}, {512, page}, {page - 1, 2}, {10*page + 512, page - 512 + 100}, {20 * page, page + 1},
	} {
		if err := f.TryWriteAt(fillBytes(r.n, 'n'), int64(r.off)); !wouldBlock(err) {
			t.Errorf("%d bytes at %d, part of a cold page: %v, want ErrWouldBlock", r.n, r.off, err)
		}
		cold(t, f)
	}
	if !bytes.Equal(content(t, f.path), fillBytes(1<<20, 'o')) {
		t.Error("something was written")
	}
	cold(t, f)
	if err := f.TryWriteAt(fillBytes(2*page, 'n'), 4*page); err != nil {
		t.Errorf("whole pages: %v", err)
	}
	if err := f.TryWriteAt(fillBytes(100, 'm'), 4*page+50); err != nil {
		t.Errorf("part of a page in memory: %v", err)
	}
	b := content(t, f.path)
	if b[4*page] != 'n' || b[4*page+50] != 'm' || b[6*page] != 'o' {
		t.Error("the bytes are wrong")
	}
}

func TestTryNeverWaitsForADevice(t *testing.T) {
	p := make([]byte, 4096)
	for _, tc := range []struct {
		o           Options
		read, write bool // possible
	}{
		{Options{}, true, true},
		{Options{NVCache: true}, true, true},
		{Options{WriteThrough: true}, true, false},
		{Options{Direct: true}, false, false},
	} {
		f := newFile(t, 64<<10, tc.o)
		if _, err := f.WriteAt(p, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.TryReadAt(p, 0); (err == nil) != tc.read || (err != nil && !wouldBlock(err)) {
			t.Errorf("%+v: read: %v", tc.o, err)
		}
		if err := f.TryWriteAt(p, 0); (err == nil) != tc.write || (err != nil && !wouldBlock(err)) {
			t.Errorf("%+v: write: %v", tc.o, err)
		}
		f.Close()
	}
	f := newFile(t, 2<<20, Options{})
	if err := f.TryWriteAt(make([]byte, inlineWriteMax+1), 0); !wouldBlock(err) {
		t.Errorf("a long write: %v", err)
	}
}

// A write that had to wait after all is a warning: the next ones don't try.
func TestTryWriteAtLosesPatience(t *testing.T) {
	f := newFile(t, 1<<20, Options{})
	p := fillBytes(4096, 'p')
	if _, err := f.WriteAt(p, 0); err != nil {
		t.Fatal(err)
	}
	f.noNowaitWrite.Store(true) // as on a file system that does not know it
	slow := false
	f.sys.pwrite = func(fd int, p []byte, off int64) (int, error) {
		if slow {
			time.Sleep(2 * inlineBudget)
		}
		return unix.Pwrite(fd, p, off)
	}
	// A busy machine may make any write slow.
	for try := 0; f.TryWriteAt(p, 0) != nil; try++ {
		if try == 100 {
			t.Fatal("no write is quick enough")
		}
		time.Sleep(busyTime)
	}
	slow = true
	f.patience.busyUntil.Store(0)
	if err := f.TryWriteAt(p, 0); err != nil {
		t.Errorf("the one that waits: %v", err)
	}
	if err := f.TryWriteAt(p, 0); !wouldBlock(err) {
		t.Errorf("the one after it: %v", err)
	}
	if _, err := f.WriteAt(p, 0); err != nil {
		t.Errorf("a worker's: %v", err)
	}
	time.Sleep(busyTime)
	if err := f.TryWriteAt(p, 0); err != nil {
		t.Errorf("when it is over: %v", err)
	}
}

// What the file system doesn't have is asked for once.
func TestNowaitSupportIsRemembered(t *testing.T) {
	f := newFile(t, 64<<10, Options{})
	reads, writes := 0, 0
	f.sys.readNowait = func(int, []byte, int64) (int, error) { reads++; return 0, unix.EOPNOTSUPP }
	f.sys.writeNowait = func(int, []byte, int64) (int, error) { writes++; return 0, unix.EOPNOTSUPP }
	p := make([]byte, 4096)
	for range 3 {
		if err := f.TryReadAt(p, 0); !wouldBlock(err) {
			t.Error(err)
		}
		if err := f.TryWriteAt(p, 0); err != nil {
			t.Error(err)
		}
	}
	if reads != 1 || writes != 1 {
		t.Errorf("asked %d and %d times, want once each", reads, writes)
	}
	// Whether a page is in memory can't be known then.
	if err := f.TryWriteAt(p[:100], 0); !wouldBlock(err) {
		t.Errorf("part of a page: %v", err)
	}
}

// A file system with RWF_NOWAIT for writes is believed.
func TestNowaitWriteIsBelieved(t *testing.T) {
	f := newFile(t, 64<<10, Options{})
	n, err := 0, error(unix.EAGAIN)
	f.sys.writeNowait = func(int, []byte, int64) (int, error) { return n, err }
	f.sys.pwrite = func(int, []byte, int64) (int, error) { t.Error("plain write"); return 0, unix.EIO }
	p := make([]byte, 4096)
	if err := f.TryWriteAt(p, 0); !wouldBlock(err) {
		t.Errorf("EAGAIN: %v", err)
	}
	n, err = 100, nil
	if err := f.TryWriteAt(p, 0); !wouldBlock(err) {
		t.Errorf("short: %v", err)
	}
	n = 4096
	if err := f.TryWriteAt(p, 0); err != nil {
		t.Error(err)
	}
}

func TestTryOnMemoryFileSystem(t *testing.T) {
	f := mustOpen(t, image(t, memoryDir(t), 64<<10), Options{})
	if !f.memory {
		t.Fatal("tmpfs isn't recognised")
	}
	p := fillBytes(4096, 'm')
	if err := f.TryWriteAt(p[:100], 50); err != nil {
		t.Error(err)
	}
	if err := f.TryReadAt(p, 0); err != nil || p[0] != 0 || p[50] != 'm' {
		t.Error(err)
	}
}

// A device's node is on a memory file system; the device isn't.
func TestDeviceIsNoMemory(t *testing.T) {
	f := mustOpen(t, loopDevice(t, 1<<20, 512), Options{})
	if f.memory {
		t.Error("a block device is taken for a memory file")
	}
	p := make([]byte, 4096)
	if _, err := f.ReadAt(p, 0); err != nil {
		t.Fatal(err)
	}
	if err := f.TryReadAt(p, 0); err != nil {
		t.Errorf("warm: %v", err)
	}
}
