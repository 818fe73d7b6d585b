// Package nullio is a Backing without a medium, for fileio_tgt --nullio: it
// measures everything but the I/O. Reads return zeroes, writes are dropped.
//
// SCST's nullio leaves a read's buffer as it is. Buffers are reused between
// commands and clients, so that would show one client's data to another
// (invariant I7); clearing is what it costs not to.
//
// # The page to copy
//
// This is also the smallest Backing there is, the one to start from when you
// write your own. handlers.Backing has five methods. What they must keep, and
// handlers/backingtest checks:
//
//   - Any method may be called from many goroutines at once; here nothing
//     changes after New, so there is nothing to lock.
//   - A request that isn't inside [0, Size) is refused, and the check must
//     survive offsets and lengths whose sum overflows.
//   - ReadAt fills all of p or returns an error, and never leaves bytes of p
//     as they were while claiming to have read them.
//   - WriteAt never makes the medium larger.
//
// Everything else is optional: implement an interface of package handlers and
// the disk handler uses it. Two are implemented here as examples. NonBlocker
// lets requests run on the connection's goroutine, which pays whenever the
// bytes can be had without waiting. Described names the medium in logs. The
// assertions below make the compiler check that the methods have the right
// form: a misspelt optional method would otherwise be overlooked in silence.
package nullio

import (
	"errors"
	"fmt"

	"scstuser/handlers"

	"golang.org/x/sys/unix"
)

var (
	// ErrRange is wrapped by the errors for requests that aren't inside
	// [0, Size).
	ErrRange = errors.New("outside of the medium")
	// ErrReadOnly is returned for writes to a read-only Disk; it is EROFS
	// to errors.Is.
	ErrReadOnly = fmt.Errorf("opened read-only: %w", unix.EROFS)
)

// Disk is a medium that isn't there. All methods may be called at any time from
// any goroutine.
type Disk struct {
	size     int64
	readOnly bool
}

var (
	_ handlers.Backing    = (*Disk)(nil)
	_ handlers.NonBlocker = (*Disk)(nil)
	_ handlers.Described  = (*Disk)(nil)
)

// New makes a Disk of size bytes; a negative size is none.
func New(size int64, readOnly bool) *Disk {
	return &Disk{size: max(size, 0), readOnly: readOnly}
}

// ReadAt fills p with zeroes.
func (d *Disk) ReadAt(p []byte, off int64) (int, error) {
	if err := d.TryReadAt(p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteAt checks the range and drops p.
func (d *Disk) WriteAt(p []byte, off int64) (int, error) {
	if err := d.TryWriteAt(p, off); err != nil {
		return 0, err
	}
	return len(p), nil
}

// TryReadAt is ReadAt: it never waits.
func (d *Disk) TryReadAt(p []byte, off int64) error {
	if err := d.check("read", len(p), off); err != nil {
		return err
	}
	clear(p)
	return nil
}

// TryWriteAt is WriteAt: it never waits.
func (d *Disk) TryWriteAt(p []byte, off int64) error {
	if d.readOnly {
		return ErrReadOnly
	}
	return d.check("write", len(p), off)
}

func (d *Disk) check(op string, n int, off int64) error {
	// off+n may overflow; size-off can't once off is known to be inside.
	if off < 0 || off > d.size || int64(n) > d.size-off {
		return fmt.Errorf("%s %d bytes at %d of %d: %w", op, n, off, d.size, ErrRange)
	}
	return nil
}

// Size is what New was given, in bytes.
func (d *Disk) Size() int64 { return d.size }

// ReadOnly is what New was given.
func (d *Disk) ReadOnly() bool { return d.readOnly }

// Describe says that there is nothing behind it.
func (d *Disk) Describe() string { return "nullio (reads zeroes, drops writes)" }

// Close has nothing to give back.
func (d *Disk) Close() error { return nil }
