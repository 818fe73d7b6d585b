package fileio

import (
	"errors"
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
	// off: there is no way of telling what is in the page cache.
	off atomic.Bool
	// view is the latest mapping of the file, in which nobody reads: it is there
	// to be asked what is in the page cache. nil: there is none yet.
	view atomic.Pointer[[]byte]

	// mu guards what follows, and changes of view.
	mu     sync.Mutex
	file   *os.File
	conn   syscall.RawConn // set before view is
	views  [][]byte        // all that were made: the file may have grown
	closed bool
}

var _ handlers.FileReader = (*File)(nil)

// TryFile returns where the n bytes at off are, if the page cache has all of
// them. It returns false otherwise, and always with Options.Direct, on the
// foreign file systems, and where the kernel does not tell us what is in the
// page cache: of somebody else's file, opened read-only.
//
// A page can leave the cache before it is sent: then sending waits for the
// device. And what is written meanwhile is sent: to the client, the write has
// come before its read was over.
func (f *File) TryFile(off, n int64) (ucmd.FileRange, bool) {
	s := &f.source
	if f.opts.Direct || f.foreign || n <= 0 || s.off.Load() || f.checkRange("read", off, n) != nil {
		return ucmd.FileRange{}, false
	}
	view := s.view.Load()
	if view == nil || int64(len(*view)) < off+n {
		if view = f.openSource(off + n); view == nil {
			return ucmd.FileRange{}, false
		}
	}
	first := off &^ (pageSize - 1)
	there, err := f.sys.inCache((*view)[first : off+n])
	if err != nil {
		s.off.Store(true)
	}
	return ucmd.FileRange{Source: s.conn, Off: off}, there && err == nil
}

// openSource makes the descriptor, if there is none, and a mapping of all of the
// file, which has at least size bytes; nil if that can't be had. Without it the
// data is copied.
func (f *File) openSource(size int64) *[]byte {
	s := &f.source
	s.mu.Lock()
	defer s.mu.Unlock()
	if view := s.view.Load(); s.closed || s.off.Load() || view != nil && int64(len(*view)) >= size {
		return view
	}
	err := f.mapSource()
	if err != nil {
		s.off.Store(true)
		return nil
	}
	return s.view.Load()
}

// mapSource is openSource without looking. Caller holds source.mu.
func (f *File) mapSource() error {
	s := &f.source
	if !f.mayAsk() {
		return unix.EPERM
	}
	if s.file == nil {
		fd, err := unix.FcntlInt(uintptr(f.fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s.file = os.NewFile(uintptr(fd), f.path)
		if s.conn, err = s.file.SyscallConn(); err != nil {
			return err
		}
	}
	view, err := unix.Mmap(f.fd, 0, int(f.Size()), unix.PROT_READ, unix.MAP_SHARED|unix.MAP_NORESERVE)
	if err != nil {
		return err
	}
	s.views = append(s.views, view)
	s.view.Store(&view)
	return nil
}

// mayAsk says whether mincore(2) tells the truth: to those who may write to the
// file or own it. To others it says that everything is in memory.
func (f *File) mayAsk() bool {
	if !f.opts.ReadOnly || os.Geteuid() == 0 {
		return true
	}
	var st unix.Stat_t
	return unix.Fstat(f.fd, &st) == nil && int(st.Uid) == os.Geteuid()
}

// close gives the descriptor back, once nobody uses it, and the mappings, which
// nobody may be asking about.
func (s *source) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	s.off.Store(true)
	s.view.Store(nil)
	var errs []error
	for _, view := range s.views {
		errs = append(errs, unix.Munmap(view))
	}
	s.views = nil
	if s.file != nil {
		errs = append(errs, s.file.Close())
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("end sending from the file: %w", err)
	}
	return nil
}
