package ucmd

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// The explorer tries all schedules of a world up to a bound. A schedule is a
// list of choices: which action begins next, or which goroutine goes on from
// the lock that it stands in front of to the next one. The bound is the number
// of actions (depth) and the number of times that a goroutine which could go on
// is left standing for another (switches): a goroutine that ends or waits costs
// nothing. Every schedule is run from the beginning, on the real code; states
// that were reached before, with at least as much of the bound left, are not
// entered again. After its last action every schedule is brought to its end:
// the handler dies and the device has to become empty.

var (
	exploreTime = flag.Duration("explore.time", 0, "explore each plan deeper and deeper for this long")
	explorePlan = flag.String("explore.plan", "", "explore only the plan of this name")
)

// plan is a world and what may happen in it, each as often as it says.
type plan struct {
	name string
	// header is the world, as a scenario describes it.
	header string
	worldConfig
	// replies are the ways in which the handler answers, besides good, and
	// odd is how many of those a schedule has at most.
	replies []replyKind
	odd     int
	// times is how often an action may be done. submit, get, reply and
	// deliver are done as often as there is something to do.
	times [opCount]int
	// options are the arguments of the options actions.
	options string
	// depth and switches are the bound for every test run.
	depth, switches int
}

// prepare reads the header.
func (p *plan) prepare(t *testing.T) {
	t.Helper()
	p.worldConfig = worldConfig{desc: plainDesc()}
	for _, line := range strings.Split(p.header, "\n") {
		if _, err := p.setting(strings.Fields(line)); err != nil {
			t.Fatalf("plan %s: %q: %v", p.name, line, err)
		}
	}
}

// explorer is one exploration of a plan.
type explorer struct {
	p               *plan
	depth, switches int
	deadline        time.Time
	// seen has, for each state, the most of the bound that was left there.
	seen map[uint64]left

	path  []choicePoint
	runs  int
	steps int
	// astray: a schedule did not go the way that it went before.
	astray  bool
	failure string
	failed  []string // the schedule, as a scenario, if there is a failure
	out     bool     // of time
}

type left struct{ depth, switches int8 }

// choicePoint is one decision of the schedule at hand.
type choicePoint struct {
	taken, of int
}

// choice is one thing that could happen next.
type choice struct {
	t  *thread // goes on
	a  action  // begins, if t is nil
	sw bool    // costs a switch
}

// explore tries everything within the bound; false: it found a failure, or the
// time was over.
func (e *explorer) explore(t *testing.T) bool {
	e.seen = map[uint64]left{}
	for {
		n := len(e.path)
		e.runInBubble(t, n)
		// Goroutines that wake each other run side by side up to their next
		// locks. On a busy machine one may be so late that another order
		// comes of it: that was another schedule, and this one is run again.
		for tries := 0; e.astray && e.failure == ""; tries++ {
			if tries == 20 {
				t.Fatalf("plan %s: a schedule goes another way each time", e.p.name)
			}
			e.path = e.path[:n]
			e.runInBubble(t, n)
		}
		e.runs++
		if e.failure != "" {
			return false
		}
		for len(e.path) > 0 && e.path[len(e.path)-1].taken+1 == e.path[len(e.path)-1].of {
			e.path = e.path[:len(e.path)-1]
		}
		if len(e.path) == 0 {
			return true
		}
		e.path[len(e.path)-1].taken++
		if e.runs%64 == 0 && !e.deadline.IsZero() && timeIsOver(e.deadline) {
			e.out = true
			return false
		}
	}
}

// runInBubble runs one schedule. A goroutine that is left waiting when all is
// over is a failure too: synctest panics then.
func (e *explorer) runInBubble(t *testing.T, fixed int) {
	defer func() {
		if p := recover(); p != nil && e.failure == "" {
			e.failure = fmt.Sprint(p)
		}
	}()
	synctest.Test(t, func(*testing.T) { e.run(fixed) })
}

// timeIsOver is outside of any bubble: real time.
func timeIsOver(end time.Time) bool { return time.Now().After(end) }

// state is what the schedule has used up.
type exploreState struct {
	depth, switches int
	odd             int
	submitted       int
	used            [opCount]int
	current         int // slot of the action that goes on for nothing, or -1
	currentEntry    uintptr
}

