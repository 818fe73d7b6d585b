package kernel

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The ioctls of a device, as linux/nbd.h has them. go-nbd's client knows most of
// them, but not NBD_SET_FLAGS, without which the kernel neither flushes nor
// trims, and its GO is one that only go-nbd's own server takes (its length is 0).
const (
	ioctlSetSock    = 0xab00
	ioctlSetBlock   = 0xab01
	ioctlDoIt       = 0xab03
	ioctlClearSock  = 0xab04
	ioctlSetBlocks  = 0xab07
	ioctlDisconnect = 0xab08
	ioctlSetTimeout = 0xab09
	ioctlSetFlags   = 0xab0a
)

// ioctler makes ioctls on a device. NBD_DO_IT does not come back while the device
// is attached.
type ioctler interface {
	ioctl(request uint, arg int) error
	// size is how many bytes the device has; 0 while it is not attached.
	size() (int64, error)
	// writeBack sends what was written to the device.
	writeBack() error
	Close() error
}

// ioctlDevice is a device that is attached by ioctls. The kernel has it attached
// while one thread of this process is in NBD_DO_IT, and no longer.
type ioctlDevice struct {
	index uint32
	dev   ioctler
	// done is closed when that thread has come back; err is what it says,
	// constant afterwards.
	done chan struct{}
	err  error

	attached bool // connect has succeeded
	sockets  []*os.File
	closing  sync.Once
}

// openDevice opens a device for ioctls.
func openDevice(index uint32) (*ioctlDevice, error) {
	name := pathOf(index)
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENXIO):
		return nil, fmt.Errorf("there is no %s: load the module (as root: modprobe nbd), or choose another one: %w", name, err)
	case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
		return nil, explain(index, err)
	case err != nil:
		return nil, fmt.Errorf("open the device: %w", err)
	}
	// A device that is open only once is taken to have no blocks when its last
	// connection ends, and what was written to it is forgotten without an error.
	second, err := os.Open(name)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("open the device again: %w", err)
	}
	return &ioctlDevice{index: index, dev: deviceFile{f, second}, done: make(chan struct{})}, nil
}

// connect gives the kernel a device's sockets and has it attached. It takes the
// sockets over.
func (d *ioctlDevice) connect(disk *disk, sockets []*os.File) error {
	d.sockets = sockets
	fds := descriptors(sockets)
	set := make(chan error, 1)
	go d.run(disk, fds, set)
	if err := <-set; err != nil {
		return explain(d.index, err)
	}
	d.attached = true
	return explain(d.index, d.awaitSize())
}

// sizeInterval is how often the device is asked for its size.
const sizeInterval = 5 * time.Millisecond

// awaitSize waits until NBD_DO_IT has made a disk of the device, or has failed.
func (d *ioctlDevice) awaitSize() error {
	for end := time.Now().Add(answerTimeout); ; {
		select {
		case <-d.done:
			if d.err == nil {
				return errors.New("the connection has ended at once; does the server's log say why?")
			}
			return d.err
		case <-time.After(sizeInterval):
		}
		n, err := d.dev.size()
		switch {
		case err != nil || n > 0:
			return err
		case time.Now().After(end):
			return fmt.Errorf("the kernel did not make a disk of it within %v", answerTimeout)
		}
	}
}

// run is one thread from the first ioctl to the last, as the kernel wants it. It
// says in set how it went so far when only NBD_DO_IT is left. A signal would end
// that, and the device with it: the runtime's and other people's go elsewhere.
func (d *ioctlDevice) run(disk *disk, fds []int, set chan<- error) {
	defer close(d.done)
	runtime.LockOSThread() // and never unlock: the thread ends with us
	var all unix.Sigset_t
	for i := range all.Val {
		all.Val[i] = ^all.Val[i]
	}
	err := unix.PthreadSigmask(unix.SIG_BLOCK, &all, nil)
	if err == nil {
		err = d.configure(disk, fds)
	}
	if err != nil {
		if !errors.Is(err, unix.EBUSY) { // or it is somebody else's
			err = errors.Join(err, d.dev.ioctl(ioctlClearSock, 0))
		}
		set <- err
		return
	}
	set <- nil
	d.err = d.dev.ioctl(ioctlDoIt, 0)
	// What is in flight on connections that have ended would be for ever.
	_ = d.dev.ioctl(ioctlClearSock, 0)
}

