package ucmd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
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
