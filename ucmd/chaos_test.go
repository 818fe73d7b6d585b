package ucmd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"pgregory.net/rapid"

	"scstuser/scsi"
	"scstuser/target"
)

// The invariants, under everything at once: several getters that answer right,
// wrong, late or never; front ends that submit, abort, reset, detach and
// attach; options, flushes, preallocation, the inline handler turned on and
// off; and a release at any moment.

// chaos is one such run.
type chaos struct {
	b    *bench
	mem  *chaosMemory
	plan chaosPlan

	// mu guards what the handler knows: which buffer is with which command,
	// which came back, and replies that are due.
	mu        sync.Mutex
	live      map[uint64]uint32
	givenBack map[uint64]int
	due       []Reply
	failures  []string

	calm    atomic.Bool // from now on everything is answered, well
	stopped atomic.Bool // getters end
}

// chaosPlan is what is drawn for a run; the rest follows from seed.
type chaosPlan struct {
	seed             uint64
	desc             Desc
	limits           Limits
	getters, fronts  int
	commands         int
	liar             bool          // replies to what is not its own
	release          time.Duration // when, if not after all is calm
	calm             bool
	changeOpt, flush bool
	inline           bool
}

func drawPlan(rt *rapid.T) chaosPlan {
	p := chaosPlan{
		seed:      rapid.Uint64().Draw(rt, "seed"),
		desc:      plainDesc(),
		getters:   rapid.IntRange(1, 4).Draw(rt, "getters"),
		fronts:    rapid.IntRange(1, 3).Draw(rt, "front ends"),
		commands:  rapid.IntRange(1, 120).Draw(rt, "commands"),
		calm:      rapid.Bool().Draw(rt, "calm"),
		changeOpt: rapid.Bool().Draw(rt, "SET_OPTIONS"),
		flush:     rapid.Bool().Draw(rt, "FLUSH_CACHE"),
		inline:    rapid.Bool().Draw(rt, "inline"),
		release:   time.Duration(rapid.IntRange(0, 8000).Draw(rt, "release after us")) * time.Microsecond,
		limits: Limits{
			MaxUcmds:       rapid.SampledFrom([]int{0, 3, 20}).Draw(rt, "MaxUcmds"),
			MaxPages:       rapid.SampledFrom([]int{0, 8, 40}).Draw(rt, "MaxPages"),
			MaxIdlePages:   rapid.SampledFrom([]int{0, 4}).Draw(rt, "MaxIdlePages"),
			AttachTimeout:  20 * time.Millisecond,
			SuspendTimeout: 5 * time.Millisecond,
			ReleaseTimeout: 20 * time.Second,
		},
	}
	p.liar = !p.calm && rapid.Bool().Draw(rt, "liar")
	p.desc.Opt.Reuse = rapid.Uint8Range(0, 3).Draw(rt, "reuse")
	p.desc.Opt.OnFree = rapid.Uint8Range(0, 1).Draw(rt, "on_free")
	p.desc.Opt.Parse = rapid.Uint8Range(0, 2).Draw(rt, "parse")
	p.desc.NonBlocking = rapid.Bool().Draw(rt, "non-blocking")
	return p
}

// chaosMemory counts which buffers were taken.
type chaosMemory struct {
	*testMemory
	mu    sync.Mutex
	taken map[uint64]int
}

func (m *chaosMemory) Map(addr uint64, n int) ([]byte, error) {
	b, err := m.testMemory.Map(addr, n)
	if err == nil {
		m.mu.Lock()
		m.taken[addr]++
		m.mu.Unlock()
	}
	return b, err
}

// refused: a buffer was looked at, and is the handler's all the same.
func (m *chaosMemory) refused(addr uint64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.taken, addr)
}

func (x *chaos) fail(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failures = append(x.failures, fmt.Sprintf(format, args...))
}

func TestInvariantsUnderChaos(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		for _, f := range runChaos(t, drawPlan(rt)) {
			rt.Error(f)
		}
	})
}

