package ucmd

import "scstuser/scsi"

// A command is always in somebody's hands, and a release takes it from the
// handler (unjam) but not from a goroutine that is carrying it on. Those don't
// wait for anything, with two exceptions: a front end that has not got the
// initiator's data or has not sent the response, which the target tells that
// the device is gone (Frontend.SessionGone); and a reply that reaches for the
// handler's memory. If that takes longer than a release waits, the command is
// ended without it, and the reply finds nothing left to do when it is back.

// startMapping marks a ucmd that is about to reach for the handler's memory.
func (d *Device) startMapping(u *Ucmd) {
	d.mu.Lock()
	u.mapping = true
	d.mu.Unlock()
}

// endMapping: the memory was reached, or can't be. false: the command has been
// ended meanwhile, and the ucmd is not the caller's any more.
func (d *Device) endMapping(u *Ucmd) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	u.mapping = false
	return !u.abandoned
}

// abandonMapping ends every command whose reply is still reaching for the
// handler's memory with LOGICAL UNIT NOT SUPPORTED, once (I1), and returns how
// many there were. The release calls it when it makes no progress.
func (d *Device) abandonMapping() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := 0; i < len(d.hash); i++ { // it may grow
		for u := d.hash[i]; u != nil; {
			if !u.mapping || u.abandoned || u.cmd == nil {
				u = u.hashNext
				continue
			}
			n++
			u.abandoned, u.jammed = true, true
			d.note(u, EvUnjam)
			c, beforeExec := u.cmd, u.state == StateBufAllocing
			d.mu.Unlock()
			c.SetSense(scsi.SenseLUNotSupported)
			if beforeExec {
				c.AbnormalDone()
			} else {
				c.Done()
			}
			d.mu.Lock()
			u = d.hash[i] // the lock was free: the bucket may have changed
		}
	}
	return n
}
