package disk

import (
	"bytes"
	"fmt"
	"sync"

	"scstuser/handlers"
)

// mem is a medium in memory with a volatile cache: `data` is what reads see,
// `stable` what would survive a loss of power. Accesses out of range panic: the
// handler must never make any.
//
// Only the methods of handlers.Backing are exported. The types below add the
// optional interfaces.
type mem struct {
	mu     sync.Mutex
	data   []byte
	stable []byte
	holes  []bool // per byte
	ro     bool

	maxIO    int                   // transfer at most so many bytes at once; 0: all
	readErr  func(off int64) error // consulted per byte, like a bad sector
	writeErr func(off int64) error // likewise
	syncErr  error
	spaceErr error // of Punch and Zero
	block    bool  // the Try methods return ErrWouldBlock
	onWrite  func()

	syncs, durables, punches, zeros, writes, reads int
	prefetched                                     [2]int64
	prefetchErr                                    error
	size                                           int64 // what Refresh says
	refreshErr                                     error
}

func newMem(n int) *mem {
	m := &mem{data: make([]byte, n), stable: make([]byte, n), holes: make([]bool, n), size: int64(n)}
	for i := range m.data {
		m.data[i] = byte(i>>9) ^ byte(i)
	}
	copy(m.stable, m.data)
	return m
}

func (m *mem) check(off, n int64) {
	if off < 0 || n < 0 || off > int64(len(m.data)) || n > int64(len(m.data))-off {
		panic(fmt.Sprintf("access to %d bytes at %d of %d", n, off, len(m.data)))
	}
}

// transferable is how many bytes can be moved, and why not all.
func (m *mem) transferable(n int, off int64, bad func(int64) error) (int, error) {
	if bad != nil {
		for i := range n {
			if err := bad(off + int64(i)); err != nil {
				return i, err
			}
		}
	}
	if m.maxIO > 0 {
		n = min(n, m.maxIO)
	}
	return n, nil
}

func (m *mem) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check(off, int64(len(p)))
	m.reads++
	n, err := m.transferable(len(p), off, m.readErr)
	return copy(p[:n], m.data[off:]), err
}

func (m *mem) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check(off, int64(len(p)))
	m.writes++
	n, err := m.transferable(len(p), off, m.writeErr)
	m.store(p[:n], off)
	return n, err
}

func (m *mem) store(p []byte, off int64) {
	if m.ro {
		panic("write to a read-only medium")
	}
	copy(m.data[off:], p)
	clear(m.holes[off : off+int64(len(p))])
	if m.onWrite != nil {
		m.onWrite()
	}
}

func (m *mem) Size() int64    { return int64(len(m.data)) }
func (m *mem) ReadOnly() bool { return m.ro }
func (m *mem) Close() error   { return nil }

func (m *mem) sync() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.syncs++
	if m.syncErr != nil {
		return m.syncErr
	}
	copy(m.stable, m.data)
	return nil
}

func (m *mem) writeDurable(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check(off, int64(len(p)))
	m.durables++
	n, err := m.transferable(len(p), off, m.writeErr)
	if err == nil && m.syncErr != nil {
		return 0, m.syncErr
	}
	m.store(p[:n], off)
	copy(m.stable[off:], p[:n])
	return n, err
}

func (m *mem) zero(off, n int64, hole bool, count *int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.check(off, n)
	*count++
	if m.spaceErr != nil {
		return m.spaceErr
	}
	m.store(make([]byte, n), off)
	if hole {
		for i := off; i < off+n; i++ {
			m.holes[i] = true
		}
	}
	return nil
}

// isStable says whether a loss of power would lose nothing.
func (m *mem) isStable() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Equal(m.data, m.stable)
}

// The optional interfaces.
type (
	withSync     struct{ *mem }
	withDurable  struct{ *mem }
	withPunch    struct{ *mem }
	withZero     struct{ *mem }
	withMap      struct{ *mem }
	withTry      struct{ *mem }
	withPrefetch struct{ *mem }
	withResize   struct{ *mem }
	withAlign    struct{ n int }
)

func (w withSync) Sync() error                                        { return w.sync() }
func (w withDurable) WriteAtDurable(p []byte, off int64) (int, error) { return w.writeDurable(p, off) }
func (w withPunch) Punch(off, n int64) error                          { return w.zero(off, n, true, &w.punches) }
func (w withPunch) PunchGranularity() int64                           { return 4096 }
func (w withZero) Zero(off, n int64) error                            { return w.zero(off, n, false, &w.zeros) }
func (w withAlign) Alignment() int                                    { return w.n }
func (w withResize) Refresh() (int64, error)                          { return w.size, w.refreshErr }

func (w withPrefetch) Prefetch(off, n int64) error {
	w.check(off, n)
	w.prefetched = [2]int64{off, n}
	return w.prefetchErr
}

func (w withMap) NextExtent(off int64) (handlers.Extent, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.check(off, 1)
	if w.spaceErr != nil {
		return handlers.Extent{}, w.spaceErr
	}
	e := handlers.Extent{Off: off, Hole: w.holes[off]}
	for i := off; i < int64(len(w.holes)) && w.holes[i] == e.Hole; i++ {
		e.Len++
	}
	return e, nil
}

func (w withTry) TryReadAt(p []byte, off int64) error {
	if w.block {
		return handlers.ErrWouldBlock
	}
	n, err := w.ReadAt(p, off)
	if err != nil || n != len(p) {
		return handlers.ErrWouldBlock
	}
	return nil
}

func (w withTry) TryWriteAt(p []byte, off int64) error {
	if w.block {
		return handlers.ErrWouldBlock
	}
	n, err := w.WriteAt(p, off)
	if err != nil || n != len(p) {
		return handlers.ErrWouldBlock
	}
	return nil
}

// The combinations that are tested.
type (
	plainBacking struct{ *mem }
	cached       struct {
		*mem
		withSync
		withTry
	}
	fullBacking struct {
		*mem
		withSync
		withDurable
		withPunch
		withZero
		withMap
		withTry
		withPrefetch
		withResize
	}
)

func plain(m *mem) handlers.Backing { return plainBacking{m} }
func cache(m *mem) handlers.Backing { return cached{m, withSync{m}, withTry{m}} }
func full(m *mem) handlers.Backing {
	return fullBacking{m, withSync{m}, withDurable{m}, withPunch{m}, withZero{m}, withMap{m}, withTry{m}, withPrefetch{m}, withResize{m}}
}

// kinds are all of them, for tests that hold for every Backing.
var kinds = map[string]func(*mem) handlers.Backing{"plain": plain, "cached": cache, "full": full}

var (
	_ handlers.Syncer        = fullBacking{}
	_ handlers.DurableWriter = fullBacking{}
	_ handlers.Puncher       = fullBacking{}
	_ handlers.Zeroer        = fullBacking{}
	_ handlers.Mapper        = fullBacking{}
	_ handlers.NonBlocker    = fullBacking{}
	_ handlers.Prefetcher    = fullBacking{}
	_ handlers.Resizer       = fullBacking{}
)
