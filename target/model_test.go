package target

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"scstuser/scsi"
)

// TestAnySchedule plays random schedules on real goroutines: sessions that come,
// submit, abort, and go; suspensions; a handler and front ends that answer
// inline, later, or on other goroutines; sometimes the release of the device in
// the middle of it. Whatever happens:
//
//   - I1: each command gets one XmitResponse and one Freed, and an OnFree if it
//     was parsed;
//   - R39, R41: nothing executes, and nothing begins to, during a suspension, an
//     ATTACH or a DETACH; a session is detached once, after its last command;
//   - commands of one goroutine reach parse in the order of their submission;
//   - task attributes are kept (SAM-5 8.6);
//   - every task management function, Close and Unregister comes to its end.
func TestAnySchedule(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt)
		for i := range rapid.IntRange(1, 3).Draw(rt, "sessions") {
			w.actor(func() { w.session(i) })
		}
		for range rapid.IntRange(0, 2).Draw(rt, "suspenders") {
			w.actor(w.suspender)
		}
		if rapid.Bool().Draw(rt, "unregister") {
			w.actor(func() { w.pause(); w.unregister() })
		}
		w.end()
	})
}

// world is one schedule.
type world struct {
	t      *rapid.T
	dev    *Device
	ctx    context.Context
	cancel context.CancelFunc

	actors, workers sync.WaitGroup
	stop            chan struct{}
	seq             atomic.Int64
	// quiet: nothing may be at the handler. executing: what is.
	quiet     atomic.Int32
	executing atomic.Int32

	mu sync.Mutex
	// rnd decides everything that happens later than the plan.
	rnd *rand.Rand
	// later is what workers have still to do, in any order.
	later    []func()
	fronts   []*wFront
	attached map[*Session]int // and how often detached
}

func newWorld(rt *rapid.T) *world {
	seed := rapid.Uint64().Draw(rt, "seed")
	w := &world{t: rt, rnd: rand.New(rand.NewPCG(seed, 0)), stop: make(chan struct{}), attached: map[*Session]int{}}
	w.ctx, w.cancel = context.WithTimeout(context.Background(), 30*time.Second)
	w.dev = NewDevice("disk", (*wHandler)(w), Options{TAS: rapid.Bool().Draw(rt, "tas")})
	for range 2 {
		w.workers.Go(w.work)
	}
	return w
}

// n draws a number below max.
func (w *world) n(max int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.rnd.IntN(max)
}

// pause lets others go first, sometimes.
func (w *world) pause() {
	switch w.n(8) {
	case 0:
		time.Sleep(time.Duration(w.n(200)) * time.Microsecond)
	case 1, 2:
		runtime.Gosched()
	}
}

// work does what was put off, until the world ends.
func (w *world) work() {
	for {
		w.mu.Lock()
		var f func()
		if n := len(w.later); n > 0 {
			i := w.rnd.IntN(n)
			f = w.later[i]
			w.later[i] = w.later[n-1]
			w.later = w.later[:n-1]
		}
		w.mu.Unlock()
		switch {
		case f != nil:
			w.pause()
			f()
		default:
			select {
			case <-w.stop:
				return
			case <-time.After(20 * time.Microsecond):
			}
		}
	}
}

// put has f done by a worker.
func (w *world) put(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.later = append(w.later, f)
}

// stage is a stage that goes on at once, or later elsewhere.
func (w *world) stage(resume func()) Verdict {
	if w.n(3) > 0 {
		return Continue
	}
	w.put(resume)
	return Stop
}

func (w *world) actor(f func()) { w.actors.Go(f) }

// wCmd is a command of a world.
type wCmd struct {
	Cmd
	f *wFront
	// ordered: submitted as ORDERED and never changed. began, ended: when.
	ordered      bool
	began, ended atomic.Int64

	xmits, frees, parses, onFrees atomic.Int32
}

