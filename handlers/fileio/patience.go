package fileio

import (
	"sync/atomic"
	"time"
)

// inlineBudget is how long an inline write may take before the medium is
// thought to be busy: a megabyte is copied in a fraction of it.
const inlineBudget = 2 * time.Millisecond

// busyTime is for how long writes are not tried then.
const busyTime = 100 * time.Millisecond

// patience remembers that a write that should not have waited did: what waits
// once (a throttled writer, a journal) does so again. Until it is thought to
// be over writes go to workers, and the other requests of a connection don't
// wait with them.
type patience struct {
	// busyUntil is on the clock of now.
	busyUntil atomic.Int64
}

var epoch = time.Now()

func now() time.Duration { return time.Since(epoch) }

// busy says whether a write at this time would have to be expected to wait.
func (p *patience) busy(at time.Duration) bool { return int64(at) < p.busyUntil.Load() }

// took notes how long a write took, from start to end.
func (p *patience) took(start, end time.Duration) {
	if end-start > inlineBudget {
		p.busyUntil.Store(int64(end + busyTime))
	}
}
