package target

import (
	"context"
	"errors"
)

// Suspend holds new commands of this device at the door and waits until none
// is active. The returned function opens the door again; it runs the held
// commands on its own goroutine, so the caller must not hold a lock. When ctx
// ends first nothing is suspended and ErrBusy is returned.
//
// Other devices go on: unlike the module, one device's SET_OPTIONS or ATTACH
// does not suspend the whole system (scst_user.md 2.9).
func (d *Device) Suspend(ctx context.Context) (resume func(), err error) {
	select {
	case d.suspending <- struct{}{}:
	case <-ctx.Done():
		return nil, busy(ctx)
	}
	sessions := d.Sessions()
	for _, s := range sessions {
		s.mu.Lock()
		s.suspended = true
		s.mu.Unlock()
	}
	for {
		if d.inactive(sessions) {
			return d.resume, nil
		}
		select {
		case <-d.quiet:
		case <-ctx.Done():
			d.resume()
			return nil, busy(ctx)
		}
	}
}

func busy(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrBusy
	}
	return ctx.Err()
}

func (d *Device) inactive(sessions []*Session) bool {
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

// resume lets every session go on. A session is opened only when its held
// commands are under way, so that newer ones don't overtake them.
func (d *Device) resume() {
	for _, s := range d.Sessions() {
		for {
			s.mu.Lock()
			c := s.held.pop()
			if c == nil {
				s.suspended = false
				s.mu.Unlock()
				break
			}
			s.active++
			c.isActive = true
			s.mu.Unlock()
			c.run()
		}
	}
	<-d.suspending
}

// deactivate ends c's activity. Caller holds mu; true: call signalQuiet
// after mu is released.
func (s *Session) deactivate(c *Cmd) bool {
	if !c.isActive {
		return false
	}
	c.isActive = false
	s.active--
	return s.active == 0 && s.suspended
}

func (d *Device) signalQuiet() {
	select {
	case d.quiet <- struct{}{}:
	default:
	}
}

// xferStart: c waits for the initiator's data and is not active meanwhile.
func (s *Session) xferStart(c *Cmd) {
	s.mu.Lock()
	quiet := s.deactivate(c)
	s.mu.Unlock()
	if quiet {
		s.dev.signalQuiet()
	}
}

// xferEnd: the data is there. false: c is held, because the device has been
// suspended meanwhile. A released device does not hold: its commands must end.
func (s *Session) xferEnd(c *Cmd) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.suspended && !s.gone && !c.completed {
		s.held.push(c)
		return false
	}
	s.active++
	c.isActive = true
	return true
}
