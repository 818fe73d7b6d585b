package fusenode

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	sbc "scstuser/handlers/disk"
	"scstuser/handlers/fileio"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// fileDisk is the tree's initiator on a device over a sparse file of 1 MiB,
// whose handler is in this process.
func fileDisk(t *testing.T, readOnly bool) *diskUnderTest {
	t.Helper()
	path := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 1<<20); err != nil {
		t.Fatal(err)
	}
	backing, err := fileio.Open(path, fileio.Options{BlockSize: 512, ReadOnly: readOnly})
	if err != nil {
		t.Fatal(err)
	}
	h, err := sbc.New(backing, sbc.Options{Name: "d", BlockSize: 512, ReadOnly: readOnly})
	if err != nil {
		t.Fatal(err)
	}
	a := arena.New(arena.Options{MaxBytes: 64 << 20})
	dev, err := ucmd.NewRegistry(ucmd.Limits{}).Register(ucmd.Desc{Name: "d", BlockSize: 512,
		Opt: ucmd.Opt{OnFree: uint8(ucmd.OnFreeIgnore), Reuse: uint8(ucmd.ReuseAll), TST: 1, QueueAlg: 1}}, handlers.Memory{Arena: a}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- handlers.Serve(ctx, dev, h, handlers.Options{Arena: a, Threads: 2, BlockSize: 512}) }()
	o := Options{Dir: "x", Linger: time.Millisecond}
	o.EnsureDefaults()
	d := newDisk(dev, &o)
	if err := d.enter(context.Background()); err != nil {
		t.Fatal(err)
	}
	c, err := d.capacity(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		d.leave()
		stop()
		if err := errors.Join(<-served, dev.Close(context.Background()), backing.Close()); err != nil {
			t.Error(err)
		}
		if err := a.Close(); err != nil && !errors.Is(err, arena.ErrLive) { // idle buffers may be left
			t.Error(err)
		}
	})
	return &diskUnderTest{d, c}
}

type diskUnderTest struct {
	*disk
	cap scsi.Capacity
}

// Reads and writes at all sorts of places agree with plain memory, and stop at
// the end.
func TestDiskIO(t *testing.T) {
	d, ctx := fileDisk(t, false), context.Background()
	model := make([]byte, 1<<20)
	for i, at := range []int{0, 1, 511, 512, 1000, 4096, 65535, 1<<20 - 513, 1<<20 - 1} {
		n := min(1+i*1777%9000, len(model)-at)
		p := bytes.Repeat([]byte{byte(i + 1)}, n)
		copy(model[at:], p)
		if k, err := d.writeAt(ctx, d.cap, p, int64(at)); k != n || err != nil {
			t.Fatalf("write %d at %d: %d %v", n, at, k, err)
		}
	}
	for at := 0; at < len(model); at += 99991 {
		got := make([]byte, 70001)
		n, err := d.readAt(ctx, d.cap, got, int64(at))
		if want := model[at:min(at+len(got), len(model))]; err != nil || !bytes.Equal(got[:n], want) {
			t.Fatalf("read at %d: %d bytes, %v, or other bytes", at, n, err)
		}
	}
	if n, err := d.readAt(ctx, d.cap, make([]byte, 10), 1<<20); n != 0 || err != nil {
		t.Errorf("read at the end: %d %v", n, err)
	}
	if n, err := d.writeAt(ctx, d.cap, make([]byte, 10), 1<<20); n != 0 || err != syscall.ENOSPC {
		t.Errorf("write at the end: %d %v", n, err)
	}
	if n, err := d.writeAt(ctx, d.cap, make([]byte, 10), 1<<20-4); n != 4 || err != nil {
		t.Errorf("write over the end: %d %v", n, err)
	}
}

// Holes: where they are, how they are made, and zeroes.
func TestDiskSpace(t *testing.T) {
	d, ctx := fileDisk(t, false), context.Background()
	if !d.cap.LBPME {
		t.Skip("NOT TESTED: no sparse files here")
	}
	if _, err := d.writeAt(ctx, d.cap, bytes.Repeat([]byte{7}, 64<<10), 256<<10); err != nil {
		t.Fatal(err)
	}
	seek := func(at int64, hole bool, want int64, wantErr error) {
		t.Helper()
		if got, err := d.seek(ctx, d.cap, at, hole); err != wantErr || err == nil && got != want {
			t.Errorf("seek from %d (hole %v): %d %v, want %d %v", at, hole, got, err, want, wantErr)
		}
	}
	seek(0, false, 256<<10, nil)
	seek(256<<10+5, false, 256<<10+5, nil)
	seek(256<<10, true, 320<<10, nil)
	seek(0, true, 0, nil)
	seek(320<<10, false, 0, syscall.ENXIO)
	seek(1<<20, true, 0, syscall.ENXIO)
	// A hole with edges inside of blocks.
	if err := d.zero(ctx, d.cap, 256<<10+100, 32<<10, true); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 64<<10)
	if _, err := d.readAt(ctx, d.cap, got, 256<<10); err != nil {
		t.Fatal(err)
	}
	for i, b := range got {
		if want := byte(7); (b == want) == (i >= 100 && i < 100+32<<10) {
			t.Fatalf("byte %d is %d after punching a hole", i, b)
		}
	}
	seek(257<<10, true, 260<<10, nil) // the file system's blocks have 4 KiB
	if err := d.zero(ctx, d.cap, 300<<10, 10<<10, false); err != nil {
		t.Fatal(err)
	}
}

// What cannot be written says why.
func TestDiskReadOnly(t *testing.T) {
	d := fileDisk(t, true)
	_, err := d.writeAt(context.Background(), d.cap, make([]byte, 512), 0)
	if errnoOf(err) != syscall.EROFS {
		t.Errorf("%v: errno %v, want EROFS", err, errnoOf(err))
	}
}

func TestErrnoOf(t *testing.T) {
	for want, err := range map[syscall.Errno]error{
		0: nil, syscall.ENOSPC: &senseError{scsi.SenseSpaceAllocFailed}, syscall.EIO: &senseError{scsi.SenseReadError},
		syscall.EINTR: context.Canceled, syscall.EFBIG: syscall.EFBIG,
	} {
		if got := errnoOf(err); got != want {
			t.Errorf("%v: %v, want %v", err, got, want)
		}
	}
}
