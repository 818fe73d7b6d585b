package fileio

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// bigSectors opens a file with O_DIRECT and pretends that its sectors are 4096
// bytes; in truth they may be smaller, which is all right with that.
func bigSectors(t *testing.T, size int64) *File {
	t.Helper()
	f := newFile(t, size, Options{Direct: true})
	f.align = 4096
	return f
}

// Two writes to parts of one sector both survive, whatever the timing: the
// second one doesn't read the sector before the first has written it.
func TestNeighboursInASectorSurvive(t *testing.T) {
	for name, second := range map[string]struct{ off, n int64 }{
		"another part": {1024, 512},
		"all of it":    {0, 4096},
		"and the next": {2048, 4096},
	} {
		t.Run(name, func(t *testing.T) {
			f := bigSectors(t, 64<<10)
			reading, goOn := make(chan struct{}), make(chan struct{})
			var first atomic.Bool
			f.sys.pread = func(fd int, p []byte, off int64) (int, error) {
				n, err := unix.Pread(fd, p, off)
				if !first.Swap(true) {
					close(reading)
					<-goOn
				}
				return n, err
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				if _, err := f.WriteAt(fillBytes(512, '1'), 0); err != nil {
					t.Error(err)
				}
			})
			<-reading
			var secondDone atomic.Bool
			wg.Go(func() {
				if _, err := f.WriteAt(fillBytes(int(second.n), '2'), second.off); err != nil {
					t.Error(err)
				}
				secondDone.Store(true)
			})
			time.Sleep(20 * time.Millisecond)
			if secondDone.Load() {
				t.Error("the second write didn't wait for the first")
			}
			close(goOn)
			wg.Wait()
			b := content(t, f.path)
			if !bytes.Equal(b[second.off:second.off+second.n], fillBytes(int(second.n), '2')) {
				t.Error("the second write is lost")
			}
			if second.off > 0 && !bytes.Equal(b[:512], fillBytes(512, '1')) {
				t.Error("the first write is lost")
			}
		})
	}
}

