package client

import (
	"errors"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"scstuser/ioctl/abi"
)

// kernel is the system calls that a Device makes; tests play the node with it.
type kernel interface {
	// open opens the node.
	open(path string, nonBlocking bool) (fd int, err error)
	// ioctl may wait. Signals don't interrupt it.
	ioctl(fd int, nr abi.Ioctl, arg abi.Addr) syscall.Errno
	// wait returns when the node is ready, wake was called, or for no reason.
	wait(fd int)
	// wake ends the wait under way, or else the next one.
	wake()
	// close closes the node, and what wait and wake need.
	close(fd int)
}

// linux is the real kernel.
type linux struct{ event int } // an eventfd

func newLinux() (*linux, error) {
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	return &linux{event: event}, nil
}

func (*linux) open(path string, nonBlocking bool) (int, error) {
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if nonBlocking {
		flags |= unix.O_NONBLOCK
	}
	for {
		fd, err := unix.Open(path, flags, 0)
		if !errors.Is(err, unix.EINTR) {
			return fd, err
		}
	}
}

func (*linux) ioctl(fd int, nr abi.Ioctl, arg abi.Addr) syscall.Errno {
	unblock := blockSignals()
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(nr), uintptr(arg))
	unblock.restore()
	return errno
}

func (l *linux) wait(fd int) {
	fds := [2]unix.PollFd{{Fd: int32(l.event), Events: unix.POLLIN}, {Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(fds[:], -1); err == nil && n > 0 && fds[0].Revents != 0 {
		var count [8]byte
		_, _ = unix.Read(l.event, count[:]) // another may have read it: then it is 0 again, too
	}
}

func (l *linux) wake() {
	one := uint64(1)
	_, _ = unix.Write(l.event, (*[8]byte)(unsafe.Pointer(&one))[:]) // full is as good
}

func (l *linux) close(fd int) {
	// An error would be of a flush that this file does not have.
	_ = unix.Close(fd)
	_ = unix.Close(l.event)
}
