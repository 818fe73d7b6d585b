package ucmd

// Reply processes one reply of the handler (rules R25, R34). nil: it was
// taken, or ignored because this state of the command was given up already.
// ESRCH: there is no such handle. EINVAL: it is not with the handler, or the
// reply is for another subcommand, which gives the command up, or its content
// makes no sense, which ends the command with an error; EFAULT, EOVERFLOW:
// likewise. The rest of the command's pipeline may run before Reply returns.
func (d *Device) Reply(r *Reply) error {
	d.mu.Lock()
	err := d.reply(r)
	d.mu.Unlock()
	return err
}

// reply is Reply for a caller that holds mu, which is released and taken again
// meanwhile.
func (d *Device) reply(r *Reply) error {
	err := d.takeReply(r)
	if err != nil {
		d.stats.RejectedReplies++
	}
	return err
}

// takeReply is reply without counting.
func (d *Device) takeReply(r *Reply) error {
	u := d.find(r.Handle)
	switch {
	case u == nil:
		return errESRCH
	case u.backgroundExec:
		return d.replyBackground(u, r)
	case u.thisStateUnjammed:
		return nil
	case !u.sentToUser:
		d.note(u, EvRejected)
		return errEINVAL
	}
	d.get(u, OwnerTransient)
	if State(r.Code) != u.state {
		d.note(u, EvRejected)
		d.unjam(u, false)
		d.put(u, OwnerTransient)
		return errEINVAL
	}
	u.sentToUser = false
	d.gen++
	d.note(u, EvReplied)
	if u.onReady {
		d.leaveReady(u) // given back (Requeue) and answered all the same
	}
	err := d.dispatch(u, r)
	d.put(u, OwnerTransient)
	if d.faults.dropTwice && r.Code == SubExec {
		d.put(u, OwnerTransient)
	}
	return err
}

// dispatch runs the reply to the subcommand of u's state. Caller holds mu,
// which may be released and taken again meanwhile.
func (d *Device) dispatch(u *Ucmd, r *Reply) (err error) {
	switch u.state {
	case StateOnFreeing:
		d.finishOnFree(u, true)
		return nil
	case StateOnCacheFreeing:
		d.replyCachedFree(u)
		return nil
	case StateTMReceived, StateTMDone:
		d.replyTM(u, r.Result)
		return nil
	case StateAttachSess, StateDetachSess:
		d.replySess(u, r.Result)
		return nil
	}
	state := u.state
	d.mu.Unlock()
	switch state {
	case StateParsing:
		err = d.replyParse(u, r)
	case StateBufAllocing:
		err = d.replyAlloc(u, r)
	case StateExecing:
		err = d.replyExec(u, r)
	case StateRemapping:
		err = d.replyRemap(u, r)
	}
	d.mu.Lock()
	return err
}

// ExtendedCDB returns a command's CDB beyond its first 16 bytes, nil if there
// is none, for a handler that has the command or runs it in the background
// (rule R37): ESRCH for an unknown handle, EINVAL in a wrong state.
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
