package target

import (
	"context"
	"errors"
)

// ErrHandlerGone says that the handler is gone, but another one may take its
// place (Device.Adopt).
var ErrHandlerGone = errors.New("the handler is gone")

// hold is what a Device knows while it has no handler: from HandlerGone to the
// end of Adopt. Device.mu guards it.
type hold struct {
	on bool
	// lost is the handler that went last: an adoption by it must not succeed.
	lost DevHandler
	// over is closed at the end; nil while on is not set.
	over chan struct{}
}

// announce wakes whoever waits for the end. Caller holds mu.
func (x *hold) announce() {
	if x.over != nil {
		close(x.over)
		x.over = nil
	}
}

// HandlerGone says that h, the device's handler or the one that is about to
// be, is gone, and that it is worth waiting for another. From now on commands
// wait at the door; those that h has it gives back, with Cmd.Retry, and those
// that have something of h's while they wait for their turn are given back
// here. Sessions stay. Whoever would attach waits, as for a suspension.
//
// It does not wait. The wait ends with Adopt, or with Unregister. What of h's
// is still on its way until then goes to h, which gives it back at once,
// answers Attach with ErrHandlerGone, Detach at once, and ends TaskMgmtDone.
func (d *Device) HandlerGone(h DevHandler) {
	d.mu.Lock()
	d.hold.lost = h
	if d.hold.on || d.gone {
		d.mu.Unlock()
		return
	}
	d.hold.on = true
	d.hold.over = make(chan struct{})
	var back []*Cmd
	for _, s := range d.sessions {
		back = s.orphan(back)
	}
	d.mu.Unlock()
	for _, c := range back {
		c.Retry()
	}
}

// Adopt makes h the handler of a device whose last one is gone. When nothing of
// the former handler is active any more it attaches every session to h, one
// after the other, and then lets all commands go on in their order. A session
// that h refuses is taken down as Unregister would. A session's task management
// is answered by the former handler until the session is attached to h.
//
// The error is ErrBusy if the former handler's commands did not come back while
// ctx lasted, ErrReleased if the device is, and ErrHandlerGone if h went
// meanwhile (HandlerGone was called, or its Attach said so): then the wait
// goes on. One adoption runs at a time: whoever calls sees to that.
func (d *Device) Adopt(ctx context.Context, h DevHandler) error {
	resume, err := d.Suspend(ctx)
	if err != nil {
		return err
	}
	defer resume()
	if err := d.succeed(h); err != nil {
		return err
	}
	for _, s := range d.Sessions() {
		if err := s.adopt(h); err != nil {
			return err
		}
	}
	return d.endHold(h)
}

// Held returns how many commands wait for a handler, and whether the device
// has none.
func (d *Device) Held() (n int, waits bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.hold.on || d.gone {
		return 0, false
	}
	for _, s := range d.sessions {
		s.mu.Lock()
		n += s.held.n
		s.mu.Unlock()
	}
	return n, true
}

// mayServe says why h can't be the device's handler: nil if it can. Caller holds
// mu.
func (d *Device) mayServe(h DevHandler) error {
	switch {
	case d.gone:
		return ErrReleased
	case d.hold.lost == h:
		return ErrHandlerGone
	}
	return nil
}

// succeed makes h the handler that new sessions are for.
func (d *Device) succeed(h DevHandler) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mayServe(h); err != nil {
		return err
	}
	d.handler = h
	return nil
}

// endHold opens the doors, as far as the suspension does not keep them shut.
// It is decided under mu, against HandlerGone: either h is seen to be gone, or
// HandlerGone finds all doors open.
func (d *Device) endHold(h DevHandler) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.mayServe(h); err != nil {
		return err
	}
	d.hold.on = false
	d.hold.announce()
	for _, s := range d.sessions {
		s.setOrphaned(false)
	}
	return nil
}

// servedBy returns the handler that new sessions are for.
func (d *Device) servedBy() (DevHandler, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.gone:
		return nil, ErrReleased
	case d.hold.on:
		return nil, ErrHandlerGone
	}
	return d.handler, nil
}

// awaitHandler waits until there is a handler, or the device is released.
func (d *Device) awaitHandler(ctx context.Context) error {
	d.mu.Lock()
	over := d.hold.over
	d.mu.Unlock()
	if over == nil {
		return nil
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return busy(ctx)
	}
}

// orphan shuts the door and takes out, to be given back, what waits here with
// something of the handler's; they are appended to back.
func (s *Session) orphan(back []*Cmd) []*Cmd {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orphaned = true
	parsed := s.takeWaiting(func(c *Cmd) bool { return c.parsed })
	for c := parsed.pop(); c != nil; c = parsed.pop() {
		back = append(back, c)
	}
	return back
}

// adopt attaches the session to h. ErrHandlerGone ends the adoption; a session
// that ends by itself is nothing for h any more.
func (s *Session) adopt(h DevHandler) error {
	if !s.enter() { // keeps it from being detached meanwhile
		return nil
	}
	defer s.leave()
	err := h.Attach(s)
	switch {
	case errors.Is(err, ErrHandlerGone):
		return err
	case err != nil:
		s.release()
		s.startClose()
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.handler = h
	return nil
}

// shutOrBusy says whether a command has to queue up at the door. Caller holds
// mu.
func (s *Session) shutOrBusy() bool { return s.suspended || s.orphaned || s.draining }

func (s *Session) setOrphaned(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.orphaned = on
}

// currentHandler returns who the session is attached to.
func (s *Session) currentHandler() DevHandler {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.handler
}