// configure is all before NBD_DO_IT. The sockets come first: a device that is in
// use is found out with them, and not yet touched.
func (d *ioctlDevice) configure(disk *disk, fds []int) error {
	for _, fd := range fds {
		err := d.dev.ioctl(ioctlSetSock, fd)
		switch {
		case errors.Is(err, unix.EINVAL):
			return unix.EBUSY // as the kernel says of one that netlink has attached
		case err != nil:
			return err
		}
	}
	for _, step := range []struct {
		request uint
		arg     uint64
	}{
		{ioctlSetBlock, disk.blockSize},
		{ioctlSetBlocks, disk.size / disk.blockSize},
		{ioctlSetFlags, disk.flags},
		{ioctlSetTimeout, seconds(disk.timeout)},
	} {
		if err := d.dev.ioctl(step.request, int(step.arg)); err != nil {
			return fmt.Errorf("ioctl %#x: %w", step.request, err)
		}
	}
	return nil
}

// over says whether NBD_DO_IT has come back.
func (d *ioctlDevice) over() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// politeTime is how long a device that is detached has to tell the server so. The
// kernel waits for a server that does not read.
const politeTime = 2 * time.Second

// detach has what was written to the device sent, and takes it out of use.
func (d *ioctlDevice) detach(opt *Options) error {
	w := startWriting(d.dev.writeBack, opt)
	lost := w.await(d.index, opt)
	givenUp := errors.Is(lost, errGivenUp)
	if !givenUp && !d.over() {
		said := make(chan error, 1)
		go func() { said <- d.dev.ioctl(ioctlDisconnect, 0) }()
		select {
		case <-said: // or not; the end of the connection says it too
		case <-opt.Hurry:
		case <-time.After(politeTime):
		}
	}
	for _, s := range d.sockets { // or the kernel, waiting for the server, does not let go
		_ = unix.Shutdown(int(s.Fd()), unix.SHUT_RDWR)
	}
	if givenUp { // before Linux 5.19 requests only end by a timeout
		_ = d.dev.ioctl(ioctlSetTimeout, 1)
	}
	if err := d.dev.ioctl(ioctlClearSock, 0); err != nil {
		return errors.Join(explain(d.index, err), lost)
	}
	<-d.done
	if givenUp { // now it is known
		select {
		case err := <-w.ended:
			if err == nil {
				lost = nil
			}
		case <-time.After(politeTime):
		}
	}
	return explainLost(d.index, lost)
}

// Close detaches the device, which does not go on without us.
func (d *ioctlDevice) Close(opt *Options) (err error) {
	d.closing.Do(func() {
		if d.attached {
			err = d.detach(opt)
		}
		closeAll(&d.sockets)
		err = errors.Join(err, d.dev.Close())
	})
	return err
}

// deviceFile is an open device, and the same once more.
type deviceFile struct {
	*os.File
	second *os.File
}

// Close implements ioctler.
func (f deviceFile) Close() error { return errors.Join(f.File.Close(), f.second.Close()) }

// size implements ioctler.
func (f deviceFile) size() (int64, error) { return f.Seek(0, io.SeekEnd) }

// writeBack implements ioctler.
func (f deviceFile) writeBack() error { return writeBack(f.File) }

// ioctl implements ioctler.
func (f deviceFile) ioctl(request uint, arg int) error {
	return unix.IoctlSetInt(int(f.Fd()), request, arg)
}