func runChaos(t *testing.T, p chaosPlan) []string {
	x := &chaos{
		plan: p, live: map[uint64]uint32{}, givenBack: map[uint64]int{},
		mem: &chaosMemory{testMemory: newTestMemory(), taken: map[uint64]int{}},
	}
	reg := NewRegistry(p.limits)
	dev, err := reg.Register(p.desc, x.mem, nil)
	if err != nil {
		return []string{err.Error()}
	}
	x.b = &bench{t: t, reg: reg, dev: dev, mem: x.mem.testMemory}

	var getters, fronts, control sync.WaitGroup
	for i := range p.getters {
		getters.Go(func() { x.getter(rand.New(rand.NewPCG(p.seed, uint64(i)))) })
	}
	all := make([]*chaosFront, p.fronts)
	for i := range all {
		all[i] = newChaosFront(x, rand.New(rand.NewPCG(p.seed, uint64(100+i))))
		fronts.Go(all[i].run)
	}
	over := make(chan struct{})
	control.Go(func() { x.control(rand.New(rand.NewPCG(p.seed, 200)), over) })

	if p.calm {
		fronts.Wait() // every command ends, as everything is answered at last
		close(over)
		control.Wait()
		x.quiesce()
	} else {
		time.Sleep(p.release)
	}
	start := time.Now()
	dev.Release()
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := dev.Close(ctx); err != nil {
		x.fail("I5: release: %v", err)
		for _, c := range dev.Commands() {
			x.fail("I5: left %v", c)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		x.fail("I5: the release took %v", d)
	}
	x.stopped.Store(true)
	fronts.Wait()
	if !p.calm {
		close(over)
		control.Wait()
	}
	getters.Wait()
	for i, f := range all {
		f.check(i)
	}
	x.check()
	return x.failures
}

// check looks at I3 and I4 after the release.
func (x *chaos) check() {
	if l := x.b.dev.Commands(); len(l) > 0 {
		x.fail("I4: left %v", l)
	}
	for _, s := range x.b.dev.PoolStats() {
		if s.IdleObjects != 0 || s.TotalPages != 0 {
			x.fail("I4: pool %+v", s)
		}
	}
	if n := x.mem.mapped(); n != 0 {
		x.fail("I3: %d buffers are still mapped", n)
	}
	for addr, n := range x.givenBack {
		if n > 1 {
			x.fail("I3: buffer %#x was given back %d times", addr, n)
		}
	}
	d, err := x.b.reg.Register(x.plan.desc, x.mem, nil)
	if err != nil {
		x.fail("I4: the name is not free: %v", err)
		return
	}
	if err := d.Close(context.Background()); err != nil {
		x.fail("%v", err)
	}
}

// quiesce waits until the handler has nothing and then looks at I2 and, if
// every buffer has to come back, at I3.
func (x *chaos) quiesce() {
	x.calm.Store(true)
	dev := x.b.dev
	still := func() bool { // only owners of idle buffers
		x.mu.Lock()
		defer x.mu.Unlock()
		if len(x.due) > 0 || dev.Poll() {
			return false
		}
		for _, c := range dev.Commands() {
			if c.Sent || c.Owners != "sgv" {
				return false
			}
		}
		return true
	}
	end := time.Now().Add(10 * time.Second)
	for !still() && time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
	for err := errors.New(""); err != nil && time.Now().Before(end); {
		err = dev.FlushCache()
	}
	for len(dev.Commands()) > 0 && time.Now().Before(end) {
		time.Sleep(time.Millisecond)
	}
	if l := dev.Commands(); len(l) > 0 {
		x.fail("I2: at rest, after a flush: %v", l)
	}
	lost := ReuseType(x.plan.desc.Opt.Reuse) != ReuseAll && OnFreeType(x.plan.desc.Opt.OnFree) == OnFreeIgnore
	if lost || x.plan.changeOpt {
		return // buffers that are not kept, and nobody is told
	}
	x.mem.mu.Lock()
	defer x.mem.mu.Unlock()
	for addr := range x.mem.taken {
		if x.givenBack[addr] != 1 {
			x.fail("I3: buffer %#x was given back %d times, want once", addr, x.givenBack[addr])
		}
	}
}

// getter is one thread of the handler.
func (x *chaos) getter(r *rand.Rand) {
	subs := make([]Subcommand, 1+r.IntN(5))
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(2000))*time.Microsecond)
		_, n, err := x.b.dev.ReplyAndGet(ctx, nil, subs)
		cancel()
		if n == 0 {
			if err != syscall.EAGAIN && err != syscall.EINTR {
				x.fail("get: %v", err)
			}
			if x.stopped.Load() {
				return
			}
			time.Sleep(time.Duration(r.IntN(100)) * time.Microsecond)
		}
		for i := range subs[:n] {
			if !x.calm.Load() && r.IntN(40) == 0 { // could not be copied
				x.b.dev.Requeue(subs[i].Handle)
				continue
			}
			x.fetched(&subs[i])
			if reply, now := x.decide(r, &subs[i]); now {
				x.answer(r, reply)
			}
		}
		x.answerDue(r)
	}
}

