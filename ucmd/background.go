package ucmd

// A command that was answered BACKGROUND is over for its initiator while the
// handler still works on it (rule R59). Its ucmd has a reference for that. What
// on-free does waits for the handler's COMPLETED: the buffer must not serve
// another command before (I3), and ON_FREE_CMD comes after it (on the module it
// comes before, and its reply crashes it: fact 59).

// deferOnFree puts on-free off until COMPLETED; false: it need not wait. skip
// says that the handler won't hear of on-free. Caller holds mu.
func (d *Device) deferOnFree(u *Ucmd, skip bool) bool {
	if !u.backgroundExec {
		return false
	}
	if d.released && !d.faults.keepBackground {
		// Its handler is gone: COMPLETED can't come.
		u.backgroundExec = false
		d.put(u, OwnerBackground)
		return false
	}
	u.onFreePending = true
	if skip {
		d.setState(u, StateOnFreeSkipped)
		d.put(u, OwnerCreation)
	} else {
		d.setState(u, StateOnFreeing)
	}
	return true
}

// replyBackground: what may come for a command that was answered BACKGROUND
// is COMPLETED. A second BACKGROUND is refused (the module crashes on it).
// Caller holds mu, which may be released and taken again meanwhile.
func (d *Device) replyBackground(u *Ucmd, r *Reply) error {
	if r.Code != SubExec || r.Type != ReplyCompleted {
		d.note(u, EvRejected)
		return errEINVAL
	}
	d.note(u, EvReplied)
	d.finishBackground(u)
	return nil
}

// finishBackground takes the COMPLETED that follows a BACKGROUND reply; its
// status is ignored. What on-free left for it is done now. Caller holds mu,
// which may be released and taken again meanwhile; u may be gone then.
func (d *Device) finishBackground(u *Ucmd) {
	u.backgroundExec = false
	if !u.onFreePending {
		d.put(u, OwnerBackground) // on-free finds it finished
		return
	}
	u.onFreePending = false
	d.get(u, OwnerTransient) // the background reference may be the last
	d.put(u, OwnerBackground)
	switch {
	case u.state == StateOnFreeSkipped:
		d.finishOnFree(u, false)
	case d.released:
		d.finishOnFree(u, true)
	default:
		d.addReady(u)
		d.kickUnlock()
		d.mu.Lock()
	}
	d.put(u, OwnerTransient)
}
