package replay

import (
	"math"
	"sync"
	"syscall"

	"scstuser/ioctl/abi"
)

// memory is a handler's address space, made up as the host asks for it: every
// address is there, but for those that the recorded host could not reach. It
// implements ucmd.Memory.
type memory struct {
	bad map[abi.Addr]bool // does not change

	mu     sync.Mutex
	blocks map[uint64][]byte // by address; guarded by mu
}

func newMemory(bad map[abi.Addr]bool) *memory {
	return &memory{bad: bad, blocks: map[uint64][]byte{}}
}

// Map implements ucmd.Memory.
func (m *memory) Map(addr uint64, n int) ([]byte, error) {
	if addr == 0 || m.bad[abi.Addr(addr)] || uint64(n) > math.MaxInt64-addr&math.MaxInt64 {
		return nil, syscall.EFAULT
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.blocks[addr]
	if len(b) < n {
		b = make([]byte, n)
		m.blocks[addr] = b
	}
	return b[:n:n], nil
}

// Unmap implements ucmd.Memory.
func (m *memory) Unmap(uint64, []byte) {}

// read copies what is at an address, nil for a buffer that was never mapped.
func (m *memory) read(addr uint64, n int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	b := m.blocks[addr]
	return append([]byte(nil), b[:min(n, len(b))]...)
}

// write puts what the handler has written there.
func (m *memory) write(addr uint64, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	copy(m.blocks[addr], data)
}