// session is an actor: a nexus, from its attachment to its end.
func (w *world) session(int) {
	f := &wFront{w: w}
	w.mu.Lock()
	w.fronts = append(w.fronts, f)
	w.mu.Unlock()
	s, err := w.dev.NewSession(w.ctx, f, SessionInfo{})
	if err != nil {
		if !w.dev.isGone() {
			w.t.Errorf("NewSession: %v", err)
		}
		return
	}
	f.sess = s
	for tag := range 1 + w.n(25) {
		w.pause()
		if w.n(8) == 0 {
			m := &MgmtCmd{Fn: TMFunc(w.n(10)), Tag: uint64(w.n(tag + 1))}
			f.tms.Add(1)
			s.TaskMgmt(m)
		}
		cdbs := []scsi.CDB{cdbNone, cdbRead, cdbWrite, cdbWrite, cdbUnitOK, reportLUNs(0, 16), writeSame16(0, 1500)}
		c := &wCmd{f: f}
		q := []scsi.QueueType{simple, simple, simple, order, head}[w.n(5)]
		cdb := cdbs[w.n(len(cdbs))]
		c.ordered = q == order && cdb != cdbUnitOK
		c.Init(cdb.Slice(), q)
		c.Tag, c.Front = uint64(tag+1), c
		f.cmds = append(f.cmds, c)
		s.Submit(&c.Cmd)
	}
	w.pause()
	if err := s.Close(w.ctx); err != nil {
		w.t.Errorf("Close: %v", err)
	}
	f.closed.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active != 0 || s.held.n != 0 || s.blocked.n != 0 || s.tasks.first != nil || s.special.Load() != 0 || s.uses.Load() != 0 {
		w.t.Errorf("session %d is not empty: active %d, held %d, blocked %d, special %d, uses %d",
			s.handle, s.active, s.held.n, s.blocked.n, s.special.Load(), s.uses.Load())
	}
}

// suspender is an actor that suspends and resumes.
func (w *world) suspender() {
	for range 1 + w.n(5) {
		w.pause()
		ctx, cancel := w.ctx, context.CancelFunc(func() {})
		if w.n(3) == 0 {
			ctx, cancel = context.WithTimeout(w.ctx, time.Duration(w.n(500))*time.Microsecond)
		}
		resume, err := w.dev.Suspend(ctx)
		cancel()
		if err != nil {
			if w.ctx.Err() != nil {
				w.t.Errorf("Suspend: %v", err)
			}
			continue
		}
		w.enterQuiet()
		w.pause()
		w.leaveQuiet()
		resume()
	}
}

func (w *world) enterQuiet() {
	w.quiet.Add(1)
	if n := w.executing.Load(); n != 0 {
		w.t.Errorf("%d commands execute during a suspension", n)
	}
}

func (w *world) leaveQuiet() { w.quiet.Add(-1) }

// notQuiet checks that the handler may be called for a command.
func (w *world) notQuiet(what string) {
	if w.quiet.Load() != 0 {
		w.t.Errorf("%s during a suspension", what)
	}
}

func (w *world) unregister() {
	if err := w.dev.Unregister(w.ctx); err != nil {
		w.t.Errorf("Unregister: %v", err)
	}
}

// end waits for everything and checks what must hold then.
func (w *world) end() {
	w.actors.Wait()
	w.unregister()
	close(w.stop)
	w.workers.Wait()
	w.cancel()
	for _, f := range w.fronts {
		for _, c := range f.cmds {
			if c.xmits.Load() != 1 || c.frees.Load() != 1 || c.onFrees.Load() != c.parses.Load() || c.parses.Load() > 1 {
				w.t.Errorf("I1: command %d: %d responses, freed %d times, parsed %d, on-free %d",
					c.Tag, c.xmits.Load(), c.frees.Load(), c.parses.Load(), c.onFrees.Load())
			}
		}
		if n := f.tms.Load(); n != 0 {
			w.t.Errorf("%d task management functions are not over", n)
		}
		f.checkOrder()
	}
	for s, n := range w.attached {
		if n != 1 {
			w.t.Errorf("session %d detached %d times", s.handle, n)
		}
	}
	if w.executing.Load() != 0 || len(w.dev.Sessions()) != 0 || w.dev.reservedBy.Load() != nil {
		w.t.Error("something is left")
	}
}

// checkOrder checks the commands that executed against those that were
// ORDERED: what is older has ended before, what is newer begins after.
func (f *wFront) checkOrder() {
	for i, o := range f.cmds {
		if !o.ordered || o.began.Load() == 0 {
			continue
		}
		for j, x := range f.cmds {
			switch began := x.began.Load(); {
			case began == 0 || i == j:
			case j < i && x.ended.Load() > o.began.Load():
				f.w.t.Errorf("ORDERED %d began before %d had ended", o.Tag, x.Tag)
			case j > i && x.QueueType != head && began < o.ended.Load():
				f.w.t.Errorf("%d began before ORDERED %d had ended", x.Tag, o.Tag)
			}
		}
	}
}

// wHandler is the handler of a world.
type wHandler world

func (h *wHandler) w() *world { return (*world)(h) }

