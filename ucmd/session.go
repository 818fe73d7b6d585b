package ucmd

import (
	"fmt"
	"syscall"
	"time"

	"scstuser/target"
)

// Attach asks the handler whether a session may use the device (rules R39,
// R40, R42, fact 47). It implements target.DevHandler; the target has
// suspended the device.
func (d *Device) Attach(s *target.Session) error {
	answer := make(chan int32, 1)
	d.mu.Lock()
	if d.released {
		lost := d.lost
		d.mu.Unlock()
		if lost {
			return target.ErrHandlerGone
		}
		return target.ErrReleased
	}
	u := d.newUcmd(StateAttachSess)
	u.attach, u.sess, u.since = answer, s, target.Now()
	d.get(u, OwnerAttach)
	d.addReady(u)
	d.kickUnlock()

	t := time.NewTimer(d.limits.AttachTimeout)
	defer t.Stop()
	var result int32
	timedOut := false
	select {
	case result = <-answer:
	case <-t.C:
		timedOut = true
	}
	d.mu.Lock()
	if timedOut && u.attach == nil { // answered at this very moment
		timedOut, result = false, <-answer
	}
	u.attach = nil // a late answer finds nobody
	if timedOut && u.onReady {
		// Never fetched: nobody shall hear of a session that won't be.
		d.leaveReady(u)
		d.put(u, OwnerCreation)
	}
	d.put(u, OwnerAttach)
	lost := d.lost
	d.mu.Unlock()
	switch {
	case lost && (timedOut || result != 0):
		return target.ErrHandlerGone // another one is to be asked
	case timedOut:
		return fmt.Errorf("the handler did not answer ATTACH_SESS within %v: %w", d.limits.AttachTimeout, errEFAULT)
	case result != 0:
		return fmt.Errorf("the handler refused the session: %w", errnoOf(result))
	}
	return nil
}

// errnoOf is the errno of a handler's result, which may have either sign.
func errnoOf(result int32) syscall.Errno {
	x := int64(result)
	return syscall.Errno(max(x, -x))
}

// fillAttach writes the ATTACH_SESS subcommand. Caller holds mu.
func (d *Device) fillAttach(u *Ucmd, s *Subcommand) {
	i := &u.sess.Info
	s.SessH = u.sess.Handle()
	s.Sess = &SessInfo{
		LUN: i.LUN, ReadOnly: i.ReadOnly, Initiator: i.Initiator, Target: i.Target,
		TransportVersion: i.TransportVersion, PhysVersion: i.PhysVersion,
	}
}

// Detach tells the handler that a session is gone (rule R41). It implements
// target.DevHandler.
func (d *Device) Detach(s *target.Session, answered func()) {
	d.mu.Lock()
	if d.cleanupDone {
		d.mu.Unlock()
		answered()
		return
	}
	u := d.newUcmd(StateDetachSess)
	u.sessH, u.answered, u.since = s.Handle(), answered, target.Now()
	d.addReady(u)
	d.kickUnlock()
}

// replySess takes the answer to ATTACH_SESS or DETACH_SESS; the latter's
// result does not count. Caller holds mu, which is released and taken again
// meanwhile; u may be gone then.
func (d *Device) replySess(u *Ucmd, result int32) {
	if u.attach != nil {
		u.attach <- result // there is room for the one answer
		u.attach = nil
	}
	answered := u.answered
	u.answered = nil
	d.put(u, OwnerCreation)
	if answered != nil {
		d.mu.Unlock()
		answered()
		d.mu.Lock()
	}
}
