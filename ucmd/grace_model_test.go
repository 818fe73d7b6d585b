package ucmd

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"scstuser/scsi"
	"scstuser/target"
)

// Restarts against a model: initiators read and write while the handler, whose
// medium survives it, dies at random moments, also while it takes over, and
// comes back. Nobody may notice.

// mortalPlan is what is drawn for a run; the rest follows from seed.
type mortalPlan struct {
	seed                      uint64
	desc                      Desc
	fronts, commands, getters int
	deaths                    int
	inline                    bool
	comeAndGo                 bool
	// rough: the wait may end, commands are aborted, data does not come. Then
	// only the invariants hold, not the model.
	rough bool
	grace time.Duration
}

func drawMortal(rt *rapid.T, rough bool) mortalPlan {
	p := mortalPlan{
		seed:      rapid.Uint64().Draw(rt, "seed"),
		desc:      plainDesc(),
		fronts:    rapid.IntRange(1, 3).Draw(rt, "front ends"),
		commands:  rapid.IntRange(1, 150).Draw(rt, "commands"),
		getters:   rapid.IntRange(1, 3).Draw(rt, "getters"),
		deaths:    rapid.IntRange(1, 8).Draw(rt, "deaths"),
		inline:    rapid.Bool().Draw(rt, "inline"),
		comeAndGo: rapid.Bool().Draw(rt, "sessions come and go"),
	}
	p.rough, p.grace = rough, time.Minute
	if rough {
		p.grace = time.Duration(rapid.IntRange(1, 3000).Draw(rt, "grace in us")) * time.Microsecond
	}
	p.desc.Opt.Reuse = rapid.Uint8Range(0, 3).Draw(rt, "reuse")
	p.desc.Opt.OnFree = rapid.Uint8Range(0, 1).Draw(rt, "on_free")
	p.desc.Opt.Parse = rapid.Uint8Range(0, 2).Draw(rt, "parse")
	return p
}

// mortals is one run.
type mortals struct {
	plan   mortalPlan
	reg    *Registry
	tdev   *target.Device
	medium *medium

	mu       sync.Mutex
	failures []string
}

func (x *mortals) fail(format string, args ...any) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.failures = append(x.failures, fmt.Sprintf(format, args...))
}

// regionBlocks is each front end's part of the medium.
const regionBlocks = 64

// medium is what survives a handler.
type medium struct {
	mu   sync.Mutex
	data []byte
}

// mortal is one life of the handler.
type mortal struct {
	x    *mortals
	dev  *Device
	mem  *testMemory
	stop context.CancelFunc
	ctx  context.Context
	wg   sync.WaitGroup

	// mu guards rng and, read-locked while a command is carried out, dead.
	mu   sync.Mutex
	rng  *rand.Rand
	life sync.RWMutex
	dead bool
}

// bear registers a handler and lets it serve after the pause.
func (x *mortals) bear(seed uint64, pause time.Duration) *mortal {
	m := &mortal{x: x, mem: newTestMemory(), rng: rand.New(rand.NewPCG(x.plan.seed, seed))}
	d, err := x.reg.Register(x.plan.desc, m.mem, nil)
	for end := time.Now().Add(10 * time.Second); err != nil && x.plan.rough && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond) // the wait is over, the release not yet
		d, err = x.reg.Register(x.plan.desc, m.mem, nil)
	}
	if err != nil {
		x.fail("register: %v", err)
		return nil
	}
	m.dev = d
	m.ctx, m.stop = context.WithCancel(context.Background())
	for range x.plan.getters {
		m.wg.Go(func() {
			time.Sleep(pause)
			m.serve()
		})
	}
	if x.plan.inline {
		d.SetInline(func(s *Subcommand, r *Reply) bool { return m.carryOut(s, r) })
	}
	return m
}

// die ends a life as a process ends: its threads first, then its node.
func (m *mortal) die() {
	m.life.Lock()
	m.dead = true
	m.life.Unlock()
	m.stop()
	m.wg.Wait()
	m.dev.HandlerGone()
}

