package ucmd

import (
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd/sgv"
)

// totalLen is how many bytes of buffer a command needs: the write side of a
// BIDI command follows the pages of its read side.
func totalLen(c *target.Cmd) int {
	n := int(c.BufLen)
	if c.OutBufLen > 0 {
		n = pageAlign(n) + int(c.OutBufLen)
	}
	return n
}

func pageAlign(n int) int { return (n + PageSize - 1) &^ (PageSize - 1) }

// maxAlloc is the largest buffer that a handler is asked for: more than the
// pool's limit would never be accepted, and the interface has 31 bits for it.
func (l *Limits) maxAlloc() int {
	return min(l.MaxPages, (1<<31-1)/PageSize) * PageSize
}

// poolOf returns the pool of objects that are clustered, or are not.
func (d *Device) poolOf(clust bool) *sgv.Pool {
	if clust {
		return d.clust
	}
	return d.pool
}

// AllocBuf sees to the data buffer of a command: an idle one of the pool, which
// Parse has taken unless the handler parsed, one that the handler is asked for now
// (WRITE, BIDI) or that comes with the EXEC reply (READ). It implements
// target.DevHandler and is entered again when the ALLOC_MEM reply has come.
func (d *Device) AllocBuf(c *target.Cmd) target.Verdict {
	u := c.Priv.(*Ucmd)
	switch {
	case u.data != nil: // entered again: the handler has given memory
		if !d.fillObject(u) {
			c.FailBusy()
			c.Complete()
			return target.Continue
		}
		u.setBuf(c, u.obj.Data)
		return target.Continue
	case u.obj == nil: // parsed by the handler
		b := d.takeBuffer(c)
		d.mu.Lock()
		d.useBuffer(u, b)
		d.mu.Unlock()
	}
	if u.bufUcmd == nil {
		return d.allocMiss(u, totalLen(c))
	}
	u.setBuf(c, u.obj.Data)
	return target.Continue
}

// buffer is an object of a pool on its way to a command.
type buffer struct {
	obj    *sgv.Object // nil: the command needs none
	hit    bool        // it has memory
	cached bool        // it goes back to the pool when the command is over
	clust  bool
}

// takeBuffer takes what a parsed command needs out of the pool: an object, with
// memory if there is an idle one.
func (d *Device) takeBuffer(c *target.Cmd) (b buffer) {
	if c.BufLen == 0 && c.OutBufLen == 0 {
		return b
	}
	b.cached = d.reuses(c)
	b.clust = d.clust != nil && c.Session().Info.Clustered
	b.obj, b.hit = d.poolOf(b.clust).Get(totalLen(c), b.cached)
	return b
}

// returnBuffer undoes takeBuffer.
func (d *Device) returnBuffer(b buffer) {
	if b.obj == nil {
		return
	}
	var lender *Device
	if b.hit {
		lender = lenderTo(d, b.obj.Owner.(*Ucmd))
	}
	putObject(d.poolOf(b.clust), b.obj, true, lender)
}

// lenderTo returns the device whose handler's memory a command of d uses, if
// that is another one: the pool is shared. owner brought the memory; nil: nobody
// has.
func lenderTo(d *Device, owner *Ucmd) *Device {
	if owner == nil || owner.dev == d {
		return nil
	}
	return owner.dev
}

// putObject gives an object back to its pool. A buffer of a device that is being
// released must not be kept by a pool that this device shares with it. Should
// the release begin right here, it flushes the pool once more.
func putObject(p *sgv.Pool, obj *sgv.Object, keep bool, lender *Device) {
	p.Put(obj, keep && (lender == nil || !lender.isReleased()))
	if lender != nil {
		lender.bufferReturned()
	}
}

// useBuffer makes b the object of u. Caller holds mu.
func (d *Device) useBuffer(u *Ucmd, b buffer) {
	if b.obj == nil {
		return
	}
	u.obj, u.buffCached, u.clust = b.obj, b.cached, b.clust
	if !b.hit {
		return
	}
	owner := b.obj.Owner.(*Ucmd)
	u.bufUcmd, u.ubuff = owner, owner.ubuff
	d.setState(u, StateBufAllocing)
	d.stats.PoolHits++
	d.note(u, EvSGVHit)
}