// fetched notes what a subcommand says about buffers.
func (x *chaos) fetched(s *Subcommand) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case s.Code == SubExec && s.PBuf != 0 && !x.plan.liar:
		if h, busy := x.live[s.PBuf]; busy && h != s.Handle {
			x.failures = append(x.failures, fmt.Sprintf("I3: buffer %#x serves h=%d and h=%d", s.PBuf, h, s.Handle))
		}
		x.live[s.PBuf] = s.Handle
	case s.Code == SubOnFree && s.PBuf != 0 && !s.BufferCached, s.Code == SubOnCachedMemFree:
		x.givenBack[s.PBuf]++
		if h, busy := x.live[s.PBuf]; busy && !x.plan.liar {
			x.failures = append(x.failures, fmt.Sprintf("I3: buffer %#x is given back while h=%d has it", s.PBuf, h))
		}
	}
}

// notLive: the handler is done with what h has.
func (x *chaos) notLive(h uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for addr, owner := range x.live {
		if owner == h {
			delete(x.live, addr)
		}
	}
}

// decide makes the reply to a subcommand; false: not now, or never.
func (x *chaos) decide(r *rand.Rand, s *Subcommand) (reply Reply, now bool) {
	reply = Reply{Handle: s.Handle, Code: s.Code}
	if s.Code == SubParse {
		size := s.BufLen
		if s.OpFlags&scsi.OpBlocksLength != 0 {
			size *= 512
		}
		dir := s.Dir
		if size == 0 {
			dir = scsi.DirNone
		}
		reply = goodParse(*s, dir, size)
	}
	x.mem.answer(s, &reply)
	if x.calm.Load() {
		return reply, true
	}
	switch r.IntN(40) {
	case 0: // for another subcommand
		reply.Code = []Subcode{SubParse, SubAllocMem, SubExec, SubOnFree, SubTMDone, 0x7f}[r.IntN(6)]
	case 1, 2, 3, 4: // later
		x.later(reply)
		return reply, false
	case 5: // never
		if !x.plan.calm {
			return reply, false
		}
	case 7:
		reply.PBuf = []uint64{0, 0x1000, 0x1001, 1<<64 - 4096}[r.IntN(4)]
	case 8:
		reply.RespDataLen = int32(r.Uint32())
	case 9:
		reply.Status = scsi.CheckCondition
		reply.Sense = scsi.SenseInvalidFieldInCDB.AppendFixed(nil)[:18*r.IntN(2)]
		reply.BadSense = r.IntN(2) == 0
	case 10:
		reply.Status = scsi.Status(r.Uint32())
	case 11, 12, 13:
		if s.Code == SubExec {
			reply.Type = ReplyBackground
		}
	case 14:
		reply.Type = ReplyDoWriteSame
	case 15:
		reply.Type = ReplyType(r.Uint32())
	case 16:
		reply.Result = int32(r.Uint32())
	case 17:
		if s.Code == SubParse {
			reply.BufLen, reply.OutBufLen, reply.Dir = int32(r.Uint32()>>r.IntN(32)), int32(r.Uint32()>>r.IntN(32)), scsi.Dir(1+r.IntN(4))
		}
	case 18:
		if s.Code == SubParse {
			reply.QueueType, reply.LBA, reply.OpFlags = scsi.QueueType(r.IntN(6)), r.Int64(), r.Uint32()
		}
	}
	return reply, true
}

func (x *chaos) later(reply Reply) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.due = append(x.due, reply)
}

