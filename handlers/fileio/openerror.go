package fileio

import "fmt"

// OpenErrorKind says why Open refused.
type OpenErrorKind int

// The kinds of OpenError.
const (
	// Other is an error of the system that has no kind of its own; Err says
	// which.
	Other OpenErrorKind = iota
	// NotFound: nothing has this path.
	NotFound
	// IsDirectory: it is a directory.
	IsDirectory
	// NotRegular: it is a character device, a pipe or a socket.
	NotRegular
	// Permission: the process may not open it, not even for reading.
	Permission
	// ReadOnlyFile: it can be read but not written, and ReadOnly wasn't
	// asked for.
	ReadOnlyFile
	// Empty: it has not even one block.
	Empty
	// InUse: the block device is mounted or held by another program, or the
	// file is being executed or swapped to.
	InUse
	// NoDirect: O_DIRECT doesn't work there, or not for this size.
	NoDirect
	// BadBlockSize: Options.BlockSize is not one that is allowed.
	BadBlockSize
)

var kindNames = [...]string{
	Other: "other", NotFound: "not found", IsDirectory: "is a directory",
	NotRegular: "not a regular file", Permission: "permission",
	ReadOnlyFile: "read-only", Empty: "empty", InUse: "in use",
	NoDirect: "no direct I/O", BadBlockSize: "bad block size",
}

// String names the kind, for logs and tests.
func (k OpenErrorKind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("OpenErrorKind(%d)", int(k))
	}
	return kindNames[k]
}

// OpenError is what Open returns when it refuses. Its text is one line for the
// person who gave the path: what is wrong and what to do.
type OpenError struct {
	// Path is the path as it was given.
	Path string
	// Kind is for callers that decide on it.
	Kind OpenErrorKind
	// Err is the cause, usually an errno; nil if Open itself objects.
	Err error

	text string
}

// Error is one line, whatever the path holds.
func (e *OpenError) Error() string { return fmt.Sprintf("open %q: %s", e.Path, e.text) }

// Unwrap is the cause.
func (e *OpenError) Unwrap() error { return e.Err }

func refuse(path string, kind OpenErrorKind, err error, format string, args ...any) *OpenError {
	return &OpenError{Path: path, Kind: kind, Err: err, text: fmt.Sprintf(format, args...)}
}
