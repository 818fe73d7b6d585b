package client

import (
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// masked is a thread on which signals are blocked, and what to restore.
type masked struct{ old unix.Sigset_t }

// blockSignals blocks, on the goroutine's thread, every signal that could
// interrupt a system call and have it restarted (see the package comment). The
// goroutine keeps its thread until restore. Left alone are those that a thread
// gets for its own faults, and the two that change something on all threads and
// wait for each.
func blockSignals() masked {
	runtime.LockOSThread()
	var m masked
	// It can't fail: the arguments are right.
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &blocked, &m.old)
	return m
}

// restore ends what blockSignals began.
func (m *masked) restore() {
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &m.old, nil)
	runtime.UnlockOSThread()
}

// blocked is all signals but some.
var blocked = func() (set unix.Sigset_t) {
	for i := range set.Val {
		set.Val[i] = ^set.Val[i]
	}
	for _, sig := range []int{
		int(syscall.SIGSEGV), int(syscall.SIGBUS), int(syscall.SIGFPE), int(syscall.SIGILL),
		int(syscall.SIGTRAP), int(syscall.SIGSYS),
		32, 33, // the C library's and the Go runtime's, for all threads
	} {
		bits := 8 * int(unix.SizeofLong)
		set.Val[(sig-1)/bits] &^= 1 << ((sig - 1) % bits)
	}
	return set
}()
