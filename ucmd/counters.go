package ucmd

// Counters are what a device has seen since it was registered. What the
// front ends' commands came to is in target.Counters, what the pools did in
// sgv.Stats.
type Counters struct {
	// The buffers that the handler was asked for:
	// AllocMem of them with an ALLOC_MEM subcommand (rule R49), AllocExec
	// with the EXEC of a read (rule R50).
	AllocMem, AllocExec uint64
	// PoolHits counts the commands that got an idle buffer of the pool: for
	// each of them ALLOC_MEM was avoided.
	PoolHits uint64
	// Unjammed counts the times that what the handler had to do for a ucmd
	// was given up (scst_user.md 2.5).
	Unjammed uint64
	// RejectedReplies counts the replies that made no sense or came for a
	// ucmd that was not with the handler (rules R25, R34): those for which
	// the handler got an errno.
	RejectedReplies uint64
	// Refused counts the commands that got BUSY or TASK SET FULL because the
	// device had Limits.MaxUcmds ucmds.
	Refused uint64
	// Overdue counts the subcommands that the handler had for longer than
	// Supervision.Timeout.
	Overdue uint64
	// Ucmds is how many ucmds there are now, Highest how many there were at
	// most.
	Ucmds, Highest int
}

// Counters returns the device's counters.
func (d *Device) Counters() Counters {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := d.stats
	c.Ucmds = d.count
	return c
}

// peak notes how many ucmds there are. Caller holds mu.
func (c *Counters) peak(n int) { c.Highest = max(c.Highest, n) }

// countAsked notes that the handler is asked for a buffer. Caller holds mu.
func (d *Device) countAsked(withExec bool) {
	if withExec {
		d.stats.AllocExec++
		return
	}
	d.stats.AllocMem++
}