// answer gives a reply. What the handler has for it is free from then on, or
// from the COMPLETED that follows BACKGROUND.
func (x *chaos) answer(r *rand.Rand, reply Reply) {
	background := reply.Code == SubExec && reply.Type == ReplyBackground
	if !background {
		x.notLive(reply.Handle)
	}
	err := x.b.dev.Reply(&reply)
	if background {
		completed := Reply{Handle: reply.Handle, Code: SubExec, Type: ReplyCompleted}
		if err != nil {
			x.notLive(reply.Handle) // refused, and over
		} else if x.plan.calm || r.IntN(3) > 0 {
			x.later(completed)
		}
	}
	if x.plan.liar && r.IntN(4) == 0 {
		_ = x.b.dev.Reply(&reply)
	}
}

// answerDue gives one of the late replies, or all when it is calm.
func (x *chaos) answerDue(r *rand.Rand) {
	for {
		x.mu.Lock()
		if len(x.due) == 0 {
			x.mu.Unlock()
			return
		}
		i := r.IntN(len(x.due))
		reply := x.due[i]
		x.due = append(x.due[:i], x.due[i+1:]...)
		x.mu.Unlock()
		x.answer(r, reply)
		if !x.calm.Load() {
			return
		}
	}
}

// control is the handler's administration, and whoever looks at the device.
func (x *chaos) control(r *rand.Rand, over <-chan struct{}) {
	dev := x.b.dev
	rng := sync.Mutex{} // inline handlers run on any goroutine
	inline := func(s *Subcommand, reply *Reply) bool {
		x.fetched(s)
		rng.Lock()
		got, now := x.decide(r, s)
		rng.Unlock()
		if !now || got.Type == ReplyBackground && s.Code == SubExec {
			if now {
				x.later(got)
			}
			return false
		}
		x.notLive(got.Handle)
		*reply = got
		return true
	}
	for {
		select {
		case <-over:
			dev.SetInline(nil)
			return
		case <-time.After(time.Duration(x.random(&rng, r, 300)) * time.Microsecond):
		}
		h := uint32(x.random(&rng, r, 100))
		switch x.random(&rng, r, 12) {
		case 0:
			if x.plan.flush {
				_ = dev.FlushCache()
			}
		case 1:
			if x.plan.changeOpt {
				o := dev.GetOptions()
				o.OnFree, o.Reuse, o.Parse = uint8(x.random(&rng, r, 2)), uint8(x.random(&rng, r, 4)), uint8(x.random(&rng, r, 3))
				_ = dev.SetOptions(o)
			}
		case 2:
			n := 4096 << x.random(&rng, r, 4)
			pbuf := x.mem.alloc(n)
			if _, err := dev.Prealloc(pbuf, n, h%2 == 0); err != nil {
				x.mem.refused(pbuf)
			}
		case 3:
			dev.CapacityChanged()
		case 4:
			_, _ = dev.ExtendedCDB(h)
		case 5:
			if x.plan.liar {
				dev.Requeue(h)
			}
		case 6:
			if x.plan.liar {
				_ = dev.Reply(&Reply{Handle: h, Code: Subcode(h % 10), Type: ReplyCompleted})
			}
		case 7:
			_ = dev.WriteCommands(io.Discard)
			x.b.checkRefs()
		case 8:
			if x.plan.inline {
				dev.SetInline(inline)
			}
		case 9:
			dev.SetInline(nil)
		case 10:
			_ = dev.PoolStats()
		case 11:
			if x.plan.liar && h == 0 {
				dev.Unregister()
			}
		}
	}
}

func (x *chaos) random(mu *sync.Mutex, r *rand.Rand, n int) int {
	mu.Lock()
	defer mu.Unlock()
	return r.IntN(n)
}

// chaosCmd is a command and what became of it.
type chaosCmd struct {
	target.Cmd
	sent, freed atomic.Int32
}

// chaosFront is a front end with one session at a time. What it keeps it does
// later, on its own goroutine.
type chaosFront struct {
	x *chaos
	r *rand.Rand

	mu    sync.Mutex
	rng   *rand.Rand // for the methods; guarded by mu
	later []func()
	gone  bool
	cmds  []*chaosCmd
	tms   atomic.Int32 // functions that are not done
}

func newChaosFront(x *chaos, r *rand.Rand) *chaosFront {
	return &chaosFront{x: x, r: r, rng: rand.New(rand.NewPCG(r.Uint64(), 1))}
}

