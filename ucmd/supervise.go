package ucmd

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// Action says what becomes of a subcommand that its handler has for too long.
type Action uint8

// The actions. Those above ActionReport are for SCSI commands that initiators
// wait for: a reset does nothing about a subcommand that only tells the handler
// something, and is not tried for one.
const (
	// ActionReport tells the Reporter and nothing else.
	ActionReport Action = iota
	// ActionReset resets the logical unit (target.Session.ResetUnit). What
	// waits for the handler ends at once, what the handler has when it
	// answers (rule R68).
	ActionReset
	// ActionKill cuts the handler off (Device.Sever): the device is gone.
	ActionKill
)

// String returns the action's name.
func (a Action) String() string {
	switch a {
	case ActionReport:
		return "report"
	case ActionReset:
		return "reset"
	case ActionKill:
		return "kill"
	}
	return fmt.Sprintf("action %d", uint8(a))
}

// Supervision says how long a handler may have a subcommand unanswered, from
// its fetch to its reply, or to COMPLETED where it was answered BACKGROUND.
type Supervision struct {
	// Timeout is that time; 0: as long as it likes, and nobody looks. What is
	// overdue is found within a sixteenth of it, and a millisecond.
	Timeout time.Duration
	// Action is what is done about it besides telling the Reporter.
	Action Action
}

// Overdue is a subcommand that its handler has had for too long.
type Overdue struct {
	Device string
	Handle uint32
	Code   Subcode
	// Background: it was answered BACKGROUND, and COMPLETED is due (rule R59).
	Background bool
	// Held is how long the handler has had it, Age how long ago the command
	// was submitted or, without one, the subcommand was made.
	Held, Age time.Duration
	// SessH and Initiator name the session; 0 and empty if it has none.
	SessH     uint64
	Initiator string
	// CDB and LBA are the command's, CDB is nil if it has none. It is the
	// Reporter's to keep.
	CDB []byte
	LBA uint64
	// Action is what is done about it.
	Action Action
}

// String says it in a line.
func (o *Overdue) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "device %s: the handler has had h=%d (%s", o.Device, o.Handle, o.Code)
	if o.Background {
		b.WriteString(", answered BACKGROUND")
	}
	fmt.Fprintf(&b, ") for %v", roundAge(o.Held))
	if len(o.CDB) > 0 {
		fmt.Fprintf(&b, ": %v, CDB % x, lba %d, submitted %v ago", scsi.Opcode(o.CDB[0]), o.CDB, o.LBA, roundAge(o.Age))
	}
	if o.SessH != 0 {
		fmt.Fprintf(&b, ", session %d (%s)", o.SessH, o.Initiator)
	}
	return b.String()
}

// heldMark is what the supervisor wants to know of a fetch. It is guarded by
// Device.mu.
type heldMark struct {
	// fetched is when, on the clock of target.Now; told: it was found overdue.
	fetched time.Duration
	told    bool
	// Of the command, which may be over before its handler is through with it.
	cdb    [target.MaxCDB]byte
	cdbLen int16
	lba    uint64
	sessH  uint64
}

// markHeld notes a fetch. Caller holds mu.
func (u *Ucmd) markHeld() {
	h := u.held
	if h == nil {
		h = new(heldMark)
		u.held = h
	}
	h.fetched, h.told = target.Now(), false
	switch c := u.cmd; {
	case c != nil:
		h.cdbLen = int16(copy(h.cdb[:], c.CDB()))
		h.lba, h.sessH = c.LBA, c.Session().Handle()
	case u.state == StateOnFreeing:
		// Its EXEC has left that here.
	default:
		h.cdbLen, h.lba, h.sessH = 0, 0, u.sessH
		switch {
		case u.tm != nil:
			h.sessH = u.tm.Session.Handle()
		case u.sess != nil:
			h.sessH = u.sess.Handle()
		}
	}
}

// withHandler says whether the handler has u. Caller holds mu.
func (u *Ucmd) withHandler() bool { return u.sentToUser && !u.onReady || u.backgroundExec }

// superviseFrom starts the supervisor of a new device, if it is to have one.
// It ends when the release begins, which does not wait for it.
func (d *Device) superviseFrom() {
	if d.limits.Supervision.Timeout > 0 {
		d.supervised = true
		d.stopSupervisor = make(chan struct{})
		go d.supervisor()
	}
}

// supervisor looks for overdue subcommands until the release begins. It sleeps
// until the oldest one that it has seen will be overdue; what is fetched while
// it sleeps can't be before.
func (d *Device) supervisor() {
	limit := d.limits.Supervision.Timeout
	t := time.NewTimer(limit)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-d.stopSupervisor:
			return
		}
		found, next := d.findOverdue(limit)
		d.act(found)
		t.Reset(max(next, limit/16, time.Millisecond))
	}
}

// overdue is what findOverdue has found.
type overdue struct {
	Overdue
	// reset is the session to reset the unit for, nil if that is of no use.
	reset *target.Session
}

// findOverdue returns what has been with the handler for limit and was not
// found before, by bucket, and how long no more can be found. It lets go of
// the lock between buckets, so that it holds up nobody for long.
func (d *Device) findOverdue(limit time.Duration) (found []overdue, next time.Duration) {
	next = limit
	for i, buckets := 0, 1; i < buckets; i++ {
		now := target.Now()
		d.mu.Lock()
		buckets = len(d.hash) // it may grow
		for u := d.hash[i]; u != nil; u = u.hashNext {
			if !u.withHandler() || u.held.told {
				continue
			}
			if left := u.held.fetched + limit - now; left > 0 {
				next = min(next, left)
				continue
			}
			u.held.told = true
			d.stats.Overdue++
			found = append(found, d.overdue(u, now))
		}
		d.mu.Unlock()
	}
	slices.SortFunc(found, func(a, b overdue) int { return int(b.Held - a.Held) })
	return found, next
}

// overdue describes u. Caller holds mu.
func (d *Device) overdue(u *Ucmd, now time.Duration) overdue {
	h := u.held
	o := overdue{Overdue: Overdue{
		Device: d.desc.Name, Handle: u.h, Code: Subcode(u.state), Background: u.backgroundExec,
		Held: now - h.fetched, Age: now - u.since, SessH: h.sessH, LBA: h.lba,
	}}
	if u.backgroundExec {
		o.Code = SubExec // on-free may have run
	}
	if h.cdbLen > 0 {
		o.CDB = slices.Clone(h.cdb[:h.cdbLen])
	}
	switch a := d.limits.Supervision.Action; a {
	case ActionKill:
		o.Action = a
	case ActionReset:
		// One reset is for all commands that are there.
		if u.cmd != nil && !u.backgroundExec && !u.cmd.Aborted() {
			o.Action, o.reset = a, u.cmd.Session()
		}
	}
	return o
}

// act reports what was found and carries out the action, once.
func (d *Device) act(found []overdue) {
	if len(found) == 0 {
		return
	}
	d.nameSessions(found)
	if r := d.limits.Reporter; r != nil {
		for i := range found {
			r.CommandOverdue(&found[i].Overdue)
		}
	}
	for _, o := range found {
		switch {
		case o.Action == ActionKill:
			d.Sever()
			return
		case o.reset != nil && o.reset.ResetUnit():
			return
		}
	}
}

// nameSessions fills in who the initiators are.
func (d *Device) nameSessions(found []overdue) {
	names := map[uint64]string{}
	for _, s := range d.tdev.Sessions() {
		names[s.Handle()] = s.Info.Initiator
	}
	for i := range found {
		found[i].Initiator = names[found[i].SessH]
	}
}
