package target

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"scstuser/scsi"
)

// ErrReleased is returned for a device that is being, or has been, released.
var ErrReleased = errors.New("the device is being released")

// ErrBusy is returned when commands did not end in time (EBUSY, rule R16).
var ErrBusy = errors.New("commands are still being executed")

// Options are a Device's settings.
type Options struct {
	// BlockSize is the logical block size in bytes; default 512.
	BlockSize uint32
	// DetachTimeout bounds how long a DETACH holds the device; default 5 s.
	DetachTimeout time.Duration
	// OwnOrder leaves task attributes to the handler (has_own_order_mgmt).
	OwnOrder bool
	// DSense selects descriptor format sense.
	DSense bool
	// TAS: aborted commands end with TASK ABORTED.
	TAS bool
	// LatencySample: the latency of one command in so many is measured, 1
	// for each. Default 8.
	LatencySample int
}

// EnsureDefaults fills in what was left zero.
func (o *Options) EnsureDefaults() {
	if o.BlockSize == 0 {
		o.BlockSize = 512
	}
	if o.DetachTimeout == 0 {
		o.DetachTimeout = 5 * time.Second
	}
	if o.LatencySample == 0 {
		o.LatencySample = defaultLatencySample
	}
}

// Device is one logical unit. Its methods may be called from any goroutine.
type Device struct {
	name string
	opt  Options

	ownOrder, dSense, tas atomic.Bool
	nextSession           atomic.Uint64
	// reservedBy is the session that holds an SPC-2 reservation, or nil.
	reservedBy atomic.Pointer[Session]

	// suspending is a one-place semaphore: whoever has put the token in has
	// suspended the device, or is about to.
	suspending chan struct{}
	// quiet is signalled when a suspended session has become inactive. A
	// signal may be stale: it says "look again".
	quiet chan struct{}

	// mu guards what follows.
	mu       sync.Mutex
	sessions []*Session
	// handler is who is asked about new sessions; each session knows its own.
	handler DevHandler
	// hold is what is to know while there is no handler (hold.go).
	hold hold
	// gone: Unregister was called, nobody attaches any more.
	gone bool
	// ended are the counters of the sessions that are gone.
	ended Counters
}

// NewDevice makes a device whose commands go to h.
func NewDevice(name string, h DevHandler, o Options) *Device {
	o.EnsureDefaults()
	d := &Device{
		name: name, opt: o, handler: h,
		suspending: make(chan struct{}, 1), quiet: make(chan struct{}, 1),
	}
	d.SetControl(o.OwnOrder, o.DSense, o.TAS)
	return d
}

// Name returns the device's name.
func (d *Device) Name() string { return d.name }

// BlockSize returns the logical block size in bytes.
func (d *Device) BlockSize() uint32 { return d.opt.BlockSize }

// SetControl applies the control-mode options that take effect at once (rule R18).
func (d *Device) SetControl(ownOrder, dSense, tas bool) {
	d.ownOrder.Store(ownOrder)
	d.dSense.Store(dSense)
	d.tas.Store(tas)
}

// Sessions returns the sessions that are attached now.
func (d *Device) Sessions() []*Session {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.sessions)
}

// addSession makes s one of the device's sessions; false: the device is gone.
func (d *Device) addSession(s *Session) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.gone {
		return false
	}
	s.setOrphaned(d.hold.on)
	d.sessions = append(d.sessions, s)
	return true
}

// removeSession forgets s, and the reservation that it may hold.
func (d *Device) removeSession(s *Session) {
	d.reservedBy.CompareAndSwap(s, nil)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.retire(s)
	d.sessions = slices.DeleteFunc(d.sessions, func(x *Session) bool { return x == s })
}

// Unregister takes the device away from its sessions: commands that come from
// now on, and those that the handler does not have, end with LOGICAL UNIT NOT
// SUPPORTED; front ends are told; each session is detached when its last
// command is over. It waits until all are gone, and whoever was attaching has
// been refused, or returns an error that wraps ctx's or ErrBusy; the rest goes
// on by itself then. The caller sees to it that the handler's commands end
// (rule R70). Calling it again waits again.
func (d *Device) Unregister(ctx context.Context) error {
	d.mu.Lock()
	d.gone = true
	d.hold.announce()
	sessions := slices.Clone(d.sessions)
	d.mu.Unlock()
	for _, s := range sessions {
		s.release()
	}
	for _, s := range sessions {
		s.startClose()
	}
	for _, s := range sessions {
		if err := s.Close(ctx); err != nil {
			return err
		}
	}
	// An attachment under way holds a suspension; once this one is there,
	// nobody attaches any more.
	resume, err := d.Suspend(ctx)
	if err != nil {
		return fmt.Errorf("release of device %s: %w", d.name, err)
	}
	resume()
	return nil
}

// CapacityChanged announces CAPACITY DATA HAS CHANGED to every session (R36).
func (d *Device) CapacityChanged() {
	for _, s := range d.Sessions() {
		s.Notify(scsi.SenseCapacityChanged)
	}
}