// run runs one schedule: the first fixed choices of path, then always the
// first one.
func (e *explorer) run(fixed int) {
	e.astray = false
	w := newWorld(&e.p.worldConfig, nil)
	w.start()
	var script []string
	x := exploreState{depth: e.depth, switches: e.switches, current: -1}
	for n := 0; ; { // n counts the decisions that there are to make
		if n >= fixed { // what comes before was checked the last time
			w.check()
		}
		if len(w.failures) > 0 {
			break
		}
		choices := e.choices(w, &x)
		if len(choices) == 0 {
			break
		}
		take := 0
		if len(choices) > 1 {
			if n < fixed {
				if e.path[n].of != len(choices) {
					e.astray = true
					break
				}
			} else if !e.enter(w, &x, len(choices)) {
				break
			}
			take = e.path[n].taken
			n++
		}
		script = e.apply(w, &x, choices[take], script)
		e.steps++
	}
	e.failed = append(script, "end")
	if len(w.failures) > 0 {
		e.failed = script
	}
	w.end()
	if len(w.failures) > 0 {
		e.failure = w.failures[0]
	}
}

// enter notes a new state; false: it was reached before, with as much of the
// bound left.
func (e *explorer) enter(w *world, x *exploreState, choices int) bool {
	h := e.hash(w, x)
	if l, ok := e.seen[h]; ok && int(l.depth) >= x.depth && int(l.switches) >= x.switches {
		return false
	}
	e.seen[h] = left{int8(x.depth), int8(x.switches)}
	e.path = append(e.path, choicePoint{0, choices})
	return true
}

// apply does what was chosen and notes it.
func (e *explorer) apply(w *world, x *exploreState, c choice, script []string) []string {
	if c.sw {
		x.switches--
	}
	if c.t != nil {
		x.current, x.currentEntry = c.t.slot, c.t.entry
		script = append(script, "go-on "+c.t.name()+" 1")
		w.st.resume(c.t)
		return script
	}
	x.depth--
	a := c.a
	switch a.op {
	case opSubmit:
		x.submitted++
	case opReply:
		if a.reply != replyGood {
			x.odd++
		}
	}
	x.used[a.op]++
	if a.op == opPurge || a.op == opStall {
		w.act(a)
		x.current = -1
		return append(script, w.spell(a))
	}
	if x.switches == 0 && len(w.st.threads()) == 0 && endsAtOnce(a.op) {
		// It can't be interrupted: there is no need to stop it.
		w.st.quick(func() { w.do(a) })
		x.current = -1
		return append(script, w.spell(a))
	}
	slot := w.st.begin(func() { w.do(a) })
	x.current, x.currentEntry = slot, 0
	return append(script, "begin "+slotName(slot)+" "+w.spell(a))
}

// endsAtOnce says whether an action neither waits for others nor starts a
// goroutine.
func endsAtOnce(o op) bool {
	switch o {
	case opSubmit, opGet, opReply, opDeliver, opPrealloc, opExtCDB, opRequeue, opCapacity, opUnregister:
		return true
	}
	return false
}

// choices lists what can happen next, what goes on for nothing first.
func (e *explorer) choices(w *world, x *exploreState) []choice {
	threads := w.st.threads()
	var cs []choice
	sw := false // whatever comes now costs a switch
	for _, t := range threads {
		if t.slot == x.current && t.entry == x.currentEntry && (t.slot >= 0 || t.entry != 0) {
			cs = append(cs, choice{t: t})
			sw = true
			break
		}
	}
	if sw && x.switches == 0 {
		return cs
	}
	for _, t := range threads {
		if len(cs) == 0 || cs[0].t != t {
			cs = append(cs, choice{t: t, sw: sw})
		}
	}
	if x.depth == 0 {
		return cs
	}
	e.actions(w, x, func(a action) { cs = append(cs, choice{a: a, sw: sw}) })
	return cs
}

