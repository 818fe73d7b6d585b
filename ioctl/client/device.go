package client

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// ErrGone is in the errors of a device that is no more: the node's host has
// ended or has dropped it, or Close was called.
var ErrGone = errors.New("the device is gone")

// Device is a device registered with a node: a handlers.Port. Its methods may
// be called from any goroutine. See Open.
type Device struct {
	path  string
	desc  ucmd.Desc
	multi int // subcommands and replies per ioctl
	sys   kernel
	fd    int
	// frames is the memory of all frames.
	frames *arena.Arena

	// polling: gets don't block, or not any more; they wait with poll.
	polling atomic.Bool
	// poll holds one token; who has it polls for all, and uses sleep.
	poll  chan struct{}
	sleep *time.Timer

	// gone is closed when the device has been found gone, or by Close; why is
	// set before that.
	gone     chan struct{}
	why      error
	goneOnce sync.Once
	// closed is closed when the last ioctl has returned after Close and
	// everything is released.
	closed chan struct{}

	// mu guards what follows.
	mu      sync.Mutex
	inside  int // who may use fd and a frame at this moment
	closing bool
	idle    []*frame // to use again, the latest last
	watches []*watch
	opt     ucmd.Opt       // as registered or last set
	long    map[uint32]int // handles of commands with a long CDB: bytes beyond 16
}

// The ways in which handlers use a Device.
var (
	_ handlers.Port            = (*Device)(nil)
	_ handlers.ExtendedCDBPort = (*Device)(nil)
	_ handlers.ReleasedPort    = (*Device)(nil)
	_ handlers.OptionsPort     = (*Device)(nil)
	_ handlers.Preallocator    = (*Device)(nil)
)

// Desc returns how the device was registered.
func (d *Device) Desc() ucmd.Desc { return d.desc }

// Released is closed when the device is gone: the node said so, or Close was
// called. It implements handlers.ReleasedPort.
func (d *Device) Released() <-chan struct{} { return d.gone }

// enter lets the caller use the descriptor and a frame until leave. The error
// is ErrGone, or says that there is no memory.
func (d *Device) enter() (*frame, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing {
		return nil, d.errorf("use it", ErrGone)
	}
	if n := len(d.idle); n > 0 {
		f := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.inside++
		return f, nil
	}
	f, err := newFrame(d.frames, d.multi)
	if err != nil {
		return nil, d.errorf("get ready for an ioctl", err)
	}
	d.inside++
	return f, nil
}

// leave ends what enter began. The last one out after Close releases everything.
func (d *Device) leave(f *frame) {
	d.mu.Lock()
	d.idle = append(d.idle, f)
	d.inside--
	last := d.closing && d.inside == 0
	d.mu.Unlock()
	if last {
		d.release()
	}
}

// Close ends the device: it wakes those who wait, lets the ioctls under way end,
// and closes the node, which is what unregisters the device: its host answers
// what was fetched and not replied to, and what was not fetched (rule R70). Call
// it after handlers.Serve has returned. If ctx ends first the error says how
// many ioctls are still inside; the last one then closes the node. A second
// Close waits likewise.
func (d *Device) Close(ctx context.Context) error {
	d.mu.Lock()
	first := !d.closing
	d.closing = true
	if first {
		d.inside++ // this one
	}
	watches := d.watches
	d.watches = nil
	d.mu.Unlock()
	if first {
		for _, w := range watches {
			w.stop()
		}
		d.lost(d.errorf("use it", ErrGone))
		go func() { // the host may not answer
			d.unblock()
			d.mu.Lock()
			d.inside--
			last := d.inside == 0
			d.mu.Unlock()
			if last {
				d.release()
			}
		}()
	}
	select {
	case <-d.closed:
		return nil
	case <-ctx.Done():
	}
	d.mu.Lock()
	n := d.inside
	d.mu.Unlock()
	return d.errorf("close it", fmt.Errorf("%d ioctls have not returned; is the host of the node alive? %w", n, context.Cause(ctx)))
}

// release gives everything back. Nobody is inside, and nobody comes any more.
func (d *Device) release() {
	d.sys.close(d.fd)
	for _, f := range d.idle {
		_ = d.frames.Free(f.addr) // it came from there
	}
	d.idle = nil
	_ = d.frames.Close() // nothing is live
	close(d.closed)
}

// lost marks the device as gone, the first time with what those who wait get.
func (d *Device) lost(why error) {
	d.goneOnce.Do(func() {
		d.why = why
		close(d.gone)
	})
}

// errorf says with which device and node something failed.
func (d *Device) errorf(doing string, err error) error {
	return fmt.Errorf("device %s at %s: %s: %w", d.desc.Name, d.path, doing, err)
}

// failed makes an error of an ioctl's errno.
func (d *Device) failed(nr abi.Ioctl, errno syscall.Errno) error {
	if fatal(errno) {
		err := d.errorf(nr.String(), fmt.Errorf("%w: is the host of the node still running? %w", ErrGone, errno))
		d.lost(err)
		return err
	}
	return d.errorf(nr.String(), errno)
}

// fatal says that an ioctl's errno means the end of the device: the device or
// the file system behind the node is no more.
func fatal(errno syscall.Errno) bool {
	switch errno {
	case syscall.ENODEV, syscall.ENOTCONN, syscall.ECONNABORTED, syscall.EBADF, syscall.EIO, syscall.ENXIO:
		return true
	}
	return false
}
