package ucmd

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// StuckError says what a release had to leave behind (I5).
type StuckError struct {
	Device string
	// Commands are the ucmds that nobody lets go of.
	Commands []Command
	// Err is why the device's sessions could not be detached, nil if they were.
	Err error
}

// Error lists the ucmds with their owners.
func (e *StuckError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "device %s: released with %d ucmds that nobody lets go of", e.Device, len(e.Commands))
	for i, c := range e.Commands {
		b.WriteString([]string{": ", "; "}[min(i, 1)] + c.String())
	}
	if e.Err != nil {
		fmt.Fprintf(&b, " (%v)", e.Err)
	}
	return b.String()
}

// Unwrap returns Err.
func (e *StuckError) Unwrap() error { return e.Err }

// Release begins to take the device down: what the last close of the
// scst_user node does (rules R70 to R72, scst_user.md 2.7). The handler's
// fetched commands end with LOGICAL UNIT NOT SUPPORTED, queued ones with BUSY.
// It returns at once; Released is closed at the end. Calling it again does
// nothing. It ends a wait for another handler, too (HandlerGone), unless one
// has registered: the device is that one's then.
//
// A handler in this process must have ended its work before: its buffers may
// be used again, and its initiators are answered, from here on. For one that
// does not end see Sever.
func (d *Device) Release() {
	d.mu.Lock()
	g := d.grace
	if !d.released {
		d.beginRelease()
	}
	d.mu.Unlock()
	if g != nil {
		d.reg.endGrace(g)
	}
}

// beginRelease starts the release of a device that is not being released yet.
// Caller holds mu.
func (d *Device) beginRelease() {
	d.shutOut()
	go d.release()
}

// shutOut shuts the handler out. Caller holds mu.
func (d *Device) shutOut() {
	d.released, d.nonBlocking = true, true
	d.inline.Store(nil)
	d.wakeAll()
	if d.supervised {
		close(d.stopSupervisor)
	}
}

// Released is closed when the release is over and the name is free.
func (d *Device) Released() <-chan struct{} { return d.done }

// Close releases the device and waits for the end, or for ctx. The error is a
// *StuckError if something had to be left behind.
func (d *Device) Close(ctx context.Context) error {
	d.Release()
	select {
	case <-d.done:
		if d.stuck != nil {
			return d.stuck
		}
		return nil
	case <-ctx.Done():
		return fmt.Errorf("release of device %s goes on: %w", d.desc.Name, ctx.Err())
	}
}

// release is the goroutine of a release: the cleanup runs beside the
// unregistration, because that waits for commands which the cleanup ends.
func (d *Device) release() {
	worker := d.startCleanup()
	err := d.unregister()
	d.awaitAdoption()
	d.endCleanup(worker, err)
	d.reg.countRelease(d)
	d.reg.remove(d)
	close(d.done)
}

// startCleanup starts the cleanup worker; the channel is closed at its end.
func (d *Device) startCleanup() <-chan struct{} {
	worker := make(chan struct{})
	go func() {
		d.cleanup()
		close(worker)
	}()
	return worker
}

// endCleanup waits for the cleanup worker to finish, now that nothing new can
// come. err is why that is not quite so, nil if it is.
func (d *Device) endCleanup(worker <-chan struct{}, err error) {
	if !d.faults.noReleaseFlush {
		d.flushPools()
	}
	d.mu.Lock()
	d.cleanupDone = true
	d.signalCleanup()
	d.mu.Unlock()
	<-worker
	// What a front end still has may come to life later.
	d.over.Store(true)
	d.unjamAllReady()
	d.noteStuck(err)
}

// noteStuck notes what is left, if there is anything or err is not nil.
func (d *Device) noteStuck(err error) {
	d.stuck = nil
	if left := d.Commands(); len(left) > 0 || err != nil {
		d.stuck = &StuckError{Device: d.desc.Name, Commands: left, Err: err}
		d.reportStuck(err)
	}
}

// unregister takes the device from its sessions, and waits for their commands
// as long as the release makes progress at all. The error says which session
// could not be detached: a front end sits on a response or a command, or a
// reply on the handler's memory; the latter's commands are ended here.
func (d *Device) unregister() error {
	for {
		before, _ := d.progress()
		ctx, cancel := context.WithTimeout(context.Background(), d.limits.ReleaseTimeout)
		err := d.tdev.Unregister(ctx)
		cancel()
		if err == nil {
			return nil
		}
		if now, _ := d.progress(); now != before {
			continue
		}
		d.reportStuck(err)
		if d.abandonMapping() == 0 {
			return err
		}
	}
}

// signalCleanup wakes the cleanup worker. Caller holds mu.
func (d *Device) signalCleanup() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// cleanup is the cleanup worker of one device. Each round unjams what the
// handler had and then what is ready. It waits for events, not for time, and
// ends when everything is gone; or when nothing new can come, a whole round
// changed nothing, and nobody has anything in hand that could (I5).
func (d *Device) cleanup() {
	for {
		d.rounds.Add(1)
		before, _ := d.progress()
		left := d.unjamDevice()
		d.unjamAllReady()
		gen, done := d.progress()
		switch {
		case gen != before:
			// Something moved: look again.
		case !done:
			<-d.wake
		case left == 0, !d.settle(gen):
			return
		}
	}
}

// progress returns the count of changes, and whether nothing new can come.
func (d *Device) progress() (gen uint64, done bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gen, d.cleanupDone
}

// settle gives what is in other goroutines' hands the time to arrive. false:
// nothing changed within patience, now or while the sessions were waited for,
// or there is nothing to wait for.
func (d *Device) settle(gen uint64) bool {
	limit := d.patience
	if d.stuckTold.Load() {
		limit = 0 // it has had that time, and there was no progress
	}
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		wait := d.onTheWay() // first: what has arrived meanwhile has changed gen
		if now, _ := d.progress(); now != gen {
			return true
		}
		if !wait {
			return false
		}
		select {
		case <-d.wake:
		case <-t.C:
			return false
		}
	}
}

// onTheWay says whether somebody has a ucmd in hand and will move it on.
func (d *Device) onTheWay() bool {
	for _, s := range d.PoolStats() {
		if s.Leaving > 0 {
			return true // a buffer's owner is about to be told
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range d.hash {
		for ; u != nil; u = u.hashNext {
			switch {
			case u.owners[OwnerCreation] > 0, u.owners[OwnerTransient] > 0, u.owners[OwnerAttach] > 0:
				// A front end has its command, or somebody is inside a call
				// of this package.
				return true
			case u.owners[OwnerSGV] > 0 && d.desc.SGVShared:
				return true // another device may be using the buffer
			}
		}
	}
	return false
}
