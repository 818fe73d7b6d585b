package fileio

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// I6: Sync never returns before a sync that started after the call.
func TestSyncCoversWhatWasAnsweredBefore(t *testing.T) {
	f := newFile(t, 4096, Options{})
	var clock atomic.Int64
	var started, syncs atomic.Int64 // started: the clock when the last one that ended had begun
	var running atomic.Bool
	f.sys.fdatasync = func(int) error {
		if running.Swap(true) {
			t.Error("two fdatasyncs at once")
		}
		at := clock.Add(1)
		time.Sleep(200 * time.Microsecond)
		running.Store(false)
		started.Store(at)
		syncs.Add(1)
		return nil
	}
	var wg sync.WaitGroup
	const callers, times = 64, 20
	for range callers {
		wg.Go(func() {
			for range times {
				called := clock.Add(1)
				if err := f.Sync(); err != nil {
					t.Error(err)
				}
				if s := started.Load(); s <= called {
					t.Errorf("Sync called at %d returned after a sync of %d", called, s)
				}
			}
		})
	}
	wg.Wait()
	if n := syncs.Load(); n > callers*times/4 {
		t.Errorf("%d fdatasyncs for %d calls: they aren't shared", n, callers*times)
	} else {
		t.Logf("%d fdatasyncs for %d calls", n, callers*times)
	}
}

// 64 FLUSHes at once cost two fdatasyncs: the one that was under way, and one
// for all who came during it.
func TestConcurrentSyncsShareOne(t *testing.T) {
	f := newFile(t, 4096, Options{})
	begun, release := make(chan struct{}, 64), make(chan struct{})
	var syncs atomic.Int64
	f.sys.fdatasync = func(int) error {
		syncs.Add(1)
		begun <- struct{}{}
		<-release
		return nil
	}
	var wg sync.WaitGroup
	wg.Go(func() { f.Sync() })
	<-begun
	for range 63 {
		wg.Go(func() { f.Sync() })
	}
	// They may not have come yet; those who come later still share one.
	time.Sleep(20 * time.Millisecond)
	close(release)
	wg.Wait()
	if n := syncs.Load(); n < 2 || n > 4 {
		t.Errorf("%d fdatasyncs, want about 2", n)
	}
}

// Syncer: the first error stays, and is that of every later call.
func TestSyncErrorIsSticky(t *testing.T) {
	path := image(t, t.TempDir(), 8192)
	for _, o := range []Options{{}, {WriteThrough: true}, {Direct: true}} {
		f := mustOpen(t, path, o)
		fails := error(unix.EIO)
		f.sys.fdatasync = func(int) error { return fails }
		first := f.Sync()
		if !errors.Is(first, unix.EIO) {
			t.Fatalf("Sync: %v, want EIO", first)
		}
		fails = nil // as the kernel does: it tells once
		if err := f.Sync(); err != first {
			t.Errorf("second Sync: %v, want the first error", err)
		}
		if n, err := f.WriteAtDurable(make([]byte, 4096), 0); err != first || n != 0 {
			t.Errorf("WriteAtDurable: %d, %v, want the first error", n, err)
		}
		_, err := f.WriteAt(make([]byte, 4096), 0)
		if o.WriteThrough != (err == first) {
			t.Errorf("%+v: WriteAt: %v", o, err)
		}
		if err := f.Zero(0, 4096); o.WriteThrough != (err == first) {
			t.Errorf("%+v: Zero: %v", o, err)
		}
		if _, err := f.ReadAt(make([]byte, 4096), 0); err != nil {
			t.Errorf("ReadAt: %v", err)
		}
		f.Close()
		// Opened anew it has a new life.
		f = mustOpen(t, path, o)
		if err := f.Sync(); err != nil {
			t.Errorf("after reopening: %v", err)
		}
		f.Close()
	}
}

