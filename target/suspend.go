package target

import (
	"context"
	"errors"
	"sync"
)

// Suspend holds the commands of this device at the door and waits until none
// is active. Suspensions take turns; ctx bounds the whole wait. When it ends
// first nothing is suspended, and the error is ErrBusy for a deadline, else
// ctx's.
//
// The returned function opens the door again; calling it a second time does
// nothing. It runs the held commands on its own goroutine, so the caller must
// not hold a lock.
//
// Other devices go on: unlike the module, one device's SET_OPTIONS or ATTACH
// does not suspend the whole system (scst_user.md 2.9).
func (d *Device) Suspend(ctx context.Context) (resume func(), err error) {
	select {
	case d.suspending <- struct{}{}:
	case <-ctx.Done():
		return nil, busy(ctx)
	}
	// Nobody attaches meanwhile: that takes a suspension of its own.
	sessions := d.Sessions()
	for _, s := range sessions {
		s.shut()
	}
	for !inactive(sessions) {
		select {
		case <-d.quiet:
		case <-ctx.Done():
			d.resume()
			return nil, busy(ctx)
		}
	}
	return sync.OnceFunc(d.resume), nil
}

func busy(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrBusy
	}
	return ctx.Err()
}

func inactive(sessions []*Session) bool {
	for _, s := range sessions {
		s.mu.Lock()
		n := s.active
		s.mu.Unlock()
		if n > 0 {
			return false
		}
	}
	return true
}

// resume lets every session go on. The commands that are held now get under
// way before the next suspension can begin: sessions that come and go can't
// keep the others' commands waiting for ever.
func (d *Device) resume() {
	sessions := d.Sessions()
	held := make([]int, len(sessions))
	for i, s := range sessions {
		held[i] = s.open()
	}
	for i, s := range sessions {
		s.drain(held[i])
	}
	<-d.suspending
}

// shut closes the door.
func (s *Session) shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspended = true
}

// open opens the door and returns how many commands the caller has to drain.
// Newer commands queue up behind the held ones until those are under way.
func (s *Session) open() (held int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.suspended = false
	if s.unsorted {
		s.held.sort()
		s.unsorted = false
	}
	if s.draining || s.orphaned {
		// Somebody still runs a command of the last resumption, and goes on
		// with these when it is back; or there is no handler to run them.
		return 0
	}
	s.draining = s.held.n > 0
	return s.held.n
}

// drain runs n held commands. More of them may have come meanwhile, without
// end if the initiator is busy: they are run by a goroutine of their own.
func (s *Session) drain(n int) {
	for ; n > 0; n-- {
		c := s.nextHeld()
		if c == nil {
			return
		}
		c.run()
		if n == 1 && s.stillHeld() {
			go s.drainAll()
		}
	}
}

// drainAll runs held commands until there is none, or the door is shut.
func (s *Session) drainAll() {
	for c := s.nextHeld(); c != nil; c = s.nextHeld() {
		c.run()
	}
}

// nextHeld takes the next held command; nil: draining is over.
func (s *Session) nextHeld() *Cmd {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.drains() {
		return nil
	}
	c := s.held.pop()
	s.activate(c)
	return c
}

// stillHeld says whether there is more to drain; if not, draining is over.
func (s *Session) stillHeld() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.drains()
}

// drains ends draining when there is nothing more to do. Caller holds mu.
func (s *Session) drains() bool {
	s.draining = s.held.n > 0 && !s.suspended && !s.orphaned
	return s.draining
}

// activate makes c active. Caller holds mu.
func (s *Session) activate(c *Cmd) {
	c.isActive = true
	s.active++
}

// deactivate ends c's activity, if it is active, and tells a suspension that
// may be waiting for that. Caller holds mu.
func (s *Session) deactivate(c *Cmd) {
	if !c.isActive {
		return
	}
	c.isActive = false
	s.active--
	if s.active == 0 && s.suspended {
		select {
		case s.dev.quiet <- struct{}{}:
		default:
		}
	}
}

// xferStart: c waits for the initiator's data and is not active meanwhile.
func (s *Session) xferStart(c *Cmd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deactivate(c)
}

// xferEnd: the wait for data is over. false: c is held, because the device has
// been suspended, or has lost the handler whose buffer this is, meanwhile.
func (s *Session) xferEnd(c *Cmd) bool {
	c.received = !c.completed
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case c.internal:
		// The suspension waits for its parent, which waits for it.
	case c.completed || c.aborted.Load() || s.gone.Load():
		// It ends without the handler.
	case s.orphaned || c.handler != s.handler:
		s.mu.Unlock()
		c.Retry()
		s.mu.Lock()
		return false
	case s.suspended:
		s.held.push(c)
		return false
	default:
		s.activate(c)
	}
	return true
}
