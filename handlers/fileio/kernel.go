package fileio

import (
	"os"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel is the system calls of the data path. Tests replace some of them with
// ones that are short, interrupted or failing.
type kernel struct {
	pread       func(fd int, p []byte, off int64) (int, error)
	pwrite      func(fd int, p []byte, off int64) (int, error)
	pwriteDsync func(fd int, p []byte, off int64) (int, error)
	readNowait  func(fd int, p []byte, off int64) (int, error)
	writeNowait func(fd int, p []byte, off int64) (int, error)
	readMemory  func(fd int, p []byte, off int64) (int, error)
	writeMemory func(fd int, p []byte, off int64, quick bool) (int, error)
	inCache     func(view []byte) (bool, error)
	fdatasync   func(fd int) error
	fallocate   func(fd int, mode uint32, off, n int64) error
}

var systemKernel = kernel{
	pread:       unix.Pread,
	pwrite:      unix.Pwrite,
	pwriteDsync: pwriteDsync,
	readNowait:  readNowait,
	writeNowait: writeNowait,
	readMemory:  readMemory,
	writeMemory: writeMemory,
	inCache:     inCache,
	fdatasync:   unix.Fdatasync,
	fallocate:   unix.Fallocate,
}

// quickMax is the length up to which a copy from or to memory is done without
// telling the Go scheduler; copying this much takes some microseconds.
const quickMax = 64 << 10

// readNowait is preadv2 with RWF_NOWAIT: it copies from the page cache and
// returns EAGAIN, or less than was asked for, where it would have to wait.
func readNowait(fd int, p []byte, off int64) (int, error) {
	return vectored(unix.SYS_PREADV2, fd, p, off, unix.RWF_NOWAIT, len(p) <= quickMax)
}

// writeNowait is pwritev2 with RWF_NOWAIT.
func writeNowait(fd int, p []byte, off int64) (int, error) {
	return vectored(unix.SYS_PWRITEV2, fd, p, off, unix.RWF_NOWAIT, len(p) <= quickMax)
}

// readMemory and writeMemory are for files on file systems that are nothing but
// memory, and have no RWF_NOWAIT. A write takes the file's lock: it is quick only
// while nobody has that for long (File.holders).
func readMemory(fd int, p []byte, off int64) (int, error) {
	return vectored(unix.SYS_PREADV2, fd, p, off, 0, len(p) <= quickMax)
}

func writeMemory(fd int, p []byte, off int64, quick bool) (int, error) {
	return vectored(unix.SYS_PWRITEV2, fd, p, off, 0, quick)
}

func pwriteDsync(fd int, p []byte, off int64) (int, error) {
	return vectored(unix.SYS_PWRITEV2, fd, p, off, unix.RWF_DSYNC, false)
}

// vectored is unix.Preadv2 or unix.Pwritev2 for one buffer, without their slices.
//
// quick: the scheduler isn't told (RawSyscall). It takes a processor away from a
// goroutine that stays in a system call; telling it costs about a tenth of a
// whole read (BenchmarkNowait), and wakes the runtime's monitor when the process
// was idle. Not telling is only right for a call that doesn't sleep and returns
// quickly, because the garbage collector waits for it.
func vectored(trap uintptr, fd int, p []byte, off int64, flags uintptr, quick bool) (int, error) {
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	lo, hi := splitOffset(off)
	var n uintptr
	var errno unix.Errno
	if quick {
		n, _, errno = unix.RawSyscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, lo, hi, flags)
	} else {
		n, _, errno = unix.Syscall6(trap, uintptr(fd), uintptr(unsafe.Pointer(&iov)), 1, lo, hi, flags)
	}
	runtime.KeepAlive(p)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// pageSize is the system's, in bytes.
var pageSize = int64(os.Getpagesize())

// inCache says whether the page cache has all of a part of a mapping, which
// begins with a page, and could give it at once: a page that is being read, or
// could not be, does not count. The part is not read itself.
func inCache(view []byte) (bool, error) {
	var pages [256]byte
	for len(view) > 0 {
		n := min(len(view), len(pages)*int(pageSize))
		_, _, errno := unix.Syscall(unix.SYS_MINCORE,
			uintptr(unsafe.Pointer(unsafe.SliceData(view))), uintptr(n), uintptr(unsafe.Pointer(&pages[0])))
		if errno != 0 {
			return false, errno
		}
		for _, page := range pages[:(n+int(pageSize)-1)/int(pageSize)] {
			if page&1 == 0 {
				return false, nil
			}
		}
		view = view[n:]
	}
	return true, nil
}

// splitOffset is how preadv2 and pwritev2 take an offset: in two machine words.
func splitOffset(off int64) (lo, hi uintptr) {
	const wordBits = 32 << (^uintptr(0) >> 63)
	// Two shifts, because one by 64 bits is what vet warns about.
	return uintptr(off), uintptr(uint64(off) >> (wordBits - 1) >> 1)
}

// ignoringEINTR repeats a call that a signal interrupted. The Go runtime sends
// itself signals, so this happens.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); err != unix.EINTR {
			return err
		}
	}
}

// unsupported says whether an errno means that the medium doesn't have the
// operation, whatever its arguments.
func unsupported(err error) bool { return err == unix.EOPNOTSUPP || err == unix.ENOSYS }
