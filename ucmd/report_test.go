package ucmd

import (
	"slices"
	"sync"
)

// testReporter keeps what it hears.
type testReporter struct {
	mu      sync.Mutex
	stuck   []*StuckError
	overdue []*Overdue
	// onOverdue is called besides, if it is not nil.
	onOverdue func(o *Overdue)
}

func (r *testReporter) ReleaseStuck(e *StuckError) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stuck = append(r.stuck, e)
}

func (r *testReporter) CommandOverdue(o *Overdue) {
	if r.onOverdue != nil {
		r.onOverdue(o)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.overdue = append(r.overdue, o)
}

// releases returns the reports of stuck releases so far.
func (r *testReporter) releases() []*StuckError {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.stuck)
}

// found returns what was reported as overdue so far.
func (r *testReporter) found() []*Overdue {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.overdue)
}
