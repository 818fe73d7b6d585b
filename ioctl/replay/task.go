package replay

import (
	"fmt"
	"time"
)

// task is something of the host's that waits, on a goroutine.
type task struct {
	what string
	over chan struct{}
}

// start runs f on a goroutine.
func (r *run) start(what string, f func()) *task {
	t := &task{what: what, over: make(chan struct{})}
	r.async = append(r.async, t)
	go func() {
		defer close(t.over)
		f()
	}()
	return t
}

// running counts the tasks that are not over.
func (r *run) running() int {
	n := 0
	for _, t := range r.async {
		select {
		case <-t.over:
		default:
			r.async[n] = t
			n++
		}
	}
	r.async = r.async[:n]
	return n
}

// wait waits for a task.
func (r *run) wait(t *task) *Difference {
	timer := time.NewTimer(r.opt.Timeout)
	defer timer.Stop()
	select {
	case <-t.over:
		return nil
	case <-timer.C:
		return &Difference{What: fmt.Sprintf("%s is not over after %v", t.what, r.opt.Timeout)}
	}
}

// join waits for all tasks. The devices are released: whatever a task waited
// for has come.
func (r *run) join() *Difference {
	var first *Difference
	for _, t := range r.async {
		if d := r.wait(t); first == nil {
			first = d
		}
	}
	return first
}

// beginIfIdle begins what suspends the device, if nothing is on its way there:
// then it ends by itself. Otherwise it has to wait for subcommands that are
// with the handler, and is begun when there is none, or it has to return.
func (r *run) beginIfIdle(p *pending) *Difference {
	if p.later == nil || p.dev.out > 0 {
		return nil
	}
	return r.finish(p)
}

// beginWaiting begins what waited for the handler.
func (r *run) beginWaiting(d *device) *Difference {
	for _, c := range d.open() {
		if p := r.pending[c]; p != nil && p.later != nil {
			if diff := r.beginIfIdle(p); diff != nil {
				return diff
			}
		}
	}
	return nil
}

// finish begins a suspending call, if it is not begun, and waits for its end.
func (r *run) finish(p *pending) *Difference {
	if p.task == nil {
		f := p.later
		p.task = r.start("a call that suspends the device", func() { p.errno = f() })
		p.later = nil
	}
	return r.wait(p.task)
}