func (h *wHandler) Parse(c *Cmd) Verdict {
	w := h.w()
	w.notQuiet("parse")
	parseSBC(c)
	if c.internal {
		return w.stage(c.ParseDone)
	}
	x := c.Front.(*wCmd)
	x.parses.Add(1)
	w.mu.Lock()
	if w.attached[c.sess] != 0 {
		w.t.Errorf("R41: command %d after DETACH", c.Tag)
	}
	w.mu.Unlock()
	c.DevTag.Store(c.Tag)
	if last := x.f.parsed.Swap(c.Tag); last >= c.Tag {
		w.t.Errorf("command %d overtook %d", last, c.Tag)
	}
	change := func() {
		if w.n(6) == 0 && !x.ordered {
			c.SetQueueType([]scsi.QueueType{simple, order, head}[w.n(3)])
		}
	}
	switch w.n(12) {
	case 0:
		w.put(func() { c.FailBusy(); c.AbnormalDone() })
		return Stop
	case 1:
		c.SetSense(scsi.SenseInvalidFieldInCDB)
		c.Complete()
		return Continue
	case 2:
		w.put(func() { change(); c.ParseDone() })
		return Stop
	}
	change()
	return Continue
}

func (h *wHandler) AllocBuf(c *Cmd) Verdict {
	w := h.w()
	w.notQuiet("alloc")
	if c.Buf != nil {
		return Continue // entered again
	}
	c.Buf = make([]byte, c.BufLen)
	return w.stage(c.AllocDone)
}

func (h *wHandler) Exec(c *Cmd) {
	w := h.w()
	w.notQuiet("exec")
	w.executing.Add(1)
	if !c.internal {
		c.Front.(*wCmd).began.Store(w.seq.Add(1))
	}
	do := func() { h.finish(c) }
	if w.stage(do) == Continue {
		do()
	}
}

// finish ends a command at exec, one way or another.
func (h *wHandler) finish(c *Cmd) {
	w := h.w()
	end := func() {
		if !c.internal {
			c.Front.(*wCmd).ended.Store(w.seq.Add(1))
		}
		w.executing.Add(-1)
	}
	if !c.CheckLocalEvents() {
		c.SetStatus(scsi.Good)
		switch {
		case c.Op() == scsi.OpWriteSame16:
			// Its own commands execute in its place; it ends with the last.
			end()
			c.WriteSame([]Range{{0, uint64(1 + w.n(1500))}})
			return
		case w.n(10) == 0:
			c.SetStatus(scsi.CheckCondition) // and the target asks for sense
		case c.Dir == scsi.DirRead:
			c.RespLen = c.BufLen
		}
	}
	end()
	c.Done()
}

func (h *wHandler) OnFree(c *Cmd) {
	if !c.internal {
		c.Front.(*wCmd).onFrees.Add(1)
	}
}

func (h *wHandler) TaskMgmtReceived(*MgmtCmd) {}

func (h *wHandler) TaskMgmtDone(m *MgmtCmd) {
	if h.w().stage(func() { m.Done(TMSuccess) }) == Continue {
		m.Done(TMSuccess)
	}
}

func (h *wHandler) Attach(s *Session) error {
	w := h.w()
	w.enterQuiet()
	w.pause()
	w.leaveQuiet()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.attached[s] = 0
	return nil
}

func (h *wHandler) Detach(s *Session, answered func()) {
	w := h.w()
	w.enterQuiet()
	w.mu.Lock()
	w.attached[s]++
	w.mu.Unlock()
	done := func() { w.leaveQuiet(); answered() }
	if w.stage(done) == Continue {
		done()
	}
}

// wFront is the front end of one session of a world.
type wFront struct {
	w      *world
	sess   *Session
	cmds   []*wCmd
	tms    atomic.Int32
	parsed atomic.Uint64 // the last command's tag
	closed atomic.Bool
}

func (f *wFront) silent(what string) {
	if f.closed.Load() {
		f.w.t.Errorf("%s after Close", what)
	}
}

func (f *wFront) RdyToXfer(c *Cmd) Verdict {
	f.silent("RdyToXfer")
	switch f.w.n(4) {
	case 0:
		f.w.put(c.DataFailed)
		return Stop
	case 1:
		f.w.put(c.DataReceived)
		return Stop
	}
	return Continue
}

func (f *wFront) XmitResponse(c *Cmd) {
	f.silent("XmitResponse")
	c.Front.(*wCmd).xmits.Add(1)
	do := func() { c.Delivered(Delivered) }
	if f.w.stage(do) == Continue {
		do()
	}
}

func (f *wFront) Freed(c *Cmd) {
	f.silent("Freed")
	c.Front.(*wCmd).frees.Add(1)
}

func (f *wFront) AEN(*Session, UnitAttention) bool {
	f.silent("AEN")
	return f.w.n(2) == 0
}

func (f *wFront) SessionGone(*Session) { f.silent("SessionGone") }

func (f *wFront) TMDone(*MgmtCmd) {
	f.silent("TMDone")
	f.tms.Add(-1)
}
