package replay

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/ioctl/node"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// Options of a replay. Zero fields get the defaults.
type Options struct {
	// Timeout is how long the host may take for what needs no one else; a
	// host that takes longer hangs, which is a difference. Default 10 s.
	Timeout time.Duration
	// Limits are the host's.
	Limits ucmd.Limits
	// NewRecorder, if not nil, makes the recorder of one play. A recording may
	// be played several times in one Run (hint.go): what counts is the last.
	NewRecorder func() node.Recorder
}

// EnsureDefaults fills in what was left zero.
func (o *Options) EnsureDefaults() {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
}

// silent is a log that nobody reads: refusing ioctls is what is compared.
func silent() *logrus.Logger {
	l := logrus.New()
	l.SetOutput(io.Discard)
	return l
}

// before is how many events a Difference shows before its own.
const before = 4

// run is a replay on its way. It belongs to one goroutine.
type run struct {
	opt   Options
	plan  *plan
	hints hints
	host  *node.Host
	mem   map[int]*memory // by process: devices of one may share buffers
	res   *Result

	live        map[int]*device // by file
	devices     []*device       // all that were registered
	nonblocking map[int]bool    // files opened with O_NONBLOCK
	aens        bool            // initiators take unit attentions as events
	pending     map[*call]*pending
	recent      []*trace.Event
	wake        chan struct{} // something became ready
	async       []*task       // goroutines that have not ended
}

// Run replays a recording. The error is an *Obstacle if it can't be replayed
// at all; a host that answers differently is in the Result.
func Run(rec *trace.Recording, o Options) (*Result, error) {
	o.EnsureDefaults()
	p := makePlan(rec.Events)
	if err := findObstacle(rec, p); err != nil {
		return nil, err
	}
	modelled := hints{}
	for _, d := range p.devices {
		d.pool.begins(d, modelled)
	}
	best, kept := runOnce(rec, p, o, modelled), modelled
	if best.Difference != nil && len(modelled) > 0 {
		// What the model of the pool says may be wrong, as in a recording of
		// a pool that did not give the last buffer first.
		if res := runOnce(rec, makePlan(rec.Events), o, hints{}); further(res, best) {
			best, kept = res, hints{}
		}
	}
	return search(rec, o, best, kept), nil
}

// further says whether a replay got further than another one.
func further(a, b *Result) bool {
	switch {
	case b.Difference == nil || b.Difference.Event == nil:
		return false
	case a.Difference == nil || a.Difference.Event == nil:
		return true
	}
	return a.Difference.Event.Seq > b.Difference.Event.Seq
}

// search looks for the moments at which commands began, one after the other,
// as long as that explains differences.
func search(rec *trace.Recording, o Options, res *Result, h hints) *Result {
	for {
		a := newAttempt(res)
		if a == nil {
			return res
		}
		found := false
		for !found && a.earlier(h) {
			next := runOnce(rec, makePlan(rec.Events), o, h)
			if found = further(next, res); found {
				res = next
			}
		}
		if !found {
			return res
		}
	}
}

// runOnce plays the whole recording once.
func runOnce(rec *trace.Recording, p *plan, o Options, h hints) *Result {
	r := &run{
		opt: o, plan: p, hints: h, mem: map[int]*memory{},
		res: &Result{Events: len(rec.Events)}, aens: rec.Header.Source == "process",
		live: map[int]*device{}, pending: map[*call]*pending{}, nonblocking: map[int]bool{}, wake: make(chan struct{}, 1),
	}
	no := node.Options{Limits: o.Limits, Log: silent(), Observe: func(ucmd.Desc) ucmd.Observer { return observer{r.wake} }}
	if o.NewRecorder != nil {
		no.Recorder = o.NewRecorder()
	}
	r.host = node.New(no)
	d := r.events(rec.Events)
	if end := r.end(d == nil); d == nil {
		d = end
	}
	r.res.Difference = d
	return r.res
}

// events goes through the recording up to the first difference.
func (r *run) events(events []*trace.Event) *Difference {
	for _, e := range events {
		if d := r.event(e); d != nil {
			d.Event, d.Before = e, r.recent
			return d
		}
		if r.recent = append(r.recent, e); len(r.recent) > before {
			r.recent = r.recent[1:]
		}
	}
	return nil
}

func (r *run) event(e *trace.Event) *Difference {
	switch e.Kind {
	case trace.KindOpen:
		r.nonblocking[e.File] = e.NonBlock
	case trace.KindEnter:
		return r.enter(r.plan.calls[e.Seq])
	case trace.KindExit:
		return r.exit(r.plan.calls[e.Call])
	case trace.KindMark:
		return r.mark(e)
	case trace.KindRelease:
		if d := r.live[e.File]; d != nil {
			delete(r.live, e.File)
			return r.release(d)
		}
	}
	return nil
}

// end closes what is open, as the death of the handler does, and looks whether
// the host is clean then (I1, I4, I5). check is false after a difference: then
// it only has to end.
func (r *run) end(check bool) *Difference {
	var first *Difference
	if check {
		first = r.leftOver()
	}
	for _, d := range r.devices {
		if d.dev == nil || r.live[d.plan.file] != d {
			continue
		}
		if diff := r.release(d); first == nil && check {
			first = diff
		}
	}
	if diff := r.join(); first == nil && check {
		first = diff
	}
	ctx, cancel := context.WithTimeout(context.Background(), r.opt.Timeout)
	defer cancel()
	if err := r.host.Close(ctx); err != nil && first == nil && check {
		first = &Difference{What: err.Error()}
	}
	return first
}

// leftOver finds a subcommand that the recorded host never had, while a thread
// of the handler was there to take it.
func (r *run) leftOver() *Difference {
	for _, d := range r.devices {
		if r.live[d.plan.file] != d || !d.waiting() {
			continue
		}
		if len(d.own) > 0 {
			return &Difference{What: "at the end the host has not got to " + name(d.own[0].cmd) + ", a WRITE of a WRITE SAME"}
		}
		got, err := d.fetch()
		if err != nil {
			return &Difference{What: fmt.Sprintf("at the end: %v", err)}
		}
		if got != nil {
			x := d.translated(got, &trace.Cmd{})
			return &Difference{What: "at the end the host has a subcommand that the recorded one never had: " + name(&x)}
		}
	}
	return nil
}

// waiting says whether a recorded thread is in a call that fetches, and that
// call never returned.
func (d *device) waiting() bool {
	for c := range d.calls {
		if c.exit == nil && fetches(c.enter) {
			return true
		}
	}
	return false
}

// release takes a device down and looks at what is left of it.
func (r *run) release(d *device) *Difference {
	ctx, cancel := context.WithTimeout(context.Background(), 4*r.opt.Timeout)
	defer cancel()
	d.file.Close(0)
	if err := d.dev.Close(ctx); err != nil {
		return &Difference{What: fmt.Sprintf("release of %s: %v", d.dev.Desc().Name, err)}
	}
	for _, s := range d.sessions {
		if s.sess == nil {
			continue
		}
		if err := s.close(ctx); err != nil {
			return &Difference{What: fmt.Sprintf("release of %s: %v", d.dev.Desc().Name, err)}
		}
	}
	if l := d.dev.Commands(); len(l) > 0 {
		return &Difference{What: fmt.Sprintf("after the release of %s it still has commands: %v", d.dev.Desc().Name, l)}
	}
	for _, s := range d.sessions {
		if what := s.unfinished(); what != "" {
			return &Difference{What: "after the release of " + d.dev.Desc().Name + ": " + what}
		}
	}
	return nil
}
