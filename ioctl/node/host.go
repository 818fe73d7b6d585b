package node

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"scstuser/ucmd"
)

// Host is what the scst_user module as a whole is: the devices, and the rules
// for those who bring them. Its methods may be called from any goroutine.
type Host struct {
	opt   Options
	reg   *ucmd.Registry
	start time.Time // of recordings

	lastFile atomic.Int64 // numbers files
	// recording failed once, which was logged.
	recordFailed atomic.Bool
	unknown      sync.Map // interface versions that were logged
	idle         idleThreads
	attending    sync.WaitGroup

	// mu guards what follows.
	mu      sync.Mutex
	closed  bool
	devices map[string]*attended
	spaces  map[any]*space // of processes that share pools
}

// New makes a host without devices.
func New(o Options) *Host {
	o.EnsureDefaults()
	return &Host{
		opt: o, reg: ucmd.NewRegistry(o.Limits), start: time.Now(),
		devices: map[string]*attended{}, spaces: map[any]*space{},
	}
}

// Devices returns the devices that exist, those that are being released
// included, in no particular order.
func (h *Host) Devices() []*ucmd.Device { return h.reg.Devices() }

// Device returns the device of that name, nil if there is none.
func (h *Host) Device(name string) *ucmd.Device {
	for _, d := range h.reg.Devices() {
		if d.Desc().Name == name {
			return d
		}
	}
	return nil
}

// Releases counts the releases so far.
func (h *Host) Releases() ucmd.ReleaseStats { return h.reg.Releases() }

// Open makes an open file description of the node; nonBlocking is O_NONBLOCK
// of the open flags (rule R10). tid is the opener's thread, for recordings.
func (h *Host) Open(nonBlocking bool, tid int) *File {
	f := &File{host: h, id: int(h.lastFile.Add(1)), nonBlocking: nonBlocking}
	h.recordOpen(f, tid)
	return f
}

// ErrClosed is returned for a host that is closing.
var ErrClosed = errors.New("the host is shutting down")

// Close releases all devices, whether or not their files are open, and waits
// for the end of all releases, or for ctx. Registrations fail with ENODEV from
// then on.
func (h *Host) Close(ctx context.Context) error {
	h.mu.Lock()
	h.closed = true
	var all []*attended
	for _, a := range h.devices {
		all = append(all, a)
	}
	h.mu.Unlock()
	for _, a := range all {
		a.file.shut((*ucmd.Device).Release)
	}
	over := make(chan struct{})
	go func() {
		h.attending.Wait()
		close(over)
	}()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("close the host: devices are still being released: %w", ctx.Err())
	}
}

// nameWait is how long REGISTER waits for a device of the same name that is
// being released: the module refuses the name for a while then (fact 8).
const nameWait = 5 * time.Second

// closePause is how long REGISTER waits for the owner of the name to be seen to
// close: the last close of a file is told after close(2) has returned (F6), and
// the next register may overtake it.
const closePause = 100 * time.Millisecond

// reserve takes the name for a, waiting for a former device's end. The errors
// are EEXIST (rule R9), ENODEV, ENOMEM for too many devices, and EINTR.
func (h *Host) reserve(ctx context.Context, name string, a *attended) error {
	t := time.NewTimer(nameWait)
	defer t.Stop()
	for {
		h.mu.Lock()
		old := h.devices[name]
		switch {
		case h.closed:
			h.mu.Unlock()
			return fmt.Errorf("register device %q: %w: %w", name, ErrClosed, syscall.ENODEV)
		case old == nil && len(h.devices) >= h.opt.MaxDevices:
			h.mu.Unlock()
			return fmt.Errorf("register device %q: there are %d devices already: %w", name, h.opt.MaxDevices, syscall.ENOMEM)
		case old == nil:
			h.devices[name] = a
			h.attending.Add(1)
			h.mu.Unlock()
			return nil
		}
		if old.leaving() && old.dev != nil && old.dev.Grace().Waiting {
			// Whether a may continue it is the registry's to say.
			a.former = old
			h.devices[name] = a
			h.attending.Add(1)
			h.mu.Unlock()
			return nil
		}
		h.mu.Unlock()
		if !within(ctx, closePause, old.gone.Done()) && !old.leaving() {
			return fmt.Errorf("register device %q: a device of that name exists: %w", name, syscall.EEXIST)
		}
		if old.dev != nil && old.dev.Grace().Waiting {
			continue
		}
		select {
		case <-old.over:
		case <-t.C:
			return fmt.Errorf("register device %q: the former device of that name is still being released: %w", name, syscall.EEXIST)
		case <-ctx.Done():
			return syscall.EINTR
		}
	}
}

// within waits for ch to be closed; false: it was not within limit, or before
// ctx ended.
func within(ctx context.Context, limit time.Duration, ch <-chan struct{}) bool {
	t := time.NewTimer(limit)
	defer t.Stop()
	select {
	case <-ch:
		return true
	case <-t.C:
	case <-ctx.Done():
	}
	return false
}

// forget gives a's name back, unless another handler has the device.
func (h *Host) forget(a *attended) {
	h.mu.Lock()
	if h.devices[a.name] == a {
		delete(h.devices, a.name)
	}
	h.mu.Unlock()
	h.attending.Done()
}

// refuse undoes reserve for a device that could not be registered: a former one
// that it should have continued goes on waiting.
func (h *Host) refuse(a *attended) {
	h.mu.Lock()
	if f := a.former; f != nil && h.devices[a.name] == a && !isOver(f) {
		h.devices[a.name] = f
	}
	h.mu.Unlock()
	h.forget(a)
}

func isOver(a *attended) bool {
	select {
	case <-a.over:
		return true
	default:
		return false
	}
}
