package ucmd

import (
	"scstuser/scsi"
	"scstuser/target"
)

// unjam gives up what the handler has to do for u in its present state
// (scst_user.md 2.5). busy: a command that was never fetched ends with BUSY,
// so that its initiator tries again. Caller holds mu and a reference, or u is
// just off the ready list; mu is released and taken again meanwhile, and the
// command and u may be gone afterwards.
func (d *Device) unjam(u *Ucmd, busy bool) {
	if u.thisStateUnjammed {
		return
	}
	u.jammed, u.thisStateUnjammed = true, true
	u.sentToUser = false
	if u.onReady {
		d.unlinkReady(u)
	}
	d.gen++
	d.note(u, EvUnjam)
	state, c := u.state, u.cmd
	switch state {
	case StateParsing, StateBufAllocing:
		d.unjamOutcome(u, c, busy)
		d.active = append(d.active, c)
		d.signalActive()
		return
	case StateNew, StateOnFreeSkipped:
		return // nothing is owed
	}
	d.mu.Unlock()
	switch state {
	case StateExecing, StateRemapping:
		d.unjamOutcome(u, c, busy)
		c.Done()
	case StateOnFreeing:
		d.finishOnFree(u, true)
	case StateOnCacheFreeing:
		d.replyCachedFree(u)
	case StateTMReceived:
		d.replyTM(u, state, target.TMSuccess)
	case StateTMDone:
		d.replyTM(u, state, target.TMFailed)
	case StateAttachSess, StateDetachSess:
		d.replySess(u, state, -int32(errEFAULT))
	}
	d.mu.Lock()
}

// unjamOutcome sets what the initiator gets: aborted stays aborted.
func (d *Device) unjamOutcome(u *Ucmd, c *target.Cmd, busy bool) {
	switch {
	case c.Aborted():
		u.aborted = true
		c.SetSense(scsi.SenseAbortedInternalFailure)
	case busy:
		c.SetStatus(scsi.Busy)
	default:
		c.SetSense(unjamSense)
	}
}

// signalActive tells whoever runs commands that there is one on the active
// list. Caller holds mu.
func (d *Device) signalActive() {
	if d.cleaning {
		d.signalCleanup()
		return
	}
	d.wakeOne()
}

// unjamDevice gives up everything that the handler has fetched, and returns
// how many ucmds it saw (scst_user.md 2.6).
func (d *Device) unjamDevice() int {
	if !d.faults.noTopFlush {
		d.flushPools()
	}
	seen := 0
	d.mu.Lock()
	for again := true; again; {
		again = false
		for i := range d.hash {
			for u := d.hash[i]; u != nil; u = u.hashNext {
				seen++
				if d.unjamSeen(u) {
					again = true
					break // the lock was free: the bucket may have changed
				}
			}
			if again {
				break
			}
		}
		if !again {
			again = d.runActive()
		}
	}
	d.mu.Unlock()
	// Once more: unjamming has put buffers into the pools that the flush
	// above could not see. As long as a pool has them their ucmds stay.
	if !d.faults.noBottomFlush {
		d.flushPools()
	}
	return seen
}

// unjamSeen unjams one ucmd of the walk; false: there was nothing to unjam.
// Caller holds mu, which is released and taken again if it returns true.
func (d *Device) unjamSeen(u *Ucmd) bool {
	if u.backgroundExec && u.cmd == nil && !d.faults.keepBackground {
		// Its COMPLETED can't come any more: its handler is gone.
		d.note(u, EvUnjam)
		d.finishBackground(u)
		d.mu.Lock()
		return true
	}
	if !u.sentToUser {
		return false
	}
	d.get(u, OwnerTransient)
	d.unjam(u, false)
	d.put(u, OwnerTransient)
	return true
}