// actions lists the actions that can begin.
func (e *explorer) actions(w *world, x *exploreState, add func(action)) {
	p := e.p
	may := func(o op) bool { return x.used[o] < p.times[o] }
	if x.submitted < len(p.cmds) {
		add(action{op: opSubmit, cmd: x.submitted})
	}
	for _, d := range []*Device{w.dev, w.dev2} {
		if d != nil && d.readyFirst != nil && !d.released {
			add(action{op: opGet, dev2: d == w.dev2})
		}
	}
	for _, s := range w.hand {
		if s.dev != w.dev && s.dev != w.dev2 {
			continue // its handler is dead
		}
		a := action{op: opReply, h: s.Handle, dev2: s.dev == w.dev2}
		add(a)
		if x.odd < p.odd {
			for _, k := range p.replies {
				if fits(k, s.Code) {
					a.reply = k
					add(a)
				}
			}
		}
	}
	if x.odd < p.odd {
		if slices.Contains(p.replies, replyUnknown) {
			add(action{op: opReply, h: 4711, reply: replyUnknown})
		}
		if n := len(w.answered); n > 0 && slices.Contains(p.replies, replyAgain) {
			add(action{op: opReply, h: w.answered[n-1].Handle, reply: replyAgain})
		}
		if slices.Contains(p.replies, replyCompleted) {
			for i := range w.dev.hash {
				for u := w.dev.hash[i]; u != nil; u = u.hashNext {
					if u.backgroundExec {
						add(action{op: opReply, h: u.h, reply: replyCompleted})
					}
				}
			}
		}
	}
	for i, c := range w.cmds {
		if c.waiting {
			add(action{op: opDeliver, cmd: i})
		}
		if c.submitted && c.responses == 0 && may(opAbort) {
			add(action{op: opAbort, cmd: i})
		}
	}
	for _, o := range []op{opReset, opFlush, opPurge, opPrealloc, opOptions, opCapacity, opUnregister} {
		if may(o) && !w.killed {
			a := action{op: o}
			if o == opOptions {
				a.arg = p.options
			}
			add(a)
		}
	}
	if may(opAttach) && !w.killed {
		add(action{op: opAttach, arg: "j"})
	}
	if may(opDetach) {
		add(action{op: opDetach, arg: "i"})
	}
	if may(opExtCDB) {
		for i := range w.dev.hash {
			for u := w.dev.hash[i]; u != nil; u = u.hashNext {
				add(action{op: opExtCDB, h: u.h})
			}
		}
	}
	if may(opRequeue) {
		for _, s := range w.hand {
			add(action{op: opRequeue, h: s.Handle})
		}
	}
	if may(opKill) {
		add(action{op: opKill})
	}
	switch gone := w.dev.losing; {
	case !gone && may(opGone):
		add(action{op: opGone})
	case gone && may(opRegister):
		add(action{op: opRegister})
	}
	if w.killed && may(opStall) {
		add(action{op: opStall})
	}
}

// fits says whether a kind of reply makes sense for a subcommand.
func fits(k replyKind, code Subcode) bool {
	switch k {
	case replyGood, replyUnknown, replyAgain, replyCompleted:
		return false // listed elsewhere
	case replyWrong:
		return true
	case replyCheck, replyBusy:
		return code == SubExec || code == SubParse
	case replyNoBuffer, replyUnaligned, replyUnmapped:
		return code == SubExec || code == SubAllocMem
	case replyRefuse:
		return code == SubAttachSess || code == SubTMDone
	case replyBidi:
		return code == SubParse
	}
	return code == SubExec
}

// hash is a number for the state: of the device, its pool, the commands, the
// handler, and every goroutine.
func (e *explorer) hash(w *world, x *exploreState) uint64 {
	h := w.st.hash(1)
	h = mix(h, uint64(x.current+1))
	h = mix(h, uint64(x.currentEntry))
	h = mix(h, uint64(x.submitted)<<8|uint64(x.odd))
	for _, n := range x.used {
		h = h*31 + uint64(n) // get, reply and the like are bounded by the depth
	}
	w.st.look(func() {
		h = w.dev.hashState(h)
		if w.dev2 != nil {
			h = w.dev2.hashState(h)
		}
		for _, d := range w.past {
			h = d.hashState(h)
		}
	})
	for _, s := range w.hand {
		h = mix(h, uint64(s.Handle)<<8|uint64(s.Code))
	}
	for _, r := range w.answered {
		h = mix(h, uint64(r.Handle)<<8|uint64(r.Code))
	}
	for _, c := range w.cmds {
		h = mix(h, uint64(b2i(c.submitted)|b2i(c.waiting)<<1|c.responses<<2|c.freed<<4|b2i(c.c.Aborted())<<6|int(c.c.Status)<<8))
	}
	h = mix(h, uint64(w.tmsOut)<<8|uint64(b2i(w.killed)))
	return h
}

// hashState adds the device's state.
func (d *Device) hashState(h uint64) uint64 {
	h = mix(h, uint64(b2i(d.released)|b2i(d.cleanupDone)<<1|b2i(d.nonBlocking)<<2|b2i(d.over.Load())<<3)|uint64(d.modes.Load())<<8)
	h = mix(h, uint64(d.nextH))
	for i := range d.hash {
		for u := d.hash[i]; u != nil; u = u.hashNext {
			h = u.hashState(h)
		}
	}
	h = mix(h, 1)
	for u := d.readyFirst; u != nil; u = u.readyNext {
		h = mix(h, uint64(u.h))
	}
	st := d.pool.Stats()
	h = mix(h, uint64(st.TotalPages)<<32|uint64(st.Leaving))
	for _, o := range d.pool.IdleOwners() {
		h = mix(h, uint64(o.(*Ucmd).h)<<1|1)
	}
	for _, s := range d.tdev.Sessions() {
		h = mix(h, uint64(s.Inflight()))
	}
	return h
}