// All who wait for a sync that fails are told.
func TestSyncErrorReachesAllWaiters(t *testing.T) {
	f := newFile(t, 4096, Options{})
	var n atomic.Int64
	f.sys.fdatasync = func(int) error {
		time.Sleep(time.Millisecond)
		if n.Add(1) == 2 {
			return unix.ENOSPC // also one that a write may recover from
		}
		return nil
	}
	var failed atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 3 {
				if err := f.Sync(); errors.Is(err, unix.ENOSPC) {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if got := failed.Load(); got < 32 {
		t.Errorf("%d calls were told, there were 32 callers after the failure", got)
	}
	if n.Load() != 2 {
		t.Errorf("%d fdatasyncs, want none after the failure", n.Load())
	}
}

// A durable write that fails counts, unless the bytes were refused.
func TestDurableWriteFailure(t *testing.T) {
	for _, tc := range []struct {
		errno  unix.Errno
		sticky bool
	}{
		{unix.EIO, true}, {unix.ENXIO, true}, {unix.EROFS, true},
		{unix.ENOSPC, false}, {unix.EDQUOT, false}, {unix.EFBIG, false},
	} {
		f := newFile(t, 4096, Options{})
		f.sys.pwriteDsync = func(int, []byte, int64) (int, error) { return 0, tc.errno }
		if _, err := f.WriteAtDurable(make([]byte, 512), 0); !errors.Is(err, tc.errno) {
			t.Errorf("WriteAtDurable: %v, want %v", err, tc.errno)
		}
		if err := f.Sync(); errors.Is(err, tc.errno) != tc.sticky {
			t.Errorf("Sync after %v: %v", tc.errno, err)
		}
		f.Close()
	}
}

// The kernel tells each open file once: Sync's must not be the one that durable
// writes use.
func TestSyncHasItsOwnOpenFile(t *testing.T) {
	f := newFile(t, 4096, Options{})
	var synced int
	f.sys.fdatasync = func(fd int) error { synced = fd; return nil }
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
	if synced == f.fd || synced != f.syncFd {
		t.Errorf("fdatasync of %d, data on %d", synced, f.fd)
	}
}

func TestSyncIsRepeatedWhenInterrupted(t *testing.T) {
	f := newFile(t, 4096, Options{})
	calls := 0
	f.sys.fdatasync = func(fd int) error {
		if calls++; calls < 3 {
			return unix.EINTR
		}
		return unix.Fdatasync(fd)
	}
	if err := f.Sync(); err != nil || calls != 3 {
		t.Errorf("%d calls, %v", calls, err)
	}
}

// What Options say about durability, in system calls.
func TestDurabilityOptions(t *testing.T) {
	for _, tc := range []struct {
		o                    Options
		write, durable, sync string
	}{
		{Options{}, "w", "d", "s"},
		{Options{WriteThrough: true}, "d", "d", "s"},
		{Options{NVCache: true}, "w", "w", ""},
		{Options{NVCache: true, WriteThrough: true}, "d", "d", ""},
		{Options{Direct: true}, "w", "d", "s"},
		{Options{Direct: true, WriteThrough: true}, "d", "d", "s"},
	} {
		f := newFile(t, 8192, tc.o)
		var did string
		f.sys.pwrite = func(_ int, p []byte, _ int64) (int, error) { did += "w"; return len(p), nil }
		f.sys.pwriteDsync = func(_ int, p []byte, _ int64) (int, error) { did += "d"; return len(p), nil }
		f.sys.fdatasync = func(int) error { did += "s"; return nil }
		p := make([]byte, 4096)
		for _, step := range []struct {
			name, want string
			do         func() error
		}{
			{"WriteAt", tc.write, func() error { _, err := f.WriteAt(p, 0); return err }},
			{"WriteAtDurable", tc.durable, func() error { _, err := f.WriteAtDurable(p, 0); return err }},
			{"Sync", tc.sync, f.Sync},
		} {
			did = ""
			if err := step.do(); err != nil || did != step.want {
				t.Errorf("%+v: %s did %q, want %q (%v)", tc.o, step.name, did, step.want, err)
			}
		}
		f.Close()
	}
}
