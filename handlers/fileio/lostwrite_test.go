package fileio

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"
)

// overcommitted opens a device that promises 1 MiB and has no space left: its
// page cache takes everything and can't write it back.
func overcommitted(t *testing.T) *File {
	t.Helper()
	const space = 64 << 10
	dir := tinyFS(t, space, "")
	f := mustOpen(t, attachLoop(t, image(t, dir, 1<<20), 512), Options{})
	// Exactly full: a loop device reports only a write that fails at once,
	// one that ends early counts as done.
	if _, err := f.WriteAt(fillBytes(space, 'x'), 0); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	return f
}

// I6, with a kernel that loses a write.
func TestLostWriteIsReported(t *testing.T) {
	f := overcommitted(t)
	if _, err := f.WriteAt(fillBytes(4096, 'l'), 512<<10); err != nil {
		t.Fatalf("WriteAt: %v", err)
	}
	first := f.Sync()
	if first == nil {
		t.Fatal("Sync succeeded, the write is lost")
	}
	t.Log(first)
	for range 3 {
		if err := f.Sync(); err != first {
			t.Errorf("Sync again: %v, want the first error", err)
		}
	}
	if _, err := f.WriteAtDurable(fillBytes(512, 'd'), 0); err != first {
		t.Errorf("WriteAtDurable: %v, want the first error", err)
	}
}

// A durable write that is told of the loss doesn't use it up: Sync is told by
// its own open file, even if nothing had been remembered of the durable write.
func TestDurableWriteHidesNoLoss(t *testing.T) {
	f := overcommitted(t)
	if _, err := f.WriteAt(fillBytes(4096, 'l'), 512<<10); err != nil {
		t.Fatalf("WriteAt: %v", err)
	}
	if _, err := pwriteDsync(f.fd, fillBytes(4096, 'd'), 512<<10); err == nil {
		t.Fatal("the durable write wasn't told")
	}
	if err := unix.Fdatasync(f.fd); err != nil {
		t.Logf("the data's open file is told twice: %v", err)
	}
	if err := f.Sync(); !errors.Is(err, unix.EIO) && !errors.Is(err, unix.ENOSPC) {
		t.Errorf("Sync: %v, the write is lost", err)
	}
}
