package backingtest

import (
	"errors"
	"sync"
	"testing"

	"scstuser/handlers"
)

// memory is a Backing with every optional interface that memory can have, and a
// lock around everything.
type memory struct {
	mu sync.RWMutex
	b  []byte
}

var errOutside = errors.New("outside")

func (m *memory) at(off, n int64) ([]byte, error) {
	if size := int64(len(m.b)); off < 0 || n < 0 || off > size || n > size-off {
		return nil, errOutside
	}
	return m.b[off : off+n], nil
}

func (m *memory) TryReadAt(p []byte, off int64) error {
	m.mu.RLock()
	defer m.mu.RUnlock()
	b, err := m.at(off, int64(len(p)))
	copy(p, b)
	return err
}

func (m *memory) TryWriteAt(p []byte, off int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.at(off, int64(len(p)))
	copy(b, p)
	return err
}

func (m *memory) Zero(off, n int64) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	b, err := m.at(off, n)
	clear(b)
	return err
}

func (m *memory) NextExtent(off int64) (handlers.Extent, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if _, err := m.at(off, 1); err != nil {
		return handlers.Extent{}, err
	}
	end := off + 1
	for hole := m.b[off] == 0; end < int64(len(m.b)) && (m.b[end] == 0) == hole; end++ {
	}
	return handlers.Extent{Off: off, Len: end - off, Hole: m.b[off] == 0}, nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	if err := m.TryReadAt(p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	if err := m.TryWriteAt(p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (m *memory) Punch(int64, int64) error { return handlers.ErrNotSupported }
func (m *memory) PunchGranularity() int64  { return 512 }
func (m *memory) Sync() error              { return nil }
func (m *memory) Size() int64              { return int64(len(m.b)) }
func (m *memory) ReadOnly() bool           { return false }
func (m *memory) Close() error             { return nil }

// bare hides the optional interfaces.
type bare struct{ handlers.Backing }

func openMemory(_ *testing.T, size int64) handlers.Backing { return &memory{b: make([]byte, size)} }

func TestMemoryConforms(t *testing.T) {
	Run(t, openMemory, Opts{NoAllocs: true})
}

func TestBareBackingConforms(t *testing.T) {
	Run(t, func(t *testing.T, size int64) handlers.Backing { return bare{openMemory(t, size)} }, Opts{Grain: 512})
}
