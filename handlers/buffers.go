package handlers

import (
	"fmt"

	"scstuser/handlers/arena"
	"scstuser/ucmd"
)

// Memory is an arena as a device in the same process sees it: what the arena
// gave can be mapped, nothing else.
type Memory struct{ *arena.Arena }

var _ ucmd.Pinner = Memory{}

// Unmap has nothing to do: the bytes are the handler's own, and it frees them
// when it is told to.
func (Memory) Unmap(uint64, []byte) {}

// alloc returns a buffer's address, 0 if there is no memory: the command then
// ends with BUSY and its initiator tries again (rule R52).
func (s *server) alloc(n int32) uint64 {
	addr, err := s.o.Arena.Alloc(int(n))
	if err != nil {
		return 0
	}
	return addr
}

// free gives a buffer back; 0 is none. The arena refuses what it did not give.
func (s *server) free(addr uint64) {
	if addr != 0 {
		_ = s.o.Arena.Free(addr)
	}
}

// bytes returns the n bytes of the buffer at addr, nil if there is none. The
// address is one that alloc gave to the port, which is trusted with it.
func (s *server) bytes(addr uint64, n int32) []byte {
	if addr == 0 || n <= 0 {
		return nil
	}
	return s.o.Arena.Bytes(addr, int(n))
}

// Preallocate gives a port n buffers of size bytes for its plain pool, and as
// many for its clustered one if clust is set (rule R38). The error says which
// one could not be given; those before it stay with the port.
func Preallocate(port Preallocator, a *arena.Arena, n, size int, clust bool) error {
	for i := range n {
		if err := preallocate(port, a, size, false); err != nil {
			return fmt.Errorf("preallocate buffer %d of %d: %w", i+1, n, err)
		}
		if !clust {
			continue
		}
		if err := preallocate(port, a, size, true); err != nil {
			return fmt.Errorf("preallocate clustered buffer %d of %d: %w", i+1, n, err)
		}
	}
	return nil
}

func preallocate(port Preallocator, a *arena.Arena, size int, clust bool) error {
	addr, err := a.Alloc(size)
	if err != nil {
		return err
	}
	if _, err := port.Prealloc(addr, size, clust); err != nil {
		_ = a.Free(addr)
		return err
	}
	return nil
}
