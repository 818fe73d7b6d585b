package node

import (
	"sync"
	"syscall"

	"scstuser/ucmd"
)

// space is a handler's buffers as its devices see them: a ucmd.Memory whose
// bytes are copies in this process (F7). A file has one of its own; files of
// one process whose devices share pools have one together.
type space struct {
	store store
	key   any // in Host.spaces, nil: not there
	users int // devices; guarded by Host.mu

	// mu guards ready: host memory for buffers that replies under way bring.
	mu    sync.Mutex
	ready []brought
}

var _ ucmd.Memory = (*space)(nil)

// brought is a buffer that a reply brings, found to be there.
type brought struct {
	batch *batch // whose call
	addr  uint64
	host  []byte
}

// joinSpace returns the space of a new device.
func (h *Host) joinSpace(m CallerMemory, shared bool) *space {
	h.mu.Lock()
	defer h.mu.Unlock()
	var key any
	if shared {
		key = m.Process()
	}
	s := h.spaces[key]
	if key == nil || s == nil {
		s = &space{key: key, store: store{limit: h.opt.MaxBuffers}}
		if key != nil {
			h.spaces[key] = s
		}
	}
	s.users++
	return s
}

// leaveSpace is for a device that is gone.
func (h *Host) leaveSpace(s *space) {
	h.mu.Lock()
	s.users--
	last := s.users == 0
	if last && s.key != nil {
		delete(h.spaces, s.key)
	}
	h.mu.Unlock()
	if last {
		s.store.close()
	}
}

// Map implements ucmd.Memory: it hands out what was made ready.
func (s *space) Map(addr uint64, n int) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range s.ready {
		if r.addr == addr && len(r.host) == n {
			last := len(s.ready) - 1
			s.ready[i], s.ready[last] = s.ready[last], brought{}
			s.ready = s.ready[:last]
			return r.host, nil
		}
	}
	return nil, syscall.EFAULT
}

// Unmap implements ucmd.Memory.
func (s *space) Unmap(_ uint64, data []byte) { s.store.put(data) }

// offer makes a buffer ready for Map.
func (s *space) offer(r brought) {
	s.mu.Lock()
	s.ready = append(s.ready, r)
	s.mu.Unlock()
}

// withdraw takes back what Map has not taken of a batch's buffers.
func (s *space) withdraw(b *batch) {
	s.mu.Lock()
	kept := s.ready[:0]
	var left [][]byte
	for _, r := range s.ready {
		if r.batch == b {
			left = append(left, r.host)
		} else {
			kept = append(kept, r)
		}
	}
	clear(s.ready[len(kept):])
	s.ready = kept
	s.mu.Unlock()
	for _, host := range left {
		s.store.put(host)
	}
}
