package ucmd

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// StuckError says which ucmds a release had to leave behind (I5).
type StuckError struct {
	Device   string
	Commands []Command
}

// Error lists the ucmds with their owners.
func (e *StuckError) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "device %s: released with %d ucmds that nobody lets go of:", e.Device, len(e.Commands))
	for _, c := range e.Commands {
		b.WriteString(" [" + c.String() + "]")
	}
	return b.String()
}

// Release begins to take the device down: what the last close of the
// scst_user node does (rules R70 to R72, scst_user.md 2.7). The handler's
// fetched commands end with LOGICAL UNIT NOT SUPPORTED, queued ones with BUSY.
// It returns at once; Released is closed at the end. Calling it again does
// nothing.
//
// A handler in this process must have ended its work before: its buffers may
// be used again, and its initiators are answered, from here on.
func (d *Device) Release() {
	d.mu.Lock()
	if d.released {
		d.mu.Unlock()
		return
	}
	d.released, d.cleaning = true, true
	d.nonBlocking = true
	d.inline.Store(nil)
	d.wakeAll()
	d.mu.Unlock()
	go d.release()
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
	worker := make(chan struct{})
	go func() {
		d.cleanup()
		close(worker)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), d.limits.ReleaseTimeout)
	// After the timeout a front end sits on a response or a command; the
	// report below names the ucmds.
	_ = d.tdev.Unregister(ctx)
	cancel()
	if !d.faults.noReleaseFlush {
		d.flushPools()
	}
	d.mu.Lock()
	d.cleanupDone = true
	d.signalCleanup()
	d.mu.Unlock()
	<-worker
	if left := d.Commands(); len(left) > 0 {
		d.stuck = &StuckError{Device: d.desc.Name, Commands: left}
	}
	d.reg.remove(d)
	close(d.done)
}

// signalCleanup wakes the cleanup worker. Caller holds mu.
func (d *Device) signalCleanup() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// cleanup is the cleanup worker of one device. Each round unjams what the
// handler had and one ucmd that is ready. It waits for events, not for time,
// and ends when everything is gone; or when nothing new can come and a whole
// round changed nothing (I5).
func (d *Device) cleanup() {
	for {
		before := d.generation()
		seen := d.unjamDevice()
		if d.unjamReady() {
			continue
		}
		d.mu.Lock()
		done, gen := d.cleanupDone, d.gen
		d.mu.Unlock()
		switch {
		case gen != before:
			// Something moved: look again.
		case !done:
			<-d.wake
		case seen == 0:
			return
		case !d.settle(gen):
			return // stuck: release reports what is left
		}
	}
}

// settle gives commands that are on their way through a front end (another
// goroutine's) the time to arrive. false: nothing changed within the limit,
// or nothing is on its way.
func (d *Device) settle(gen uint64) bool {
	t := time.NewTimer(d.limits.ReleaseTimeout)
	defer t.Stop()
	for {
		d.mu.Lock()
		moved, waitFor := d.gen != gen, d.onTheWay()
		d.mu.Unlock()
		switch {
		case moved:
			return true
		case !waitFor:
			return false
		}
		select {
		case <-d.wake:
		case <-t.C:
			return false
		}
	}
}

// onTheWay says whether a ucmd is in somebody's hands who will move it on: it
// serves a command, somebody looks at it, or waits for its answer. Caller
// holds mu.
func (d *Device) onTheWay() bool {
	for _, u := range d.hash {
		for ; u != nil; u = u.hashNext {
			if u.cmd != nil || u.owners[OwnerAttach] > 0 {
				return true
			}
		}
	}
	return false
}

func (d *Device) generation() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.gen
}

// unjamReady fetches one ready ucmd and unjams it with BUSY; false: there was
// none.
func (d *Device) unjamReady() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.next()
	if u == nil {
		return false
	}
	// It is in nobody's hands but ours: its creation or sgv reference keeps
	// it until unjam drops that one.
	d.unjam(u, true)
	d.runActive()
	return true
}
