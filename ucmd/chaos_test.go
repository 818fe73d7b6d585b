package ucmd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// The invariants, under everything at once: several getters that answer right,
// wrong, late or never; front ends that submit, abort, reset, stall, detach and
// attach; options, flushes, preallocation, the inline handler turned on and
// off; and a release at any moment, perhaps right beside a reply. Then the same
// name again, at once, while the old device is still going; perhaps beside
// another device that has the same buffer pool.

// chaos is one such device, from its registration to its end.
type chaos struct {
	b    *bench
	mem  *chaosMemory
	plan chaosPlan
	seed uint64 // of this life

	// mu guards what the handler knows: replies that are due, and how many
	// more it gives before it dies.
	mu    sync.Mutex
	due   []Reply
	left  int
	fails *chaosFailures

	calm    atomic.Bool // from now on everything is answered, well
	stopped atomic.Bool // getters end
	stalled atomic.Bool // front ends do nothing of what they have put off
}

// chaosFailures is what went wrong in a run.
type chaosFailures struct {
	mu sync.Mutex
	l  []string
}

func (f *chaosFailures) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.l = append(f.l, fmt.Sprintf(format, args...))
}

// chaosPlan is what is drawn for a run; the rest follows from seed.
type chaosPlan struct {
	seed             uint64
	desc             Desc
	limits           Limits
	names, lives     int // so many devices at once, each so often
	shared           bool
	getters, fronts  int
	commands         int
	liar             bool          // replies to what is not its own
	release          time.Duration // when, about, if not after all is calm
	dieInReply       int           // at which reply it dies, 0: at none
	stall            time.Duration // front ends stop until so long after that
	calm             bool
	changeOpt, flush bool
	inline           bool
}

func drawPlan(rt *rapid.T) chaosPlan {
	us := func(most int, name string) time.Duration {
		return time.Duration(rapid.IntRange(0, most).Draw(rt, name)) * time.Microsecond
	}
	p := chaosPlan{
		seed:      rapid.Uint64().Draw(rt, "seed"),
		desc:      plainDesc(),
		names:     rapid.IntRange(1, 2).Draw(rt, "devices"),
		lives:     rapid.IntRange(1, 4).Draw(rt, "lives"),
		getters:   rapid.IntRange(1, 4).Draw(rt, "getters"),
		fronts:    rapid.IntRange(1, 3).Draw(rt, "front ends"),
		commands:  rapid.IntRange(1, 120).Draw(rt, "commands"),
		calm:      rapid.Bool().Draw(rt, "calm"),
		changeOpt: rapid.Bool().Draw(rt, "SET_OPTIONS"),
		flush:     rapid.Bool().Draw(rt, "FLUSH_CACHE"),
		inline:    rapid.Bool().Draw(rt, "inline"),
		release:   us(8000, "release after us"),
		limits: Limits{
			MaxUcmds:       rapid.SampledFrom([]int{0, 3, 20}).Draw(rt, "MaxUcmds"),
			MaxPages:       rapid.SampledFrom([]int{4096, 8, 40}).Draw(rt, "MaxPages"),
			MaxIdlePages:   rapid.SampledFrom([]int{0, 4}).Draw(rt, "MaxIdlePages"),
			AttachTimeout:  20 * time.Millisecond,
			SuspendTimeout: 5 * time.Millisecond,
			ReleaseTimeout: 20 * time.Second,
		},
	}
	if !p.calm {
		p.liar = rapid.Bool().Draw(rt, "liar")
		p.dieInReply = rapid.SampledFrom([]int{0, 0, 1, 5, 30, 100}).Draw(rt, "dies at reply")
		p.stall = us(4000, "stall us")
	}
	p.shared = p.names > 1 && rapid.Bool().Draw(rt, "shared pool")
	p.desc.SGVShared = p.shared
	if p.shared {
		p.desc.SGVName = "shared"
	}
	p.desc.Opt.Reuse = rapid.Uint8Range(0, 3).Draw(rt, "reuse")
	p.desc.Opt.OnFree = rapid.Uint8Range(0, 1).Draw(rt, "on_free")
	p.desc.Opt.Parse = rapid.Uint8Range(0, 2).Draw(rt, "parse")
	p.desc.Opt.TAS = rapid.Uint8Range(0, 1).Draw(rt, "tas")
	p.desc.NonBlocking = rapid.Bool().Draw(rt, "non-blocking")
	return p
}

// TestInvariantsUnderChaos goes deeper with -rapid.checks.
func TestInvariantsUnderChaos(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		for _, f := range runChaos(t, drawPlan(rt)) {
			rt.Error(f)
		}
	})
}