func (m *mortal) random(n int) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rng.IntN(n)
}

func (m *mortal) serve() {
	subs := make([]Subcommand, 1+m.random(4))
	var replies []Reply
	for m.ctx.Err() == nil {
		done, n, _ := m.dev.ReplyAndGet(m.ctx, replies, subs)
		if done != len(replies) {
			m.x.fail("a reply was refused")
		}
		replies = replies[:0]
		for i := range subs[:n] {
			r := Reply{Handle: subs[i].Handle, Code: subs[i].Code}
			if m.carryOut(&subs[i], &r) {
				replies = append(replies, r)
			}
			if m.random(6) == 0 {
				time.Sleep(time.Duration(m.random(300)) * time.Microsecond)
			}
		}
	}
}

// carryOut does what a subcommand asks for; false: it is dead, or dies of it.
func (m *mortal) carryOut(s *Subcommand, r *Reply) bool {
	m.life.RLock()
	defer m.life.RUnlock()
	if m.dead {
		return false
	}
	m.mem.answer(s, r)
	switch s.Code {
	case SubParse:
		size := s.BufLen
		if s.OpFlags&scsi.OpBlocksLength != 0 {
			size *= 512
		}
		dir := s.Dir
		if size == 0 {
			dir = scsi.DirNone
		}
		*r = goodParse(*s, dir, size)
	case SubExec:
		m.exec(s, r)
	}
	return true
}

func (m *mortal) exec(s *Subcommand, r *Reply) {
	if s.BufLen == 0 {
		return
	}
	pbuf := s.PBuf
	if pbuf == 0 {
		pbuf = r.PBuf
	}
	buf, err := m.mem.Map(pbuf, int(s.BufLen))
	if err != nil {
		m.x.fail("EXEC with a buffer that is not ours: %v", err)
		return
	}
	defer m.mem.Unmap(pbuf, buf)
	med := m.x.medium
	med.mu.Lock()
	defer med.mu.Unlock()
	switch scsi.Opcode(s.CDB[0]) {
	case scsi.OpRead16:
		copy(buf, med.data[s.LBA*512:])
	case scsi.OpWrite16:
		copy(med.data[s.LBA*512:], buf)
	}
}

// gmCmd is a command of the model's with what must come of it.
type gmCmd struct {
	target.Cmd
	first, last uint64
	payload     []byte // of a write
	want        []byte // of a read
	asked, sent atomic.Int32
	freed       chan struct{}
}

// gmFront is an initiator with a region of its own.
type gmFront struct {
	x    *mortals
	base uint64 // of the region, in blocks

	mu     sync.Mutex
	rng    *rand.Rand
	model  []byte
	flying []*gmCmd
	late   sync.WaitGroup
	tms    atomic.Int32 // functions that are not done
}

func (f *gmFront) random(n int) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rng.IntN(n)
}

// sometimes does it now and returns true, or later.
func (f *gmFront) sometimes(do func()) bool {
	if f.random(3) > 0 {
		return true
	}
	pause := time.Duration(f.random(500)) * time.Microsecond
	f.late.Go(func() { time.Sleep(pause); do() })
	return false
}

func (f *gmFront) RdyToXfer(c *target.Cmd) target.Verdict {
	g := c.Front.(*gmCmd)
	if g.asked.Add(1) != 1 {
		f.x.fail("the front end was asked twice for its data")
	}
	buf := c.Buf
	if f.x.plan.rough && f.random(8) == 0 {
		if f.sometimes(c.DataFailed) {
			c.DataFailed()
		}
		return target.Stop
	}
	if f.sometimes(func() { copy(buf, g.payload); c.DataReceived() }) {
		copy(buf, g.payload)
		return target.Continue
	}
	return target.Stop
}

