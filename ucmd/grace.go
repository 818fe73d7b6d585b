package ucmd

import (
	"context"
	"errors"
	"time"

	"scstuser/target"
)

// A device whose handler dies may outlive it (Limits.HandlerGrace). Two things
// are told apart:
//
//   - the ucmd.Device dies completely, in the usual way: unjam, flush, empty
//     hash, empty pools. Only what unjam says to a command differs: Cmd.Retry.
//   - the target.Device lives on, with its sessions and their commands, and
//     waits for another ucmd.Device to be put behind it.
//
// # Who owns what
//
// The dead device's goroutine (lose) owns the wait: it cleans up, says so with
// grace.dead, and then waits for the state to leave waiting. The state belongs
// to Registry.mu and is what races are decided by:
//
//	   ┌────────── refused ──────────┐
//	waiting ─────── Register ───── claimed ───── adopted   (the name is the successor's)
//	   └── time is up, Release ──┐   │
//	                             ├───┘ Release
//	                            over                       (the name will be free)
//
// While it is claimed, Register owns the name and waits for dead; time does not
// run out then, but Release ends even that. From adopted on the successor owns
// the target.Device, and its adopt goroutine the adoption. A successor that
// dies meanwhile begins a wait of its own, whose lose waits for adopt to end
// before it says dead: so there is one adoption at a time, and the doors that
// it opens are not those that a later death has shut.
//
// # What the dead device still does
//
// It is the handler of each session until that has been attached to another
// one, and answers for it: new task management succeeds, as the commands that
// it aborted are over, detaching is answered at once, and what still reaches
// it is given back. A front end that has a command in hand (its data is on the
// way, its response is not delivered) keeps that command's buffer; the dead
// device waits for it a quarter of the grace and leaves it behind then (I5),
// to be given up by the goroutine that brings it.

// HandlerGone says that the device's handler has died, or closed its node.
// Without Limits.HandlerGrace that is Release. With it this device dies too,
// but its sessions and their commands wait for a device of the same name to be
// registered (Registry.Register), and go on with that one. Commands that the
// handler had not fetched, and those that may be carried out twice
// (scsi.Repeatable), are sent to it again, in the order in which each session
// submitted them; the others end as with Release, and so do aborted ones, and
// one that so many handlers have died with that it may be the reason. A
// command that was answered BACKGROUND is over for its initiator: what became
// of it is as unknown as after a power failure, and it is not repeated.
//
// It returns at once; a registration after that is a successor's. Released is
// closed when a successor has the name, or all is over. Calling it again, or
// after Release, does nothing.
//
// The handler, wherever it is, must have ended its work before: what it still
// wrote to the medium later could undo what its successor has written.
func (d *Device) HandlerGone() {
	if d.limits.HandlerGrace <= 0 {
		d.Release()
		return
	}
	d.mu.Lock()
	if d.released || d.losing {
		d.mu.Unlock()
		return
	}
	d.losing = true
	d.inline.Store(nil)
	d.mu.Unlock()
	// First the doors: nothing that is given back must run before.
	d.tdev.HandlerGone(d)
	g := &grace{old: d, since: time.Now(), dead: make(chan struct{}), changed: make(chan struct{}, 1)}
	d.mu.Lock()
	if d.released { // Release came in between
		d.mu.Unlock()
		return
	}
	d.lost, d.grace = true, g
	// A front end that sits on a response, or sends its data slowly, must not
	// keep the successor waiting for long.
	d.patience = min(d.patience, d.limits.HandlerGrace/4)
	d.shutOut()
	d.mu.Unlock()
	d.reg.beginGrace(g) // whoever registers from now on finds it
	go d.lose(g)
}

// lose is the goroutine of a device whose handler is gone.
func (d *Device) lose(g *grace) {
	worker := d.startCleanup()
	d.awaitAdoption()
	ctx, cancel := context.WithTimeout(context.Background(), d.patience)
	// Until all commands have come back; one that is late does not matter, as
	// long as its ucmd is not left behind.
	if resume, err := d.tdev.Suspend(ctx); err == nil {
		resume()
	} else {
		d.abandonMapping() // those won't
	}
	cancel()
	d.endCleanup(worker, nil)
	d.reg.dropPools(d)
	close(g.dead)
	if !d.reg.awaitSuccessor(g) {
		ctx, cancel := context.WithTimeout(context.Background(), d.limits.ReleaseTimeout)
		d.noteStuck(d.tdev.Unregister(ctx))
		cancel()
		d.reg.forget(d)
	}
	d.reg.countRelease(d)
	close(d.done)
}

// adopt is the goroutine of a successor: it takes over the sessions and ends.
// Register does not wait for it, because the handler answers ATTACH_SESS only
// after that has returned.
func (d *Device) adopt() {
	defer close(d.adopted)
	ctx, cancel := context.WithTimeout(context.Background(), d.limits.ReleaseTimeout)
	defer cancel()
	err := d.tdev.Adopt(ctx, d)
	if err != nil && !errors.Is(err, target.ErrHandlerGone) {
		// What the old handler had does not come back: there is no order
		// left to keep.
		d.Release()
	}
}

// awaitAdoption waits for adopt. The caller's cleanup worker runs, so that
// what adopt waits for is answered.
func (d *Device) awaitAdoption() {
	if d.adopted != nil {
		<-d.adopted
	}
}

// adopting says whether the sessions are still being taken over.
func (d *Device) adopting() bool {
	if d.adopted == nil {
		return false
	}
	select {
	case <-d.adopted:
		return false
	default:
		return true
	}
}

func (d *Device) isLost() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.lost
}

// GraceStatus is how a device stands between two handlers.
type GraceStatus struct {
	// Waiting: the handler is gone and no other has registered. Adopting: one
	// has, and is asked about the sessions.
	Waiting, Adopting bool
	// Since is when the handler went and Until when the wait ends, both zero
	// unless Waiting.
	Since, Until time.Time
	// Held is how many commands wait for a handler.
	Held int
}

// Grace returns how the device stands between two handlers; everything is zero
// for one that is served, or that is over.
func (d *Device) Grace() (st GraceStatus) {
	d.mu.Lock()
	g := d.grace
	d.mu.Unlock()
	switch {
	case g != nil:
		st.Waiting = d.reg.waits(g)
		if st.Waiting {
			st.Since, st.Until = g.since, g.since.Add(d.limits.HandlerGrace)
		}
	default:
		st.Adopting = d.adopting()
	}
	if st.Waiting || st.Adopting {
		st.Held, _ = d.tdev.Held()
	}
	return st
}
