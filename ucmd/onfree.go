package ucmd

import (
	"scstuser/scsi"
	"scstuser/target"
)

// OnFree ends a command's life (rules R61 to R64): the handler is told, if it
// wants to know and has seen the command, or everything is released at once.
// It implements target.DevHandler.
func (d *Device) OnFree(c *target.Cmd) {
	u, _ := c.Priv.(*Ucmd)
	if u == nil {
		return // refused before it got a ucmd
	}
	c.Priv = nil
	c.DevTag.Store(0)
	var wrote *Ucmd
	if c.Dir.Writes() {
		wrote = u.bufUcmd
	}
	if wrote != nil && wrote.dev != d { // the pool is shared
		wrote.dev.mu.Lock()
		wrote.dev.markDirty(wrote)
		wrote.dev.mu.Unlock()
		wrote = nil
	}
	d.mu.Lock()
	u.cmd = nil
	u.respLen, u.status, u.delivery = c.RespLen, uint8(c.Status), int8(c.Delivery)
	if wrote != nil {
		d.markDirty(wrote)
	}
	skip := u.onFreeType == OnFreeIgnore || !u.seenByUser
	if d.deferOnFree(u, skip) {
		d.mu.Unlock()
		return
	}
	if !skip {
		d.setState(u, StateOnFreeing)
		d.addReady(u)
		d.kickUnlock()
		return
	}
	// The state first: the pool may queue ON_CACHED_MEM_FREE for this very
	// ucmd, whose state must win.
	if !d.faults.lateOnFreeState {
		d.setState(u, StateOnFreeSkipped)
	}
	d.finishOnFree(u, !d.faults.lateOnFreeState)
	if d.faults.lateOnFreeState {
		d.setState(u, StateOnFreeSkipped)
		d.put(u, OwnerCreation)
	}
	d.mu.Unlock()
}

// markDirty notes that a write has used the buffer that owner brought. Caller
// holds mu.
func (d *Device) markDirty(owner *Ucmd) {
	if !owner.bufDirty {
		owner.bufDirty = true
		d.note(owner, EvDirty)
	}
}

// fillOnFree writes the ON_FREE_CMD subcommand (rule R61, fact 45).
func (d *Device) fillOnFree(u *Ucmd, s *Subcommand) {
	s.PBuf = u.ubuff
	s.RespDataLen = u.respLen
	s.BufferCached = u.buffCached && u.ubuff != 0
	s.Aborted = u.aborted
	s.Status = scsi.Status(u.status)
	s.Delivery = u.delivery
	if u.aborted {
		s.Status = scsi.Good // nobody was answered
	}
}

// finishOnFree gives the buffer's object back to its pool and then drops the
// creation reference, if it is still there. Caller holds mu, which is released
// and taken again if there is a buffer; u may be gone then.
func (d *Device) finishOnFree(u *Ucmd, creation bool) {
	if obj := u.obj; obj != nil {
		d.note(u, EvSGVPut)
		// Once the object is in the pool others may destroy it, and unmap:
		// look before.
		stray := u.data != nil && !u.inObj
		lender := lenderTo(d, u.bufUcmd)
		u.obj, u.bufUcmd = nil, nil
		severed := d.severed // its handler may be using the buffer
		d.mu.Unlock()
		putObject(d.poolOf(u.clust), obj, !severed, lender)
		if stray {
			d.strayBuffer(u)
		}
		d.mu.Lock()
	}
	if creation {
		d.put(u, OwnerCreation)
	}
}

// strayBuffer deals with memory that the handler gave but that never made it
// into an object (the pool's limit): a handler that keeps its buffers gets it
// back with ON_CACHED_MEM_FREE like any other (I3), one that does not has
// learnt of it from ON_FREE_CMD.
func (d *Device) strayBuffer(u *Ucmd) {
	d.unmap(u)
	if !u.buffCached {
		return
	}
	d.mu.Lock()
	d.get(u, OwnerSGV)
	d.queueCachedFree(u)
	d.kickUnlock()
}

// replyCachedFree: the handler has its buffer back. Caller holds mu.
func (d *Device) replyCachedFree(u *Ucmd) { d.put(u, OwnerSGV) }

func (d *Device) isReleased() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.released
}

// bufferReturned: a device that shares a pool with this one has put a buffer
// of this one's back. A release that waits for it looks again.
func (d *Device) bufferReturned() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.released {
		d.gen++
		d.signalCleanup()
	}
}