// allocMiss asks the handler for n bytes, now or with EXEC (rules R49, R50).
func (d *Device) allocMiss(u *Ucmd, n int) target.Verdict {
	c := u.cmd
	if u.buffCached {
		n = d.poolOf(u.clust).AllocLen(n)
	}
	tooLarge := pageAlign(n) > d.maxAlloc
	d.mu.Lock()
	d.setState(u, StateBufAllocing)
	d.note(u, EvSGVMiss)
	if tooLarge {
		// No handler can help, and BUSY would have the initiator try for ever.
		d.mu.Unlock()
		c.SetSense(scsi.SenseInvalidFieldInCDB)
		c.Complete()
		return target.Continue
	}
	u.allocLen = int32(n)
	d.countAsked(c.Dir == scsi.DirRead)
	if c.Dir == scsi.DirRead {
		d.mu.Unlock()
		return target.Continue // EXEC asks for the buffer
	}
	d.addReady(u)
	d.kickUnlock()
	return target.Stop
}

// setBuf makes data the command's buffer.
func (u *Ucmd) setBuf(c *target.Cmd, data []byte) {
	c.Buf = data[:c.BufLen]
	if c.OutBufLen > 0 {
		off := pageAlign(int(c.BufLen))
		c.OutBuf = data[off : off+int(c.OutBufLen)]
	}
}

// mapBuf maps the memory that the handler gave for n bytes; the error is
// EFAULT, or ESRCH if the release has ended the command meanwhile: it is not
// the caller's any more then.
func (d *Device) mapBuf(u *Ucmd, addr uint64, n int) error {
	d.startMapping(u)
	data, err := d.mem.Map(addr, n)
	if !d.endMapping(u) {
		if err == nil {
			d.mem.Unmap(addr, data)
		}
		return errESRCH
	}
	if err != nil {
		return errEFAULT
	}
	if len(data) < n {
		d.mem.Unmap(addr, data)
		return errEFAULT
	}
	u.ubuff, u.data, u.inObj = addr, data, false
	return nil
}

// fillObject puts the ucmd's mapped memory into its object; from then on the
// pool holds a reference to the ucmd. false: the pool's limit is reached.
func (d *Device) fillObject(u *Ucmd) bool {
	u.inObj = true
	u.bufUcmd = u
	if err := d.poolOf(u.clust).Fill(u.obj, u, u.data); err != nil {
		u.inObj = false
		u.bufUcmd = nil
		return false
	}
	return true
}

// SGVMapped implements sgv.Owner.
func (u *Ucmd) SGVMapped() {
	d := u.dev
	d.mu.Lock()
	d.get(u, OwnerSGV)
	d.note(u, EvSGVFilled)
	d.mu.Unlock()
}

// SGVDestroyed implements sgv.Owner: the object with this ucmd's memory is
// gone. A handler that keeps buffers is told, in the name of this ucmd, and
// the reference goes with its reply; otherwise it goes now.
func (u *Ucmd) SGVDestroyed() {
	d := u.dev
	d.unmap(u)
	d.mu.Lock()
	d.note(u, EvSGVGone)
	if !u.buffCached {
		d.put(u, OwnerSGV)
		d.mu.Unlock()
		return
	}
	d.queueCachedFree(u)
	d.kickUnlock()
}

// queueCachedFree queues ON_CACHED_MEM_FREE. Caller holds mu.
func (d *Device) queueCachedFree(u *Ucmd) {
	d.setState(u, StateOnCacheFreeing)
	u.since = target.Now()
	d.addReady(u)
}

// unmap ends the mapping of the memory that u brought.
func (d *Device) unmap(u *Ucmd) {
	if u.data != nil {
		d.mem.Unmap(u.ubuff, u.data)
		u.data, u.inObj = nil, false
	}
}

// fillAlloc writes the ALLOC_MEM subcommand.
func (d *Device) fillAlloc(u *Ucmd, s *Subcommand) {
	d.fillCommon(u, s)
	s.AllocLen = u.allocLen
}

// replyAlloc takes the memory for a WRITE (rules R49 to R52, fact 36).
func (d *Device) replyAlloc(u *Ucmd, r *Reply) error {
	c := u.cmd
	switch {
	case r.PBuf == 0:
		c.FailBusy()
		c.AbnormalDone()
		return nil
	case u.buffCached && r.PBuf%PageSize != 0:
		c.SetSense(scsi.SenseHardwareInternalFailure)
		c.AbnormalDone()
		return errEINVAL
	}
	if err := d.mapBuf(u, r.PBuf, int(u.allocLen)); err == errESRCH {
		return err
	} else if err != nil {
		c.SetSense(scsi.SenseAbortedInternalFailure)
		c.AbnormalDone()
		return err
	}
	c.AllocDone()
	return nil
}
