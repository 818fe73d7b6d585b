package fileio

import (
	"testing"

	"scstuser/handlers"

	"golang.org/x/sys/unix"
)

// A file on one of the foreign file systems, with what it did: a plain write, a
// durable one, a sync. (internal/faults tests a real one.)
func foreignFile(t *testing.T, o Options) (f *File, did *string) {
	t.Helper()
	f, did = newFile(t, 8192, o), new(string)
	f.foreign = true
	f.noDsync.Store(true)
	f.sys.pwrite = func(fd int, p []byte, off int64) (int, error) { *did += "w"; return unix.Pwrite(fd, p, off) }
	f.sys.writeNowait = func(int, []byte, int64) (int, error) { *did += "n"; return 0, unix.EOPNOTSUPP }
	f.sys.pwriteDsync = func(int, []byte, int64) (int, error) { *did += "d"; return 0, unix.EIO }
	f.sys.fdatasync = func(int) error { *did += "s"; return nil }
	return f, did
}

// I6: where RWF_DSYNC may mean nothing a durable write ends with a sync.
func TestForeignDurableWriteSyncs(t *testing.T) {
	for _, o := range []Options{{}, {WriteThrough: true}, {Direct: true}} {
		f, did := foreignFile(t, o)
		if _, err := f.WriteAtDurable(make([]byte, 4096), 0); err != nil || *did != "ws" {
			t.Errorf("%+v: WriteAtDurable did %q, want %q (%v)", o, *did, "ws", err)
		}
	}
}

// Such a write may wait for a program: it is for a worker.
func TestForeignWritesAreNotTried(t *testing.T) {
	f, did := foreignFile(t, Options{})
	if err := f.TryWriteAt(make([]byte, 4096), 0); err != handlers.ErrWouldBlock || *did != "" {
		t.Errorf("TryWriteAt did %q: %v", *did, err)
	}
}
