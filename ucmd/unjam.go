package ucmd

import (
	"scstuser/scsi"
	"scstuser/target"
)

// unjam gives up what the handler has to do for u in its present state
// (scst_user.md 2.5). busy: its command ends with BUSY, so that the initiator
// tries again. Caller holds mu and a reference, or u is just off the ready
// list; mu is released and taken again meanwhile, the command's whole pipeline
// may run, and u may be gone afterwards.
//
// Commands that are unjammed before exec go on at once: there is no list of
// active commands here that somebody would have to look at later.
func (d *Device) unjam(u *Ucmd, busy bool) {
	if u.thisStateUnjammed {
		return
	}
	u.jammed, u.thisStateUnjammed = true, true
	fetched := u.sentToUser
	u.sentToUser = false
	if u.onReady {
		d.unlinkReady(u)
	}
	d.gen++
	d.stats.Unjammed++
	d.note(u, EvUnjam)
	switch u.state {
	case StateOnFreeing:
		d.finishOnFree(u, true)
	case StateOnCacheFreeing:
		d.replyCachedFree(u)
	case StateTMReceived:
		d.replyTM(u, target.TMSuccess)
	case StateTMDone:
		d.replyTM(u, d.lostTM())
	case StateAttachSess, StateDetachSess:
		d.replySess(u, -int32(errEFAULT))
	case StateParsing, StateBufAllocing, StateExecing, StateRemapping:
		c, beforeExec := u.cmd, u.state == StateParsing || u.state == StateBufAllocing
		if c.Aborted() {
			u.aborted = true
		}
		keep := d.lost && !u.aborted && u.repeatable(fetched)
		d.mu.Unlock()
		if keep {
			c.Retry()
			d.mu.Lock()
			return
		}
		unjamOutcome(c, busy)
		if beforeExec {
			c.AbnormalDone()
		} else {
			c.Done()
		}
		d.mu.Lock()
	}
}

// repeatable says whether the command may be sent to another handler. fetched:
// this one has got the subcommand of the state that u is in. Before EXEC it can
// have done nothing to the medium. Caller holds mu.
func (u *Ucmd) repeatable(fetched bool) bool {
	switch {
	case u.state == StateRemapping:
		return false // of an EXTENDED COPY that has begun
	case u.state == StateExecing && fetched:
		return u.cmd.Dir != scsi.DirBidi && scsi.Repeatable(u.cmd.CDB()) && u.cmd.Repeats() < maxRepeats
	}
	return true
}

// maxRepeats is how often a command is kept that was with a handler when it
// died: it may be what the handlers die of.
const maxRepeats = 16

// lostTM is the outcome of a task management function without a handler:
// FAILED, or, if the device waits for another one, success, as the commands
// are over and the handler has forgotten them. Caller holds mu.
func (d *Device) lostTM() int32 {
	if d.lost {
		return target.TMSuccess
	}
	return target.TMFailed
}

// unjamOutcome sets what the initiator gets (rule R70): aborted stays aborted,
// which is the target's to answer.
func unjamOutcome(c *target.Cmd, busy bool) {
	switch {
	case c.Aborted() && c.CheckLocalEvents():
	case busy:
		c.SetStatus(scsi.Busy)
	default:
		c.SetSense(scsi.SenseLUNotSupported)
	}
}

// unjamDevice gives up everything that the handler has fetched, and returns
// how many ucmds are left (scst_user.md 2.6).
func (d *Device) unjamDevice() (left int) {
	if !d.faults.noTopFlush {
		d.flushPools()
	}
	d.mu.Lock()
	for again := true; again; {
		left, again = 0, false
		for i := 0; i < len(d.hash); i++ { // it may grow
			for u := d.hash[i]; u != nil; {
				if d.unjamSeen(u) {
					again = true
					u = d.hash[i] // the lock was free: the bucket may have changed
					continue
				}
				left++
				u = u.hashNext
			}
		}
	}
	d.mu.Unlock()
	// Once more: unjamming has put buffers into the pools that the flush
	// above could not see. As long as a pool has them their ucmds stay.
	if !d.faults.noBottomFlush {
		d.flushPools()
	}
	return left
}

// unjamSeen unjams one ucmd of the walk; false: there was nothing to unjam.
// Caller holds mu, which is released and taken again if it returns true.
func (d *Device) unjamSeen(u *Ucmd) bool {
	switch {
	case u.backgroundExec && u.onFreePending && !d.faults.keepBackground:
		// Its COMPLETED can't come any more: its handler is gone.
		d.gen++
		d.stats.Unjammed++
		d.note(u, EvUnjam)
		d.finishBackground(u)
	case u.sentToUser:
		d.get(u, OwnerTransient)
		d.unjam(u, false)
		d.put(u, OwnerTransient)
	default:
		return false
	}
	return true
}

// unjamReady takes one ready ucmd and unjams it with BUSY; false: there was
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
	return true
}

func (d *Device) unjamAllReady() {
	for d.unjamReady() {
	}
}
