package faultfs

import (
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Name is the file's name in the mount.
const Name = "image"

// maxIO is the longest request in bytes.
const maxIO = 1 << 20

// ErrNoFUSE is wrapped by the error of Mount on a machine where nothing can be
// mounted: without /dev/fuse, or without the right to.
var ErrNoFUSE = errors.New("no FUSE mount possible here (it takes /dev/fuse and root)")

// Options says what to mount and where.
type Options struct {
	// Dir is an empty directory.
	Dir string
	// Backing has the bytes. The caller keeps it open until Close has
	// returned, and may read it at any time.
	Backing *os.File
	// Cached lets the kernel cache pages and write them back later. Otherwise
	// every read and write of a program arrives.
	Cached bool
}

// FS is a mounted file system. Its methods may be called from any goroutine.
type FS struct {
	o      Options
	server *fuse.Server

	// mu guards what follows.
	mu     sync.Mutex
	faults []*Injected
	// requests counts what has arrived, by operation.
	requests map[Op]int
}

// Available returns an error that wraps ErrNoFUSE where it is clear beforehand
// that nothing can be mounted.
func Available() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("%w: %w", ErrNoFUSE, err)
	}
	if os.Geteuid() != 0 {
		return fmt.Errorf("%w: this is not root", ErrNoFUSE)
	}
	return nil
}

// Mount mounts the file system and serves it. The error wraps ErrNoFUSE where
// that can't be done at all.
func Mount(o Options) (*FS, error) {
	if err := Available(); err != nil {
		return nil, err
	}
	s := &FS{o: o, requests: make(map[Op]int)}
	var capabilities uint64
	if o.Cached {
		capabilities = fuse.CAP_WRITEBACK_CACHE
	}
	keep := time.Hour // nobody else changes anything
	server, err := fs.Mount(o.Dir, &root{s: s}, &fs.Options{
		EntryTimeout: &keep, AttrTimeout: &keep,
		MountOptions: fuse.MountOptions{
			Name: "faultfs", FsName: "faultfs", DirectMountStrict: true, DisableXAttrs: true, DisableSplice: true,
			AllowOther: true, MaxWrite: maxIO, MaxBackground: 128,
			ExtraCapabilities: capabilities,
			Logger:            log.New(io.Discard, "", 0), // its errors come back as such
		},
	})
	if err != nil {
		return nil, fmt.Errorf("%w: mount at %s: %w", ErrNoFUSE, o.Dir, err)
	}
	s.server = server
	return s, nil
}

// Path is where other processes find the file.
func (s *FS) Path() string { return filepath.Join(s.o.Dir, Name) }

// Requests is how many requests of an operation have arrived, those that a
// fault met included.
func (s *FS) Requests(op Op) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[op]
}

// Close clears all faults and unmounts. A process that still has the file open
// is cut off: its calls fail with ENOTCONN, and what the kernel had not written
// back is lost.
func (s *FS) Close() error {
	s.ClearAll()
	if err := unix.Unmount(s.o.Dir, 0); err != nil {
		_ = unix.Unmount(s.o.Dir, unix.MNT_FORCE) // ends the connection; the next one says what is wrong
		if err := unix.Unmount(s.o.Dir, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			return fmt.Errorf("unmount %s: %w", s.o.Dir, err)
		}
	}
	s.server.Wait()
	return nil
}