func (f *gmFront) XmitResponse(c *target.Cmd) {
	g := c.Front.(*gmCmd)
	g.sent.Add(1)
	if c.Status != scsi.Good && !f.x.plan.rough {
		f.x.fail("%v of blocks %d to %d ended with %v %s", c.Op(), g.first, g.last, c.Status, senseOf(c))
	}
	if g.want != nil && !f.x.plan.rough && !bytes.Equal(c.Data(), g.want) {
		f.x.fail("READ of blocks %d to %d: wrong data", g.first, g.last)
	}
	f.mu.Lock()
	for i, o := range f.flying {
		if o == g {
			f.flying = append(f.flying[:i], f.flying[i+1:]...)
			break
		}
	}
	f.mu.Unlock()
	if f.sometimes(func() { c.Delivered(target.Delivered) }) {
		c.Delivered(target.Delivered)
	}
}

func (f *gmFront) Freed(c *target.Cmd)                            { close(c.Front.(*gmCmd).freed) }
func (f *gmFront) AEN(*target.Session, target.UnitAttention) bool { return true }
func (f *gmFront) SessionGone(*target.Session) {
	if !f.x.plan.rough {
		f.x.fail("a session was taken down")
	}
}
func (f *gmFront) TMDone(*target.MgmtCmd) { f.tms.Add(-1) }

// next draws a command. One that overlaps with what is under way is ORDERED;
// so the model can be asked and changed right here.
func (f *gmFront) next() *gmCmd {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 1 + f.rng.Uint64N(12)
	at := f.rng.Uint64N(regionBlocks - n)
	g := &gmCmd{first: f.base + at, last: f.base + at + n - 1, freed: make(chan struct{})}
	g.Front = g
	q := scsi.QueueSimple
	for _, o := range f.flying {
		if o.first <= g.last && g.first <= o.last {
			q = scsi.QueueOrdered
		}
	}
	mine := f.model[at*512:][:n*512]
	var cdb scsi.CDB
	switch f.rng.IntN(7) {
	case 0, 1, 2:
		g.payload = make([]byte, n*512)
		for i := range g.payload {
			g.payload[i] = byte(f.rng.Uint32())
		}
		copy(mine, g.payload)
		cdb = scsi.EncodeWrite16(g.first, uint32(n), f.rng.IntN(2) == 0)
	case 3, 4, 5:
		g.want = bytes.Clone(mine)
		cdb = scsi.EncodeRead16(g.first, uint32(n), false)
	default:
		cdb = scsi.EncodeSyncCache16(g.first, uint32(n))
	}
	g.Init(cdb.Slice(), q)
	f.flying = append(f.flying, g)
	return g
}

func (f *gmFront) run() {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	var s *target.Session
	var all []*gmCmd
	defer f.late.Wait()
	for i := range f.x.plan.commands {
		if s == nil {
			var err error
			s, err = f.x.tdev.NewSession(ctx, f, target.SessionInfo{})
			if f.x.plan.rough && errors.Is(err, target.ErrReleased) {
				break
			}
			if err != nil {
				f.x.fail("attach: %v", err)
				return
			}
		}
		g := f.next()
		all = append(all, g)
		s.Submit(&g.Cmd)
		if f.x.plan.rough && f.random(8) == 0 {
			f.tms.Add(1)
			s.TaskMgmt(&target.MgmtCmd{Fn: target.TMFunc(f.random(10))})
		}
		if f.random(5) == 0 {
			time.Sleep(time.Duration(f.random(300)) * time.Microsecond)
		}
		if i == f.x.plan.commands-1 || f.x.plan.comeAndGo && f.random(20) == 0 {
			if err := s.Close(ctx); err != nil {
				f.x.fail("I1: close: %v", err)
				return
			}
			s = nil
		}
	}
	for _, g := range all {
		select {
		case <-g.freed:
		case <-ctx.Done():
			f.x.fail("I1: a command was never freed")
			return
		}
		if n := g.sent.Load(); n != 1 {
			f.x.fail("I1: a command was answered %d times", n)
		}
	}
}