// runChaos lives all lives of all devices and returns what went wrong.
func runChaos(t *testing.T, p chaosPlan) []string {
	fails := &chaosFailures{}
	reg := NewRegistry(p.limits)
	common := newChaosMemory(fails)
	var names sync.WaitGroup
	for i := range p.names {
		names.Go(func() {
			plan := p
			plan.desc.Name = fmt.Sprint("disk", i+1)
			var ending sync.WaitGroup
			for n := range p.lives {
				x := &chaos{plan: plan, seed: p.seed + uint64(10*i+n), mem: common, left: p.dieInReply, fails: fails}
				if !p.shared {
					x.mem = newChaosMemory(fails)
				}
				if !x.register(t, reg) {
					break
				}
				// The next life begins while this one ends.
				died := make(chan struct{})
				ending.Go(func() { x.live(died) })
				<-died
			}
			ending.Wait()
		})
	}
	names.Wait()
	if n := common.mapped(); n != 0 {
		fails.add("I3: %d buffers are still mapped", n)
	}
	if l := reg.Devices(); len(l) > 0 {
		fails.add("I4: %d devices are left", len(l))
	}
	return fails.l
}

// register takes the name as soon as the former device lets go of it, asking
// all the time.
func (x *chaos) register(t *testing.T, reg *Registry) bool {
	for end := time.Now().Add(20 * time.Second); ; {
		dev, err := reg.Register(x.plan.desc, x.mem, nil)
		if err == nil {
			x.b = &bench{t: t, reg: reg, dev: dev, mem: x.mem.testMemory}
			return true
		}
		if !errors.Is(err, errEEXIST) || time.Now().After(end) {
			x.fails.add("I4: the name is not free: %v", err)
			return false
		}
		runtime.Gosched()
	}
}

// live runs the device to its end; died is closed when the release has begun.
func (x *chaos) live(died chan<- struct{}) {
	p, dev := x.plan, x.b.dev
	var getters, fronts, control sync.WaitGroup
	for i := range p.getters {
		r := rand.New(rand.NewPCG(x.seed, uint64(i)))
		// The first one never sleeps for long: it gives what is due.
		blocks := i > 0 && r.IntN(2) == 0
		getters.Go(func() { x.getter(r, blocks) })
	}
	all := make([]*chaosFront, p.fronts)
	for i := range all {
		all[i] = newChaosFront(x, rand.New(rand.NewPCG(x.seed, uint64(100+i))))
		fronts.Go(all[i].run)
	}
	over := make(chan struct{})
	control.Go(func() { x.control(rand.New(rand.NewPCG(x.seed, 200)), over) })

	if p.calm {
		fronts.Wait() // every command ends, as everything is answered at last
		close(over)
		control.Wait()
		x.quiesce()
	} else {
		// No two devices at the same moment: one dies beside the other.
		time.Sleep(time.Duration(rand.New(rand.NewPCG(x.seed, 300)).Int64N(2*int64(p.release) + 1)))
		x.stalled.Store(true)
	}
	start := time.Now()
	x.die()
	close(died)
	time.Sleep(p.stall)
	x.stalled.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	if err := dev.Close(ctx); err != nil {
		x.fails.add("I5: release: %v", err)
		for _, c := range dev.Commands() {
			x.fails.add("I5: left %v", c)
		}
	}
	if d := time.Since(start); d > 10*time.Second {
		x.fails.add("I5: the release took %v", d)
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
}

// die releases the device. What the handler had is nobody's from here on.
func (x *chaos) die() {
	x.mem.forget(x.b.dev)
	x.b.dev.Release()
}

// check looks at I3 and I4 after the release.
func (x *chaos) check() {
	if l := x.b.dev.Commands(); len(l) > 0 {
		x.fails.add("I4: left %v", l)
	}
	if x.plan.shared {
		return // the other device goes on with the pool
	}
	for _, s := range x.b.dev.PoolStats() {
		if s.IdleObjects != 0 || s.TotalPages != 0 {
			x.fails.add("I4: pool %+v", s)
		}
	}
	if n := x.mem.mapped(); n != 0 {
		x.fails.add("I3: %d buffers are still mapped", n)
	}
}

// checkRefs looks at I2: every reference has an owner.
func (x *chaos) checkRefs() {
	dev := x.b.dev
	dev.mu.Lock()
	defer dev.mu.Unlock()
	for _, u := range dev.hash {
		for ; u != nil; u = u.hashNext {
			sum := int32(0)
			for _, n := range u.owners {
				sum += int32(n)
			}
			if sum != u.ref || u.ref <= 0 {
				x.fails.add("I2: h=%d: ref %d, owners %v", u.h, u.ref, u.owners)
			}
		}
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
	x.checkRefs()
	// One flush is enough for a device alone; what another one uses of a
	// shared pool comes back later.
	for flushed := false; time.Now().Before(end); time.Sleep(time.Millisecond) {
		if !flushed || x.plan.shared {
			flushed = dev.FlushCache() == nil
		}
		if flushed && len(dev.Commands()) == 0 {
			break
		}
	}
	if l := dev.Commands(); len(l) > 0 {
		x.fails.add("I2: at rest, after a flush: %v", l)
	}
	lost := ReuseType(x.plan.desc.Opt.Reuse) != ReuseAll && OnFreeType(x.plan.desc.Opt.OnFree) == OnFreeIgnore
	if lost || x.plan.changeOpt || x.plan.shared {
		return // buffers that are not kept, and nobody is told; or not ours alone
	}
	x.mem.allBack()
}
