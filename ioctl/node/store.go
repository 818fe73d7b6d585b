package node

import (
	"math/bits"
	"sync"

	"golang.org/x/sys/unix"

	"scstuser/ucmd"
)

// pageSize is the interface's and this machine's.
const pageSize = ucmd.PageSize

const (
	// slabSize is what is taken from the system for small buffers, in bytes;
	// those up to slabMax are cut from it.
	slabSize = 256 << 10
	slabMax  = 64 << 10
	// idleMax is how much memory of free large buffers is kept, in bytes.
	idleMax = 32 << 20
)

// store is host memory for the copies of one space's buffers: page aligned,
// outside the Go heap, in powers of two pages. Freed buffers are used again.
type store struct {
	limit int64 // bytes taken from the system at most

	// mu guards what follows.
	mu     sync.Mutex
	held   int64 // bytes taken from the system
	live   int   // buffers given out
	idle   int64 // bytes of free large buffers
	free   [32][][]byte
	slabs  [][]byte
	closed bool
}

// class is the index of the smallest size that has n bytes.
func class(n int) int { return bits.Len(uint((n - 1) / pageSize)) }

// alloc returns n bytes, whose content is anything that was in this store; nil
// if the limit is reached or n is not positive.
func (s *store) alloc(n int) []byte {
	if n <= 0 || int64(n) > s.limit {
		return nil
	}
	c := class(n)
	size := pageSize << c
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.free[c]) == 0 && !s.grow(c, size) {
		return nil
	}
	last := len(s.free[c]) - 1
	b := s.free[c][last]
	s.free[c] = s.free[c][:last]
	if size > slabMax {
		s.idle -= int64(size)
	}
	s.live++
	return b[:n:size]
}

// grow adds free buffers of a class. Caller holds mu.
func (s *store) grow(c, size int) bool {
	n := size
	if size <= slabMax {
		n = slabSize
	}
	if s.closed || s.held+int64(n) > s.limit {
		return false
	}
	m, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return false
	}
	s.held += int64(n)
	if size > slabMax {
		s.idle += int64(size)
		s.free[c] = append(s.free[c], m)
		return true
	}
	s.slabs = append(s.slabs, m)
	for ; len(m) >= size; m = m[size:] {
		s.free[c] = append(s.free[c], m[:size:size])
	}
	return true
}

// put takes back what alloc returned.
func (s *store) put(b []byte) {
	size := cap(b)
	c := class(size)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live--
	b = b[:size]
	if size > slabMax && (s.closed || s.idle+int64(size) > idleMax) {
		s.unmap(b)
	} else {
		s.free[c] = append(s.free[c], b)
		if size > slabMax {
			s.idle += int64(size)
		}
	}
	if s.closed && s.live == 0 {
		s.drop()
	}
}

// close gives everything back to the system, as soon as nothing is given out.
func (s *store) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.live == 0 {
		s.drop()
	}
}

// drop gives all free memory back. Caller holds mu; nothing is given out.
func (s *store) drop() {
	for c := range s.free {
		if pageSize<<c > slabMax {
			for _, b := range s.free[c] {
				s.unmap(b)
			}
		}
		s.free[c] = nil
	}
	for _, m := range s.slabs {
		s.unmap(m)
	}
	s.slabs, s.idle = nil, 0
}

// unmap gives one mapping back. Caller holds mu.
func (s *store) unmap(m []byte) {
	s.held -= int64(len(m))
	_ = unix.Munmap(m) // it is one of ours
}
