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
		a.file.shut()
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
		h.mu.Unlock()
		if !old.leaving() {
			return fmt.Errorf("register device %q: a device of that name exists: %w", name, syscall.EEXIST)
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

// forget gives a name back.
func (h *Host) forget(name string) {
	h.mu.Lock()
	delete(h.devices, name)
	h.mu.Unlock()
	h.attending.Done()
}