func (u *Ucmd) hashState(h uint64) uint64 {
	h = mix(h, uint64(u.h)<<8|uint64(u.state))
	for _, n := range u.owners {
		h = h*7 + uint64(n)
	}
	for i, b := range []bool{
		u.sentToUser, u.seenByUser, u.jammed, u.thisStateUnjammed, u.backgroundExec, u.onFreePending,
		u.aborted, u.bufDirty, u.buffCached, u.inObj, u.onReady, u.data != nil, u.obj != nil,
		u.tm != nil, u.attach != nil, u.answered != nil, u.ubuff != 0,
	} {
		if b {
			h = mix(h, uint64(i))
		}
	}
	if u.cmd != nil {
		h = mix(h, u.cmd.Tag<<1|1)
	}
	if u.bufUcmd != nil {
		h = mix(h, uint64(u.bufUcmd.h)<<2|2)
	}
	return mix(h, uint64(u.allocLen)<<16|uint64(u.status)<<8|uint64(uint8(u.delivery)))
}

// result is one line of what was explored.
func (e *explorer) result(d time.Duration) string {
	return fmt.Sprintf("%-14s depth %2d, switches %d: %9d states, %8d schedules, %9d steps, %6.1f s",
		e.p.name, e.depth, e.switches, len(e.seen), e.runs, e.steps, d.Seconds())
}

// report fails the test with the schedule that went wrong.
func (e *explorer) report(t *testing.T) {
	t.Helper()
	t.Errorf("%s\nthe schedule, as a scenario:\n\n%s", e.failure, e.scenario())
}

// scenario is the failed schedule as a file that TestScenario runs.
func (e *explorer) scenario() string {
	var lines []string
	count := 0 // of the same goroutine going on
	for _, line := range e.failed {
		if n := len(lines); n > 0 && strings.HasPrefix(line, "go-on ") && strings.HasPrefix(lines[n-1], strings.TrimSuffix(line, "1")) {
			count++
			lines[n-1] = strings.TrimSuffix(line, "1") + strconv.Itoa(count)
			continue
		}
		count = 1
		lines = append(lines, line)
	}
	return fmt.Sprintf("# %s\n%s\n%s\n", e.failure, e.p.header, strings.Join(lines, "\n"))
}

func TestExplore(t *testing.T) {
	var states atomic.Int64
	t.Run("plans", func(t *testing.T) {
		for i := range plans {
			p := &plans[i]
			p.prepare(t)
			if *explorePlan != "" && p.name != *explorePlan {
				continue
			}
			t.Run(p.name, func(t *testing.T) {
				t.Parallel()
				if *exploreTime > 0 {
					states.Add(exploreDeeper(t, p))
					return
				}
				e := &explorer{p: p, depth: p.depth - raceDepth, switches: p.switches}
				start := time.Now()
				if !e.explore(t) {
					e.report(t)
				}
				t.Log(e.result(time.Since(start)))
				states.Add(int64(len(e.seen)))
			})
		}
	})
	t.Logf("%d states in all, on %d processors", states.Load(), runtime.GOMAXPROCS(0))
}

// The bounds at which exploreDeeper is content.
const maxDepth, maxSwitches = 14, 3

// exploreDeeper raises the bound as long as there is time: first the depth
// without switches, then the depth with one switch, and so on.
func exploreDeeper(t *testing.T, p *plan) (states int64) {
	end := time.Now().Add(*exploreTime)
	for switches := 0; switches <= maxSwitches; switches++ {
		share := time.Now().Add(time.Until(end) / time.Duration(maxSwitches-switches+1))
		first := 4
		if switches == p.switches {
			first = p.depth // every test run does that
		}
		for depth := first; depth <= maxDepth; depth++ {
			e := &explorer{p: p, depth: depth, switches: switches, deadline: share}
			start := time.Now()
			done := e.explore(t)
			states = max(states, int64(len(e.seen)))
			switch {
			case e.failure != "":
				e.report(t)
				return states
			case !done:
				t.Log(e.result(time.Since(start)) + " (not finished)")
			default:
				t.Log(e.result(time.Since(start)))
			}
			if !done {
				break
			}
		}
	}
	return states
}
