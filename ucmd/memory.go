package ucmd

// Memory is the handler's address space, where the buffers are that it gives
// by address (pbuf). Its methods may be called from any goroutine; no lock of
// this package is held. Devices whose Memory values are equal (==) have the
// same handler and may share a buffer pool.
type Memory interface {
	// Map makes n bytes at addr reachable for reading and writing, until
	// Unmap. The error is EFAULT if they are not all the handler's. addr is
	// what the handler said: addr+n may overflow. n is never negative.
	Map(addr uint64, n int) ([]byte, error)
	// Unmap ends what Map began.
	Unmap(addr uint64, data []byte)
}
