package ucmd

import "scstuser/scsi"

// Reply processes one reply of the handler (rules R25, R34). nil: it was
// taken, or ignored because this state of the command was given up already.
// The rest of the command's pipeline may run before Reply returns.
func (d *Device) Reply(r *Reply) error {
	d.mu.Lock()
	u := d.find(r.Handle)
	if u == nil {
		d.mu.Unlock()
		return errESRCH
	}
	if u.backgroundExec && !u.sentToUser {
		return d.replyBackground(u, r)
	}
	switch {
	case u.thisStateUnjammed:
		d.mu.Unlock()
		return nil
	case !u.sentToUser:
		d.note(u, EvRejected)
		d.mu.Unlock()
		return errEINVAL
	}
	d.get(u, OwnerTransient)
	if State(r.Code) != u.state {
		d.note(u, EvRejected)
		d.unjam(u, false)
		d.put(u, OwnerTransient)
		d.runActive()
		d.mu.Unlock()
		d.kick()
		return errEINVAL
	}
	u.sentToUser = false
	d.gen++
	d.note(u, EvReplied)
	if u.onReady {
		// It was given back (Requeue) and answered all the same.
		d.unlinkReady(u)
	}
	state := u.state
	d.mu.Unlock()

	err := d.dispatch(u, state, r)
	d.putUnlocked(u, OwnerTransient)
	return err
}

// replyBackground: what may come for a command that was answered BACKGROUND
// is COMPLETED. A second BACKGROUND is refused (the module crashes on it).
// Caller holds mu, which is released.
func (d *Device) replyBackground(u *Ucmd, r *Reply) error {
	if r.Code != SubExec || r.Type != ReplyCompleted {
		d.note(u, EvRejected)
		d.mu.Unlock()
		return errEINVAL
	}
	d.note(u, EvReplied)
	d.finishBackground(u)
	return nil
}

// dispatch runs the reply to the subcommand of a state.
func (d *Device) dispatch(u *Ucmd, state State, r *Reply) error {
	switch state {
	case StateParsing:
		return d.replyParse(u, r)
	case StateBufAllocing:
		return d.replyAlloc(u, r)
	case StateExecing:
		return d.replyExec(u, r)
	case StateOnFreeing:
		d.finishOnFree(u, true)
	case StateOnCacheFreeing:
		d.replyCachedFree(u)
	case StateRemapping:
		return d.replyRemap(u, r)
	case StateTMReceived, StateTMDone:
		d.replyTM(u, state, r.Result)
	case StateAttachSess, StateDetachSess:
		d.replySess(u, state, r.Result)
	}
	return nil
}

// ExtendedCDB returns a command's CDB beyond its first 16 bytes, for a
// handler that has the command or runs it in the background (rule R37):
// ESRCH for an unknown handle, EINVAL in a wrong state.
func (d *Device) ExtendedCDB(h uint32) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.find(h)
	if u == nil {
		return nil, errESRCH
	}
	d.get(u, OwnerTransient)
	if u.cmd == nil || u.state > StateExecing || !u.sentToUser && !u.backgroundExec {
		if !d.faults.leakExtendedCDB {
			d.put(u, OwnerTransient)
		}
		return nil, errEINVAL
	}
	cdb := u.cmd.CDB()
	d.put(u, OwnerTransient)
	if len(cdb) <= 16 {
		return nil, nil
	}
	return append([]byte(nil), cdb[16:]...), nil
}

// unjamSense is what a command gets whose handler is gone (rule R70).
var unjamSense = scsi.SenseLUNotSupported