// The same with a real device, a real kernel and luck.
func TestNeighboursInADeviceSectorSurvive(t *testing.T) {
	f := mustOpen(t, loopDevice(t, 1<<20, 4096), Options{Direct: true})
	if f.Alignment() != 4096 {
		t.Errorf("alignment %d, want the device's 4096", f.Alignment())
	}
	var wg sync.WaitGroup
	const owners, rounds = 16, 30
	for i := range owners {
		wg.Go(func() {
			for r := range rounds {
				if _, err := f.WriteAt(fillBytes(512, byte(i*rounds+r)), int64(i)*512); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	got := make([]byte, owners*512)
	if _, err := f.ReadAt(got, 0); err != nil {
		t.Fatal(err)
	}
	for i := range owners {
		if last := byte(i*rounds + rounds - 1); !bytes.Equal(got[i*512:(i+1)*512], fillBytes(512, last)) {
			t.Errorf("part %d isn't what was written last", i)
		}
	}
}

// Only sectors are read and written, and only what has to be.
func TestDirectTransfersWholeSectors(t *testing.T) {
	f := bigSectors(t, 1<<20)
	var reads, writes [][2]int64
	record := func(list *[][2]int64, call func(int, []byte, int64) (int, error)) func(int, []byte, int64) (int, error) {
		return func(fd int, p []byte, off int64) (int, error) {
			if off%4096 != 0 || len(p)%4096 != 0 || address(p)%4096 != 0 {
				t.Errorf("%d bytes at %d to memory at %#x", len(p), off, address(p))
			}
			*list = append(*list, [2]int64{off, int64(len(p))})
			return call(fd, p, off)
		}
	}
	f.sys.pread, f.sys.pwrite = record(&reads, unix.Pread), record(&writes, unix.Pwrite)
	const big = 256 << 10
	for _, tc := range []struct {
		off, n        int64
		reads, writes [][2]int64
	}{
		{512, 512, [][2]int64{{0, 4096}}, [][2]int64{{0, 4096}}},
		{0, 512, [][2]int64{{0, 4096}}, [][2]int64{{0, 4096}}},
		{3584, 512, [][2]int64{{0, 4096}}, [][2]int64{{0, 4096}}},
		{3584, 1024, [][2]int64{{0, 4096}, {4096, 4096}}, [][2]int64{{0, 8192}}},
		{0, 4608, [][2]int64{{4096, 4096}}, [][2]int64{{0, 8192}}},
		{512, 20000, [][2]int64{{0, 4096}, {20480, 4096}}, [][2]int64{{0, 24576}}},
		{4096, big + 4096, nil, [][2]int64{{4096, big}, {4096 + big, 4096}}},
		{4096, big + 512, [][2]int64{{4096 + big, 4096}}, [][2]int64{{4096, big}, {4096 + big, 4096}}},
		{8191, big, [][2]int64{{4096, 4096}, {4096 + big, 4096}}, [][2]int64{{4096, big}, {4096 + big, 4096}}},
	} {
		reads, writes = nil, nil
		p := newBounceOf(int(tc.n)+1, 1) // memory that is never aligned
		if n, err := f.WriteAt(p, tc.off); int64(n) != tc.n || err != nil {
			t.Errorf("write of %d at %d: %d, %v", tc.n, tc.off, n, err)
		}
		if !equalPairs(reads, tc.reads) || !equalPairs(writes, tc.writes) {
			t.Errorf("%d bytes at %d: read %v, wrote %v; want %v, %v", tc.n, tc.off, reads, writes, tc.reads, tc.writes)
		}
	}
}

// newBounceOf is n-skew bytes at a place that is skew bytes off.
func newBounceOf(n, skew int) []byte {
	b := make([]byte, n+8192)
	start := -int(address(b))&4095 + skew
	return b[start : start+n-skew]
}

func equalPairs(a, b [][2]int64) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

// A failing sector in the middle: the count is of the caller's bytes.
func TestDirectErrorCount(t *testing.T) {
	f := bigSectors(t, 1<<20)
	f.sys.pwrite = func(fd int, p []byte, off int64) (int, error) {
		if off >= 8192 {
			return 0, unix.EIO
		}
		return unix.Pwrite(fd, p[:min(int64(len(p)), 8192-off)], off)
	}
	p := fillBytes(20000, 'e')
	if n, err := f.WriteAt(p, 512); n != 8192-512 || !errors.Is(err, unix.EIO) {
		t.Errorf("WriteAt: %d, %v, want %d, EIO", n, err, 8192-512)
	}
	f.sys.pread = func(fd int, p []byte, off int64) (int, error) {
		if off >= 8192 {
			return 0, unix.EIO
		}
		return unix.Pread(fd, p[:min(int64(len(p)), 8192-off)], off)
	}
	if n, err := f.ReadAt(p, 512); n != 8192-512 || !errors.Is(err, unix.EIO) {
		t.Errorf("ReadAt: %d, %v, want %d, EIO", n, err, 8192-512)
	}
}

func TestProbeAlignment(t *testing.T) {
	for _, sector := range []int{512, 1024, 4096} {
		got, err := probeAlignment(func(p []byte) error {
			if len(p)%sector != 0 || address(p)%uintptr(sector) != 0 {
				return unix.EINVAL
			}
			return nil
		})
		if got != sector || err != nil {
			t.Errorf("%d: %d, %v", sector, got, err)
		}
	}
	if _, err := probeAlignment(func([]byte) error { return unix.EINVAL }); err == nil {
		t.Error("a medium without direct I/O was accepted")
	}
	if _, err := probeAlignment(func([]byte) error { return unix.EIO }); !errors.Is(err, unix.EIO) {
		t.Errorf("an error while probing: %v", err)
	}
}

// The lock's one promise: nobody shares a sector with an exclusive holder.
func TestRangeLockExcludes(t *testing.T) {
	var l rangeLock
	var state [16]atomic.Int32 // readers, or -1
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 500 {
				start, n := (g*7+i*3)%12, 1+(g+i)%4
				exclusive := (g+i)%3 == 0
				h := l.lock(int64(start), int64(start+n), exclusive)
				for s := start; s < start+n; s++ {
					if exclusive && !state[s].CompareAndSwap(0, -1) || !exclusive && state[s].Add(1) <= 0 {
						t.Errorf("sector %d is shared", s)
					}
				}
				for s := start; s < start+n; s++ {
					if exclusive {
						state[s].Store(0)
					} else {
						state[s].Add(-1)
					}
				}
				l.unlock(h)
			}
		})
	}
	wg.Wait()
	if len(l.held) != 0 {
		t.Errorf("%d ranges are still held", len(l.held))
	}
}

func TestRangeConflicts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) heldRange {
			start := rapid.Int64Range(0, 20).Draw(t, name)
			return heldRange{start, start + rapid.Int64Range(1, 5).Draw(t, name+" length"), rapid.Bool().Draw(t, name+" exclusive")}
		}
		a, b := draw("a"), draw("b")
		common := false
		for s := a.start; s < a.end; s++ {
			common = common || s >= b.start && s < b.end
		}
		want := common && (a.exclusive || b.exclusive)
		if a.conflicts(b) != want || b.conflicts(a) != want {
			t.Fatalf("%+v and %+v: want conflict %v", a, b, want)
		}
	})
}
