package fileio

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"syscall"

	"scstuser/handlers"
	"scstuser/ucmd"

	"golang.org/x/sys/unix"
)

// source is the file for those who send from it. It has a descriptor of its own
// that is not closed while somebody uses it: a reply may be on its way for as
// long as its client likes.
type source struct {
	once sync.Once
	file *os.File
	conn syscall.RawConn // nil: there is none
	// off: there is no way of telling what is in the page cache.
	off atomic.Bool
}

var _ handlers.FileReader = (*File)(nil)

// TryFile returns where the n bytes at off are, if the page cache has all of
// them. It returns false otherwise, and always with Options.Direct, on the
// foreign file systems, and on kernels that do not tell what is in the page
// cache (cachestat came with Linux 6.5).
//
// A page can leave the cache before it is sent: then sending waits for the
// device. And what is written meanwhile is sent: to the client, the write has
// come before its read was over.
func (f *File) TryFile(off, n int64) (ucmd.FileRange, bool) {
	if f.opts.Direct || f.foreign || n <= 0 || f.source.off.Load() || f.checkRange("read", off, n) != nil || !f.cached(off, n) {
		return ucmd.FileRange{}, false
	}
	f.source.once.Do(f.openSource)
	return ucmd.FileRange{Source: f.source.conn, Off: off}, f.source.conn != nil
}

// cached says whether the page cache has a range of the file, and its first and
// its last byte are there to be read: the pages of a read-ahead that is under way
// are counted as well.
func (f *File) cached(off, n int64) bool {
	page := int64(os.Getpagesize())
	want := (off+n-1)/page - off/page + 1
	switch got, err := f.sys.cachedPages(f.fd, off, n); {
	case err != nil:
		// ENOSYS, or EPERM for somebody else's file.
		f.source.off.Store(true)
		return false
	case got < want:
		return false
	}
	return f.memory || f.inMemory(off) && f.inMemory(off+n-1)
}

// openSource makes the descriptor. Without one the data is copied.
func (f *File) openSource() {
	fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		f.source.off.Store(true)
		return
	}
	f.source.file = os.NewFile(uintptr(fd), f.path)
	if f.source.conn, err = f.source.file.SyscallConn(); err != nil {
		f.source.off.Store(true)
	}
}

// close gives the descriptor back, once nobody uses it.
func (s *source) close() error {
	s.once.Do(func() {}) // nobody opens it any more
	if s.file == nil {
		return nil
	}
	if err := s.file.Close(); err != nil {
		return fmt.Errorf("close %s: %w", s.file.Name(), err)
	}
	return nil
}
