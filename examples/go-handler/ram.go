package main

import (
	"errors"
	"sync"

	"scstuser/handlers"
)

// ram is a medium in memory. These five methods are all that a handlers.Backing
// must have; the others are optional interfaces, for more speed or features.
type ram struct {
	mu   sync.RWMutex // guards data's bytes
	data []byte
}

// The compiler notices a method that has not quite the form it should have; as
// they are optional nothing else would.
var (
	_ handlers.Backing    = (*ram)(nil)
	_ handlers.NonBlocker = (*ram)(nil)
	_ handlers.Puncher    = (*ram)(nil)
)

var errRange = errors.New("outside of the medium")

func newRAM(size int64) *ram { return &ram{data: make([]byte, max(size, 0))} }

// at returns the bytes of a range. The sum of off and n may overflow; the
// difference can't.
func (m *ram) at(off int64, n int) ([]byte, error) {
	size := int64(len(m.data))
	if off < 0 || off > size || int64(n) > size-off {
		return nil, errRange
	}
	return m.data[off:][:n], nil
}

// ReadAt implements handlers.Backing.
func (m *ram) ReadAt(p []byte, off int64) (int, error) {
	b, err := m.at(off, len(p))
	if err != nil {
		return 0, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	return copy(p, b), nil
}

// WriteAt implements handlers.Backing.
func (m *ram) WriteAt(p []byte, off int64) (int, error) {
	b, err := m.at(off, len(p))
	if err != nil {
		return 0, err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return copy(b, p), nil
}

// Size implements handlers.Backing.
func (m *ram) Size() int64 { return int64(len(m.data)) }

// ReadOnly implements handlers.Backing.
func (m *ram) ReadOnly() bool { return false }

// Close implements handlers.Backing. The bytes are gone with the process.
func (m *ram) Close() error { return nil }

// TryReadAt implements handlers.NonBlocker: memory is always at hand.
func (m *ram) TryReadAt(p []byte, off int64) error {
	_, err := m.ReadAt(p, off)
	return err
}

// TryWriteAt implements handlers.NonBlocker.
func (m *ram) TryWriteAt(p []byte, off int64) error {
	_, err := m.WriteAt(p, off)
	return err
}

// Punch implements handlers.Puncher: clients can TRIM. What was given back reads
// as zeroes.
func (m *ram) Punch(off, n int64) error {
	if n < 0 || n > m.Size() {
		return errRange
	}
	b, err := m.at(off, int(n))
	if err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(b)
	return nil
}

// PunchGranularity implements handlers.Puncher: any block will do.
func (m *ram) PunchGranularity() int64 { return 1 }
