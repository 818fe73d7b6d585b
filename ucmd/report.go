package ucmd

// Reporter hears of what an operator should know and can't see from outside: a
// release that does not get on, a handler that holds a command for too long.
// Its methods are called by the goroutine that has found it, without a lock,
// and should not take long: that one goes on when they return. They may use
// the device, but for waiting for its release.
type Reporter interface {
	// ReleaseStuck: the release of a device has made no progress for
	// Limits.ReleaseTimeout; e says what holds it, at this moment. It is called
	// once per release at most, while the release goes on: what it leaves
	// behind in the end, if anything, is what Device.Close returns.
	ReleaseStuck(e *StuckError)
	// CommandOverdue: a handler has had a subcommand for longer than
	// Supervision.Timeout. It is called once for each, right before o.Action
	// is carried out.
	CommandOverdue(o *Overdue)
}

// ReleaseStats counts the releases of a registry's devices.
type ReleaseStats struct {
	// Ended are the releases that are over, Stuck those of them that had to
	// leave something behind (a *StuckError).
	Ended, Stuck uint64
	// Abandoned are the ucmds that were left behind, all together.
	Abandoned uint64
}

// Releases returns the counts so far.
func (r *Registry) Releases() ReleaseStats {
	return ReleaseStats{
		Ended: r.releases.ended.Load(), Stuck: r.releases.stuck.Load(), Abandoned: r.releases.abandoned.Load(),
	}
}

// countRelease counts a release whose outcome is in d.stuck.
func (r *Registry) countRelease(d *Device) {
	r.releases.ended.Add(1)
	if d.stuck != nil {
		r.releases.stuck.Add(1)
		r.releases.abandoned.Add(uint64(len(d.stuck.Commands)))
	}
}

// reportStuck tells the Reporter what holds the release now. err is why the
// sessions are not detached yet, nil if they are.
func (d *Device) reportStuck(err error) {
	if d.stuckTold.CompareAndSwap(false, true) && d.limits.Reporter != nil {
		d.limits.Reporter.ReleaseStuck(&StuckError{Device: d.desc.Name, Commands: d.Commands(), Err: err})
	}
}
