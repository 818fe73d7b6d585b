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
	d.mu.Lock()
	u.cmd = nil
	u.respLen, u.status, u.delivery = c.RespLen, uint8(c.Status), int8(c.Delivery)
	if c.Dir == dirWrite || c.Dir == scsi.DirBidi {
		if u.bufUcmd != nil && !u.bufUcmd.bufDirty {
			u.bufUcmd.bufDirty = true
			d.note(u.bufUcmd, EvDirty)
		}
	}
	skip := d.onFree() == OnFreeIgnore || !u.seenByUser
	if u.backgroundExec {
		// The handler is still busy with the buffer, which must not serve
		// another command (I3): the rest waits for its COMPLETED.
		u.onFreePending = true
		if skip {
			d.setState(u, StateOnFreeSkipped)
			d.put(u, OwnerCreation)
		}
		d.mu.Unlock()
		return
	}
	if skip {
		// The state first: the pool release may queue ON_CACHED_MEM_FREE for
		// this very ucmd, whose state must win.
		d.setState(u, StateOnFreeSkipped)
		d.mu.Unlock()
		d.finishOnFree(u, true)
		return
	}
	d.setState(u, StateOnFreeing)
	d.addReady(u)
	d.mu.Unlock()
	d.kick()
}

// fillOnFree writes the ON_FREE_CMD subcommand.
func (d *Device) fillOnFree(u *Ucmd, s *Subcommand) {
	s.PBuf = u.ubuff
	s.RespDataLen = u.respLen
	s.BufferCached = u.buffCached && u.ubuff != 0
	s.Aborted = u.aborted
	s.Status = scsi.Status(u.status)
	s.Delivery = u.delivery
}

// finishOnFree gives the buffer's object back to its pool and then drops the
// creation reference, if it is still there.
func (d *Device) finishOnFree(u *Ucmd, creation bool) {
	// Once the object is in the pool others may destroy it, and unmap.
	stray := u.data != nil && !u.inObj
	if obj := u.obj; obj != nil {
		u.obj = nil
		// A buffer of a device that is being released must not be kept by a
		// pool that this device shares with it.
		keep := u.bufUcmd == nil || u.bufUcmd.dev == d || !u.bufUcmd.dev.isReleased()
		if d.obs != nil {
			d.mu.Lock()
			d.note(u, EvSGVPut)
			d.mu.Unlock()
		}
		d.poolOf(u).Put(obj, keep)
	}
	if stray {
		d.strayBuffer(u)
	}
	if creation {
		d.putUnlocked(u, OwnerCreation)
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
	d.mu.Unlock()
	d.kick()
}

// replyCachedFree: the handler has its buffer back.
func (d *Device) replyCachedFree(u *Ucmd) {
	d.putUnlocked(u, OwnerSGV)
}

func (d *Device) isReleased() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.released
}
