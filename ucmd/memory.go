package ucmd

// Memory is the handler's address space, where the buffers are that it gives
// by address (pbuf).
type Memory interface {
	// Map makes n bytes at addr reachable for reading and writing, until
	// Unmap. The error is EFAULT if they are not all the handler's.
	Map(addr uint64, n int) ([]byte, error)
	// Unmap ends what Map began.
	Unmap(addr uint64, data []byte)
}