// keep does f now, or later.
func (f *chaosFront) keep(do func()) (now bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rng.IntN(3) > 0 {
		return true
	}
	f.later = append(f.later, do)
	return false
}

func (f *chaosFront) RdyToXfer(c *target.Cmd) target.Verdict {
	if f.keep(func() {
		if len(c.CDB())%3 == 0 {
			c.DataFailed()
		} else {
			c.DataReceived()
		}
	}) {
		return target.Continue
	}
	return target.Stop
}

func (f *chaosFront) XmitResponse(c *target.Cmd) {
	c.Front.(*chaosCmd).sent.Add(1)
	if f.keep(func() { c.Delivered(target.DeliveryFailed) }) {
		c.Delivered(target.Delivered)
	}
}

func (f *chaosFront) Freed(c *target.Cmd) { c.Front.(*chaosCmd).freed.Add(1) }
func (f *chaosFront) AEN(*target.Session, target.UnitAttention) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.IntN(2) == 0
}
func (f *chaosFront) TMDone(*target.MgmtCmd) { f.tms.Add(-1) }
func (f *chaosFront) SessionGone(*target.Session) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
}

// doLater does what was kept.
func (f *chaosFront) doLater() {
	f.mu.Lock()
	l := f.later
	f.later = nil
	f.mu.Unlock()
	for _, do := range l {
		do()
	}
}

var chaosCDBs = []scsi.CDB{
	scsi.EncodeWrite16(0, 8, false), scsi.EncodeWrite16(0, 20, false), scsi.EncodeRead16(0, 8, false), scsi.EncodeRead16(0, 40, false),
	scsi.EncodeWriteSame16(8, 4, false, false), scsi.EncodeSyncCache16(0, 0), scsi.EncodeTestUnitReady(),
	scsi.EncodeInquiry(false, 0, 36), unknownCDB, scsi.EncodeWrite16(0, 9000, false), scsi.EncodeReportLUNs(0, 64),
}

func (f *chaosFront) run() {
	for len(f.cmds) < f.x.plan.commands {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Millisecond)
		s, err := f.x.b.dev.tdev.NewSession(ctx, f, target.SessionInfo{Clustered: f.r.IntN(2) == 0})
		cancel()
		if err != nil {
			if errors.Is(err, target.ErrReleased) {
				return
			}
			f.doLater()
			continue
		}
		f.session(s)
	}
}

// session submits some commands and then closes the session, which waits for
// all of them.
func (f *chaosFront) session(s *target.Session) {
	for n := 1 + f.r.IntN(30); n > 0 && len(f.cmds) < f.x.plan.commands; n-- {
		c := &chaosCmd{}
		c.Front = c
		cdb := chaosCDBs[f.r.IntN(len(chaosCDBs))]
		c.Init(cdb.Slice(), scsi.QueueType([]scsi.QueueType{scsi.QueueSimple, scsi.QueueSimple, scsi.QueueOrdered, scsi.QueueHeadOfQueue}[f.r.IntN(4)]))
		c.Tag = uint64(len(f.cmds))
		f.cmds = append(f.cmds, c)
		s.Submit(&c.Cmd)
		if f.r.IntN(10) == 0 {
			f.tms.Add(1)
			s.TaskMgmt(&target.MgmtCmd{Fn: target.TMFunc(f.r.IntN(10)), Tag: uint64(f.r.IntN(len(f.cmds)))})
		}
		if f.r.IntN(3) == 0 {
			f.doLater()
		}
		if f.r.IntN(8) == 0 {
			time.Sleep(time.Duration(f.r.IntN(200)) * time.Microsecond)
		}
	}
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		f.doLater()
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		err := s.Close(ctx)
		cancel()
		if err == nil {
			return
		}
	}
	f.x.fail("I1: a session's commands never ended")
}

// check looks at I1.
func (f *chaosFront) check(i int) {
	f.doLater()
	for n, c := range f.cmds {
		if s, d := c.sent.Load(), c.freed.Load(); s != 1 || d != 1 {
			f.x.fail("I1: front end %d, command %d: answered %d times, freed %d times", i, n, s, d)
		}
	}
	if n := f.tms.Load(); n != 0 {
		f.x.fail("front end %d: %d task management functions are not done", i, n)
	}
}
