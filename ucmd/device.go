package ucmd

import (
	"context"
	"fmt"
	"sync/atomic"
	"syscall"
	"time"

	"scstuser/internal/steplock"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd/sgv"
)

// Device is one registered device: what an open scst_user node is to a
// handler. Its methods may be called from any goroutine.
type Device struct {
	reg      *Registry
	desc     Desc
	limits   Limits
	maxAlloc int
	mem      Memory
	obs      Observer // nil: nobody listens

	tdev        *target.Device
	pool, clust *sgv.Pool // clust may be nil

	// modes is parse, on-free and reuse packed, for the hot path.
	modes atomic.Uint32
	// inline is the handler in this process, if it takes part in that.
	inline atomic.Pointer[InlineFunc]
	// over: the cleanup worker has ended. Whatever is queued after that is
	// given up by the goroutine that queued it.
	over atomic.Bool

	// supervised: fetches are noted for the supervisor (supervise.go), which
	// ends when stopSupervisor is closed; nil without one.
	supervised     bool
	stopSupervisor chan struct{}
	// stuckTold: the release was found to be stuck, and the Reporter knows.
	// rounds are those of the cleanup worker.
	stuckTold atomic.Bool
	rounds    atomic.Int64

	// done is closed when the release is over; stuck is set before that.
	done  chan struct{}
	stuck *StuckError

	// patience is how long the cleanup waits without progress; set before it
	// is started.
	patience time.Duration
	// adopted is closed when the sessions of the device that this one
	// continues are taken over (grace.go); nil if it continues none. Set
	// before the device is known.
	adopted chan struct{}

	// mu is the command lock; it guards everything below and, where their
	// comments say so, the ucmds.
	mu    steplock.Mutex
	opt   Opt
	hash  []*Ucmd // a power of two of buckets, linked by hashNext
	count int     // of ucmds in hash
	nextH uint32
	spare *Ucmd // ucmds to use again, linked by hashNext
	// readyFirst, readyLast: the ready list; lastMgmt: the last management
	// ucmd at its head, nil if none.
	readyFirst, readyLast, lastMgmt *Ucmd
	// waiters are getters that wait, the latest last: it is woken first (fact 18).
	waiters []*waiter
	// idleWaiters are waiters to use again.
	idleWaiters []*waiter
	// pumps counts the pumps under way (inline.go).
	pumps int
	// nonBlocking: gets return EAGAIN instead of waiting.
	nonBlocking bool
	// released: the release has begun, and its cleanup worker takes care of
	// what is ready or sent. cleanupDone: no session is left, so nothing new
	// can come.
	released, cleanupDone bool
	// severed: what the handler had in hand when the release began it may
	// still be using (sever.go).
	severed bool
	// losing: HandlerGone was called. lost: released, but the commands of the
	// handler are kept for another one; grace is the wait for it then.
	losing, lost bool
	grace        *grace
	// gen counts changes, so that the cleanup can tell progress.
	gen uint64
	// wake tells the cleanup worker that something changed.
	wake chan struct{}
	// stats is what Counters returns.
	stats Counters

	faults faults
}

// faults are switches that take healing steps out of the lifecycle. Only
// tests in this package set them, before the device is used; they show what
// each step is for.
type faults struct {
	noTopFlush, noBottomFlush bool // of unjamDevice
	noReleaseFlush            bool // of release, after the unregistration
	keepBackground            bool
	leakExtendedCDB           bool
	dropTwice                 bool // the reference of a reply to an EXEC
	lateOnFreeState           bool // set when the object is back in its pool
	noGiveBack                bool // of what a release has overtaken
}

// Desc returns how the device was registered.
func (d *Device) Desc() Desc { return d.desc }

// Target returns the device as front ends see it.
func (d *Device) Target() *target.Device { return d.tdev }

// pack keeps what the hot path asks for.
func (o *Opt) pack() uint32 {
	return uint32(o.Parse) | uint32(o.OnFree)<<8 | uint32(o.Reuse)<<16
}

func (d *Device) parseType() ParseType { return ParseType(d.modes.Load()) }
func (d *Device) onFree() OnFreeType   { return OnFreeType(d.modes.Load() >> 8) }

// reuses says whether buffers are kept for commands of this direction (R53).
func (d *Device) reuses(c *target.Cmd) bool {
	switch ReuseType(d.modes.Load() >> 16) {
	case ReuseAll:
		return true
	case ReuseRead:
		return c.Dir == scsi.DirRead
	case ReuseWrite:
		return c.Dir == scsi.DirWrite
	}
	return false
}

// GetOptions returns the options in force (rule R16).
func (d *Device) GetOptions() Opt {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.opt
}

// SetOptions changes the options for subsequent commands. It suspends the
// device's activity; EBUSY if commands don't end in time, EINVAL for bad
// values, and nothing is changed then. It must not be called by the
// only goroutine that replies (rules R16 to R20).
func (d *Device) SetOptions(o Opt) error {
	if err := o.Validate(); err != nil {
		return err
	}
	resume, err := d.suspend() // nobody else suspends it meanwhile, nor attaches
	if err != nil {
		return err
	}
	defer resume()
	if o.TST != d.GetOptions().TST && len(d.tdev.Sessions()) > 0 {
		return fmt.Errorf("tst can't be changed while sessions exist: %w", errEINVAL)
	}
	o = d.desc.parsable(o)
	d.mu.Lock()
	d.opt = o
	d.mu.Unlock()
	d.modes.Store(o.pack())
	d.tdev.SetControl(o.OwnOrder == 1, o.DSense == 1, o.TAS == 1)
	return nil
}

// suspend waits for the device to be quiet, at most SuspendTimeout; ENODEV if
// another handler is waited for.
func (d *Device) suspend() (resume func(), err error) {
	switch {
	case d.isLost():
		return nil, fmt.Errorf("device %s: its handler is gone: %w", d.desc.Name, syscall.ENODEV)
	case d.adopting():
		// Its sessions are suspended already, until the handler has answered
		// for them: it may be this call that it has to return from first.
		return func() {}, nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), d.limits.SuspendTimeout)
	defer cancel()
	resume, err = d.tdev.Suspend(ctx)
	if err != nil {
		return nil, fmt.Errorf("device %s: %w after %v: %w", d.desc.Name, err, d.limits.SuspendTimeout, syscall.EBUSY)
	}
	return resume, nil
}

// FlushCache queues ON_CACHED_MEM_FREE for every idle buffer of the device's
// pools, in ascending order of size class, and returns without waiting for the
// replies. Buffers in use stay. It suspends the device's activity as
// SetOptions does, and fails as that one does (rule R35).
func (d *Device) FlushCache() error {
	resume, err := d.suspend()
	if err != nil {
		return err
	}
	d.flushPools()
	resume()
	return nil
}

func (d *Device) flushPools() {
	d.pool.Flush()
	if d.clust != nil {
		d.clust.Flush()
	}
}

// CapacityChanged tells every session that the capacity has changed (R36).
func (d *Device) CapacityChanged() { d.tdev.CapacityChanged() }

// Unregister is the obsolete UNREGISTER_DEVICE: the device becomes
// non-blocking and waiting getters return; it stays usable (rule R15).
func (d *Device) Unregister() {
	d.mu.Lock()
	d.nonBlocking = true
	d.wakeAll()
	d.mu.Unlock()
}

// PoolStats returns the counters of the device's pools.
func (d *Device) PoolStats() []sgv.Stats {
	st := []sgv.Stats{d.pool.Stats()}
	if d.clust != nil {
		st = append(st, d.clust.Stats())
	}
	return st
}
