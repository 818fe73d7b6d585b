package replay

import (
	"sync"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/node"
)

// memory is a handler's address space, made up as it is used: every address is
// there and zero, but for those that the recorded host could not reach. It
// implements node.CallerMemory.
type memory struct {
	mu    sync.Mutex // guards what follows: calls of several threads run at once
	bad   map[abi.Addr]bool
	pages map[uint64]*[pageSize]byte
}

const pageSize = 4096

func newMemory() *memory {
	return &memory{bad: map[abi.Addr]bool{0: true}, pages: map[uint64]*[pageSize]byte{}}
}

// each calls f with the stretches of pages that b's bytes at addr are in.
func (m *memory) each(addr abi.Addr, b []byte, f func(page, b []byte)) {
	for len(b) > 0 {
		at := uint64(addr) % pageSize
		p := m.pages[uint64(addr)/pageSize]
		if p == nil {
			p = new([pageSize]byte)
			m.pages[uint64(addr)/pageSize] = p
		}
		n := min(len(b), int(pageSize-at))
		f(p[at:][:n], b[:n])
		b, addr = b[n:], addr+abi.Addr(n)
	}
}

// move goes through pieces up to the first that can't be reached.
func (m *memory) move(pieces []node.Piece, f func(page, b []byte)) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, p := range pieces {
		if len(p.Buf) == 0 {
			continue
		}
		if m.bad[p.Addr] {
			return n
		}
		m.each(p.Addr, p.Buf, f)
		n += len(p.Buf)
	}
	return n
}

// Read implements node.CallerMemory.
func (m *memory) Read(pieces []node.Piece) int {
	return m.move(pieces, func(page, b []byte) { copy(b, page) })
}

// Write implements node.CallerMemory.
func (m *memory) Write(pieces []node.Piece) int {
	return m.move(pieces, func(page, b []byte) { copy(page, b) })
}

// Process implements node.CallerMemory.
func (m *memory) Process() any { return m }

// get is what is at an address.
func (m *memory) get(addr abi.Addr, n int) []byte {
	b := make([]byte, n)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.each(addr, b, func(page, b []byte) { copy(b, page) })
	return b
}

// put writes what the handler had there.
func (m *memory) put(addr abi.Addr, b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.each(addr, b, func(page, b []byte) { copy(page, b) })
}

// setBad says whether an address can be reached.
func (m *memory) setBad(addr abi.Addr, bad bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if bad || addr == 0 {
		m.bad[addr] = true
	} else {
		delete(m.bad, addr)
	}
}
