package ucmd

import (
	"fmt"
	"syscall"
	"time"

	"scstuser/target"
)

// attachWaiter waits for the answer to an ATTACH_SESS.
type attachWaiter struct {
	result chan int32 // room for the one answer
}

// Attach asks the handler whether a session may use the device (rules R39,
// R40, R42). It implements target.DevHandler; the target has suspended the
// device.
func (d *Device) Attach(s *target.Session) error {
	w := &attachWaiter{result: make(chan int32, 1)}
	d.mu.Lock()
	if d.released {
		d.mu.Unlock()
		return target.ErrReleased
	}
	u := d.newUcmd(StateAttachSess)
	u.attach, u.sess = w, s
	d.get(u, OwnerAttach)
	d.addReady(u)
	d.mu.Unlock()
	d.kick()

	result := -int32(errEFAULT)
	timedOut := false
	t := time.NewTimer(d.limits.AttachTimeout)
	defer t.Stop()
	select {
	case result = <-w.result:
	case <-t.C:
		timedOut = true
	}
	d.mu.Lock()
	u.attach, u.sess = nil, nil // a late answer finds nobody
	d.put(u, OwnerAttach)
	d.mu.Unlock()
	switch {
	case timedOut:
		return fmt.Errorf("the handler did not answer ATTACH_SESS within %v: %w", d.limits.AttachTimeout, errEFAULT)
	case result != 0:
		return fmt.Errorf("the handler refused the session: %w", syscall.Errno(abs(result)))
	}
	return nil
}

func abs(x int32) int32 {
	if x < 0 {
		return -x
	}
	return x
}

func (d *Device) fillAttach(u *Ucmd, s *Subcommand) {
	if u.sess == nil {
		return // nobody waits any more; the handler refuses or accepts nothing
	}
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
	u.sessH, u.answered = s.Handle(), answered
	d.addReady(u)
	d.mu.Unlock()
	d.kick()
}

// replySess takes the answer to ATTACH_SESS or DETACH_SESS.
func (d *Device) replySess(u *Ucmd, state State, result int32) {
	d.mu.Lock()
	w, answered := u.attach, u.answered
	u.attach, u.answered = nil, nil
	d.put(u, OwnerCreation)
	d.mu.Unlock()
	if state == StateAttachSess && w != nil {
		w.result <- result
	}
	if answered != nil {
		answered()
	}
}
