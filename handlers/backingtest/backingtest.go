package backingtest

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"unsafe"

	"scstuser/handlers"
)

// mediumSize is the size that Run opens media of, in bytes. It is a multiple of
// any block size and small enough for sequences of a thousand operations.
const mediumSize = 256 << 10

// OpenFunc opens a new medium of size bytes, all zeroes. It fails the test
// itself if it can't, and may leave cleaning up to t.Cleanup; Run closes the
// Backing.
type OpenFunc func(t *testing.T, size int64) handlers.Backing

// Opts says what to expect of a Backing.
type Opts struct {
	// Grain is what offsets and lengths are multiples of, in bytes. 0 means
	// the Alignment of an Aligned Backing, 1 of any other. With 1, memory
	// is given unaligned as well.
	Grain int
	// Forgets says that writes are accepted and dropped, and that reads
	// return zeroes.
	Forgets bool
	// NoAllocs requires that reads and writes of aligned blocks make no Go
	// allocation.
	NoAllocs bool
	// Reopen, if set, closes the Backing and opens the same medium again,
	// for tests that what was synced is still there.
	Reopen func(t *testing.T, b handlers.Backing) handlers.Backing
}

// suite is one run. It is used by the goroutine of one subtest at a time,
// except for what parallel.go does with b.
type suite struct {
	open OpenFunc
	o    Opts
}

// Run tests the Backing that open returns. A Backing whose ReadOnly is true is
// only read.
func Run(t *testing.T, open func(t *testing.T, size int64) handlers.Backing, o Opts) {
	s := &suite{open: open, o: o}
	b := s.start(t)
	if s.o.Grain == 0 {
		s.o.Grain = 1
		if a, ok := b.(handlers.Aligned); ok {
			s.o.Grain = a.Alignment()
		}
	}
	readOnly := b.ReadOnly()
	s.stop(t, b)

	t.Run("says what it is", s.testAttributes)
	t.Run("outside of the medium", s.testBounds)
	t.Run("nothing at all", s.testEmptyRequests)
	t.Run("a new medium is zeroes", s.testZeroes)
	t.Run("map of a new medium", s.testMap)
	if readOnly {
		t.Run("read only", s.testReadOnly)
		return
	}
	t.Run("reads what was written", s.testWrittenIsRead)
	t.Run("survives reopening", s.testReopen)
	t.Run("punch and zero", s.testSpace)
	t.Run("neighbours in parallel", s.testParallel)
	t.Run("syncs in parallel", s.testParallelSync)
	t.Run("behaves like a slice of bytes", s.testModel)
	t.Run("allocates nothing", s.testAllocs)
}

func (s *suite) start(t *testing.T) handlers.Backing {
	t.Helper()
	b := s.open(t, mediumSize)
	if b == nil {
		t.Fatal("open returned nothing")
	}
	if got := b.Size(); got != mediumSize {
		t.Fatalf("Size() = %d after opening %d bytes", got, int64(mediumSize))
	}
	return b
}

func (s *suite) stop(t *testing.T, b handlers.Backing) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
}

// tester is what *testing.T and *rapid.T have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// noise is random bytes, none of them zero; its length is a prime, so that it
// is in step with no block size.
var noise = sync.OnceValue(func() []byte {
	p := make([]byte, 65521)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range p {
		p[i] = byte(r.IntN(255)) + 1
	}
	return p
})

// fill writes a pattern that differs from place to place and with the seed, and
// that has no zero byte.
func fill(p []byte, seed uint64) {
	n := noise()
	from := n[seed*7919%uint64(len(n)):]
	for len(p) > 0 {
		p = p[copy(p, from):]
		from = n
	}
}

// pattern is n bytes of fill.
func pattern(n int, seed uint64) []byte {
	p := buffer(n, 0)
	fill(p, seed)
	return p
}

// buffer is n bytes at skew bytes behind the start of a page.
func buffer(n, skew int) []byte {
	page := os.Getpagesize()
	raw := make([]byte, n+2*page)
	start := -int(uintptr(unsafe.Pointer(unsafe.SliceData(raw)))) & (page - 1)
	return raw[start+skew : start+skew+n : start+skew+n]
}

// firstDifference is where a and b differ first, -1 if nowhere.
func firstDifference(a, b []byte) int {
	if bytes.Equal(a, b) {
		return -1
	}
	for i := range a {
		if i >= len(b) || a[i] != b[i] {
			return i
		}
	}
	return -1
}

// mustRead reads n bytes at off with ReadAt.
func mustRead(t tester, b handlers.Backing, off int64, n int) []byte {
	t.Helper()
	p := pattern(n, 99) // bytes that are left as they are would show
	got, err := b.ReadAt(p, off)
	if err != nil || got != n {
		t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", n, off, got, err)
	}
	return p
}

// mustWrite writes p with WriteAt.
func mustWrite(t tester, b handlers.Backing, p []byte, off int64) {
	t.Helper()
	if n, err := b.WriteAt(p, off); err != nil || n != len(p) {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
	}
}

// mustHold checks that the medium has want at off.
func mustHold(t tester, b handlers.Backing, want []byte, off int64) {
	t.Helper()
	got := mustRead(t, b, off, len(want))
	if i := firstDifference(want, got); i >= 0 {
		t.Fatalf("byte %d is %#02x, want %#02x", off+int64(i), got[i], want[i])
	}
}

// expected is what reads back after want was written.
func (s *suite) expected(want []byte) []byte {
	if s.o.Forgets {
		return make([]byte, len(want))
	}
	return want
}

// tryWrite is what the disk handler does: an attempt, then the sure way.
func tryWrite(b handlers.Backing, p []byte, off int64) error {
	err := b.(handlers.NonBlocker).TryWriteAt(p, off)
	if errors.Is(err, handlers.ErrWouldBlock) {
		_, err = b.WriteAt(p, off)
	}
	return err
}

// tryRead is what the disk handler does: an attempt, then the sure way.
func tryRead(b handlers.Backing, p []byte, off int64) error {
	err := b.(handlers.NonBlocker).TryReadAt(p, off)
	if errors.Is(err, handlers.ErrWouldBlock) {
		_, err = b.ReadAt(p, off)
	}
	return err
}