func runMortals(p mortalPlan) []string {
	x := &mortals{
		plan:   p,
		reg:    NewRegistry(Limits{HandlerGrace: p.grace, ReleaseTimeout: 15 * time.Second}),
		medium: &medium{data: make([]byte, p.fronts*regionBlocks*512)},
	}
	lives := []*mortal{x.bear(0, 0)}
	x.tdev = lives[0].dev.Target()
	fronts := make([]*gmFront, p.fronts)
	var running sync.WaitGroup
	for i := range fronts {
		fronts[i] = &gmFront{
			x: x, base: uint64(i * regionBlocks), model: make([]byte, regionBlocks*512),
			rng: rand.New(rand.NewPCG(p.seed, uint64(1000+i))),
		}
		running.Go(fronts[i].run)
	}
	rng := rand.New(rand.NewPCG(p.seed, 1<<20))
	for i := range p.deaths {
		time.Sleep(time.Duration(rng.IntN(3000)) * time.Microsecond)
		lives[len(lives)-1].die()
		time.Sleep(time.Duration(rng.IntN(2)*rng.IntN(1000)) * time.Microsecond)
		m := x.bear(uint64(i+1), time.Duration(rng.IntN(2)*rng.IntN(2000))*time.Microsecond)
		if m == nil {
			break
		}
		lives = append(lives, m)
	}
	running.Wait()
	last := lives[len(lives)-1]
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	last.stop() // first: what is replied during a release may be refused
	last.wg.Wait()
	if err := last.dev.Close(ctx); err != nil && !p.rough {
		x.fail("I5: %v", err)
	}
	for i, f := range fronts {
		if n := f.tms.Load(); n != 0 {
			x.fail("%d task management functions are not done", n)
		}
		if !p.rough && !bytes.Equal(f.model, x.medium.data[i*regionBlocks*512:][:regionBlocks*512]) {
			x.fail("I6: the medium is not what was written")
		}
	}
	for i, m := range lives {
		m.check(i)
	}
	if n := len(x.reg.Devices()); n != 0 {
		x.fail("I4: %d names are not free", n)
	}
	return x.failures
}

// clean says whether nothing is left of a life.
func (m *mortal) clean() bool {
	for _, s := range m.dev.PoolStats() {
		if s.IdleObjects != 0 || s.TotalPages != 0 {
			return false
		}
	}
	return len(m.dev.Commands()) == 0 && m.mem.mapped() == 0
}

// check looks at what is left of a life: nothing.
func (m *mortal) check(i int) {
	select {
	case <-m.dev.Released():
	case <-time.After(10 * time.Second):
		m.x.fail("I5: life %d has not ended", i)
	}
	// With a grace this short a device leaves behind what another goroutine has
	// in hand; that one has to bring it home all the same.
	for end := time.Now().Add(5 * time.Second); m.x.plan.rough && !m.clean() && time.Now().Before(end); {
		time.Sleep(100 * time.Microsecond)
	}
	if l := m.dev.Commands(); len(l) > 0 {
		m.x.fail("I4: life %d left %v", i, l)
	}
	for _, s := range m.dev.PoolStats() {
		if s.IdleObjects != 0 || s.TotalPages != 0 {
			m.x.fail("I4: life %d left pool %+v", i, s)
		}
	}
	if n := m.mem.mapped(); n != 0 {
		m.x.fail("I3: life %d: %d buffers are still mapped", i, n)
	}
	var stuck *StuckError
	// A rough run does not wait for its own slow clients.
	if err := m.dev.Close(context.Background()); !m.x.plan.rough && errors.As(err, &stuck) {
		m.x.fail("I5: life %d: %v", i, err)
	}
}

func TestRestartsAgainstAModel(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		for _, f := range runMortals(drawMortal(rt, false)) {
			rt.Error(f)
		}
	})
}

// The same with waits that end too early, commands that are aborted, and data
// that does not come: I1 to I5 hold.
func TestRestartsThatFail(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		for _, f := range runMortals(drawMortal(rt, true)) {
			rt.Error(f)
		}
	})
}
