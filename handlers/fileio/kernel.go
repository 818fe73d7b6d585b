package fileio

import (
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
	fdatasync   func(fd int) error
	fallocate   func(fd int, mode uint32, off, n int64) error
}

var systemKernel = kernel{
	pread:       unix.Pread,
	pwrite:      unix.Pwrite,
	pwriteDsync: pwriteDsync,
	readNowait:  readNowait,
	writeNowait: writeNowait,
	fdatasync:   unix.Fdatasync,
	fallocate:   unix.Fallocate,
}

// rawReadMax is the length up to which a read from the page cache is done
// without telling the Go scheduler; copying this much takes some microseconds.
const rawReadMax = 64 << 10

// readNowait is preadv2 with RWF_NOWAIT: it copies from the page cache and
// returns EAGAIN, or less than was asked for, where it would have to wait.
//
// The scheduler isn't told (RawSyscall) when the read is short: it takes a
// processor away from a goroutine that stays in a system call, and telling it
// costs about a tenth of the whole read (BenchmarkNowait). That is only right for a call that
// doesn't sleep, which is what RWF_NOWAIT says, and returns quickly, because
// the garbage collector waits for it.
func readNowait(fd int, p []byte, off int64) (int, error) {
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	lo, hi := splitOffset(off)
	var n uintptr
	var errno unix.Errno
	if len(p) <= rawReadMax {
		n, _, errno = unix.RawSyscall6(unix.SYS_PREADV2, uintptr(fd),
			uintptr(unsafe.Pointer(&iov)), 1, lo, hi, unix.RWF_NOWAIT)
	} else {
		n, _, errno = unix.Syscall6(unix.SYS_PREADV2, uintptr(fd),
			uintptr(unsafe.Pointer(&iov)), 1, lo, hi, unix.RWF_NOWAIT)
	}
	runtime.KeepAlive(p)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

func writeNowait(fd int, p []byte, off int64) (int, error) {
	return pwritev2(fd, p, off, unix.RWF_NOWAIT)
}

func pwriteDsync(fd int, p []byte, off int64) (int, error) {
	return pwritev2(fd, p, off, unix.RWF_DSYNC)
}

// pwritev2 is unix.Pwritev2 for one buffer, without its slices.
func pwritev2(fd int, p []byte, off int64, flags uintptr) (int, error) {
	iov := unix.Iovec{Base: unsafe.SliceData(p)}
	iov.SetLen(len(p))
	lo, hi := splitOffset(off)
	n, _, errno := unix.Syscall6(unix.SYS_PWRITEV2, uintptr(fd),
		uintptr(unsafe.Pointer(&iov)), 1, lo, hi, flags)
	runtime.KeepAlive(p)
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
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
