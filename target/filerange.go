package target

import "syscall"

// FileRange is a place in a file. The zero value is none.
type FileRange struct {
	// Source is the file, nil for none. Its Control method gives the
	// descriptor, or an error once the file is closed.
	Source syscall.RawConn
	// Off is where the bytes begin, in bytes.
	Off int64
}
