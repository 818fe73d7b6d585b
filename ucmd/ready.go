package ucmd

import "scstuser/scsi"

// addReady queues u for the handler, at the place that its state and task
// attribute give it (rule R32). Caller holds mu, and calls kickUnlock, or kick
// when it has released it.
func (d *Device) addReady(u *Ucmd) {
	u.thisStateUnjammed = false
	where := AtTail
	switch {
	case u.state.management():
		where = AtMgmt
	case u.state == StateParsing, u.state == StateBufAllocing,
		u.state == StateExecing && u.cmd.QueueType == scsi.QueueHeadOfQueue:
		where = AtHead
	}
	d.linkReady(u, where)
}

// linkReady puts u at a place of the ready list. Caller holds mu.
func (d *Device) linkReady(u *Ucmd, where Where) {
	var after *Ucmd // nil: at the very front
	switch where {
	case AtTail:
		after = d.readyLast
	case AtHead, AtMgmt:
		after = d.lastMgmt
	}
	u.readyPrev = after
	if after == nil {
		u.readyNext = d.readyFirst
		d.readyFirst = u
	} else {
		u.readyNext = after.readyNext
		after.readyNext = u
	}
	if u.readyNext == nil {
		d.readyLast = u
	} else {
		u.readyNext.readyPrev = u
	}
	if u.state.management() && after == d.lastMgmt {
		d.lastMgmt = u
	}
	u.onReady = true
	d.gen++
	if d.obs != nil {
		d.obs.Event(Event{Kind: EvReady, Handle: u.h, State: u.state, Where: where})
	}
	switch {
	case d.released:
		d.signalCleanup()
	case d.inline.Load() == nil:
		d.wakeOne()
	}
}

// unlinkReady takes u off the ready list. Caller holds mu.
func (d *Device) unlinkReady(u *Ucmd) {
	if u.readyPrev == nil {
		d.readyFirst = u.readyNext
	} else {
		u.readyPrev.readyNext = u.readyNext
	}
	if u.readyNext == nil {
		d.readyLast = u.readyPrev
	} else {
		u.readyNext.readyPrev = u.readyPrev
	}
	if d.lastMgmt == u {
		// What is before it is management too, or was given back (AtFront).
		d.lastMgmt = u.readyPrev
	}
	u.readyPrev, u.readyNext = nil, nil
	u.onReady = false
}

// leaveReady takes u off the ready list, and nobody will fetch it. Caller holds
// mu.
func (d *Device) leaveReady(u *Ucmd) {
	d.unlinkReady(u)
	d.note(u, EvUnready)
}

// next takes the next ucmd that the handler shall see off the ready list; nil
// if there is none. Commands that were aborted before they were fetched, and
// those that the target answers itself, are ended here (rule R33). Caller
// holds mu, which may be released and taken again meanwhile.
func (d *Device) next() *Ucmd {
	for {
		u := d.readyFirst
		if u == nil {
			return nil
		}
		d.unlinkReady(u)
		// One that was given back is still marked as sent. From here on no
		// reply must be taken for it: we may end it.
		u.sentToUser = false
		switch u.state {
		case StateParsing, StateBufAllocing:
			if u.cmd.Aborted() {
				d.unjam(u, false)
				continue
			}
		case StateExecing:
			if u.cmd.HasLocalEvents() && d.endLocally(u) {
				continue
			}
		}
		return u
	}
}

// endLocally ends the command of u, which is just off the ready list, if the
// target has to answer it itself; false: it has not. Caller holds mu, which is
// released and taken again meanwhile.
func (d *Device) endLocally(u *Ucmd) bool {
	c := u.cmd
	d.mu.Unlock()
	over := c.CheckLocalEvents()
	if over {
		d.mu.Lock()
		d.note(u, EvUnready)
		d.mu.Unlock()
		c.Done()
	}
	d.mu.Lock()
	return over
}
