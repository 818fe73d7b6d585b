package replay

import (
	"slices"
	"time"

	"scstuser/ucmd"
)

// awaitManagement waits until the ATTACH_SESS or DETACH_SESS that a task has just
// been started for is ready. It is made on the task's goroutine and goes in front
// of what waits at the tail (R32), an ON_FREE_CMD say: whoever fetches too early
// gets that instead. It gives up where the handler has to do something first.
func (r *run) awaitManagement(d *device, t *task, state ucmd.State) {
	for end := time.Now().Add(r.opt.Timeout); time.Now().Before(end); {
		l := d.dev.Commands()
		if d.out > 0 || slices.ContainsFunc(l, func(c ucmd.Command) bool { return holdsManagement(c, state) }) {
			return
		}
		select {
		case <-t.over:
			return
		case <-r.wake:
		case <-time.After(time.Millisecond):
		}
	}
}

// holdsManagement says whether a listed ucmd is what is waited for, or keeps it
// from coming: a command that executes, or another thing of the kind.
func holdsManagement(c ucmd.Command, state ucmd.State) bool {
	switch c.State {
	case ucmd.StateOnFreeing, ucmd.StateOnFreeSkipped, ucmd.StateOnCacheFreeing, ucmd.StateNew:
		return false
	case state:
		return !c.Sent
	}
	return true
}
