package ucmd

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// killCycles is how often a device is registered, loaded, killed and checked;
// "make soak" asks for more.
var killCycles = flag.Int("killcycles", 300, "kill-and-release cycles under load")

// killModes are the ways in which a handler serves the device that is killed.
var killModes = []string{"inline", "getters", "both"}

// The same name is registered again and again, loaded by several front ends and
// killed at a random moment; after every cycle nothing is left (I1 to I5).
func TestKillAndReleaseUnderLoad(t *testing.T) {
	const seed = 3
	r := rand.New(rand.NewPCG(seed, 0))
	reg := NewRegistry(Limits{ReleaseTimeout: 20 * time.Second})
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	var took []time.Duration
	ended, cut := 0, 0
	for n := 1; n <= *killCycles; n++ {
		k := newKillCycle(t, reg, r)
		took = append(took, k.run())
		for _, f := range k.fronts {
			ended += f.ended
			cut += f.cut
		}
		waitGoroutines(t, goroutines)
		if n%1000 == 0 {
			t.Logf("%d cycles, %d commands, %d of them cut off; release %s", n, ended, cut, spread(took))
		}
		if t.Failed() {
			t.Fatalf("in cycle %d of seed %d: %s", n, seed, k)
		}
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d files are open, %d were before", n, files)
	}
	if cut == 0 {
		t.Error("the handler had no command in any cycle: this shows nothing")
	}
	t.Logf("%d cycles, %d commands, %d of them cut off, none lost; release %s", *killCycles, ended, cut, spread(took))
}

// openFiles counts this process' file descriptors.
func openFiles(t *testing.T) int {
	t.Helper()
	l, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(l)
}

// waitGoroutines waits until there are no more goroutines than before: those
// of a release end right after what they announce.
func waitGoroutines(t *testing.T, before int) {
	t.Helper()
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; time.Sleep(20 * time.Microsecond) {
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, %d before:\n%s", runtime.NumGoroutine(), before, buf[:runtime.Stack(buf, true)])
		}
	}
}

// spread says how long something took.
func spread(took []time.Duration) string {
	l := slices.Clone(took)
	slices.Sort(l)
	at := func(q float64) time.Duration { return l[int(q*float64(len(l)-1))].Round(time.Microsecond) }
	return fmt.Sprintf("p50 %v, p99 %v, max %v", at(.5), at(.99), at(1))
}

// killCycle is one life of the device.
type killCycle struct {
	t      *testing.T
	dev    *Device
	reg    *Registry
	mem    *testMemory
	mode   string
	opt    Opt
	life   time.Duration // from the first command to the kill
	fronts []*killFront

	mu  sync.Mutex
	due []Reply // what the inline handler keeps for the getters
	rng *rand.Rand
}

func newKillCycle(t *testing.T, reg *Registry, r *rand.Rand) *killCycle {
	k := &killCycle{
		t: t, reg: reg, mem: newTestMemory(), mode: killModes[r.IntN(len(killModes))],
		life: time.Duration(r.IntN(1500)) * time.Microsecond,
		rng:  rand.New(rand.NewPCG(r.Uint64(), 1)),
	}
	desc := plainDesc()
	desc.Opt.Reuse, desc.Opt.OnFree, desc.Opt.Parse = uint8(r.IntN(4)), uint8(r.IntN(2)), uint8(r.IntN(3))
	k.opt = desc.Opt
	var err error
	if k.dev, err = reg.Register(desc, k.mem, nil); err != nil {
		t.Fatalf("I4: the name is not free: %v", err)
	}
	for range 1 + r.IntN(3) {
		k.fronts = append(k.fronts, newKillFront(t, 1+r.IntN(64), r.Uint64()))
	}
	return k
}

// String tells a failed cycle from the others.
func (k *killCycle) String() string {
	depths := make([]int, len(k.fronts))
	for i, f := range k.fronts {
		depths[i] = len(f.cmds)
	}
	return fmt.Sprintf("handler %s, options %+v, killed after %v, depths %v", k.mode, k.opt, k.life, depths)
}

// run is the whole life; it returns how long the release took.
func (k *killCycle) run() time.Duration {
	var handler, load sync.WaitGroup
	if k.mode != "getters" {
		k.dev.SetInline(k.inline)
	}
	if k.mode != "inline" {
		for range 2 {
			handler.Go(k.getter)
		}
	}
	for _, f := range k.fronts {
		load.Go(func() { f.run(k.dev) })
	}
	time.Sleep(k.life)
	start := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := k.dev.Close(ctx); err != nil {
		k.t.Errorf("I5: %v", err)
	}
	took := time.Since(start)
	load.Wait()
	handler.Wait()
	k.check()
	return took
}

// check looks at what the release must not leave.
func (k *killCycle) check() {
	if l := k.dev.Commands(); len(l) > 0 {
		k.t.Errorf("I4: ucmds left: %v", l)
	}
	for _, s := range k.dev.PoolStats() {
		if s.IdleObjects != 0 || s.TotalPages != 0 {
			k.t.Errorf("I4: pool %s is not empty: %+v", s.Name, s)
		}
	}
	if n := k.mem.mapped(); n != 0 {
		k.t.Errorf("I3: %d buffers are still mapped", n)
	}
	if l := k.reg.Devices(); len(l) > 0 {
		k.t.Error("I4: the name is not free")
	}
	for i, f := range k.fronts {
		f.check(i)
	}
}

// reply answers a subcommand well.
func (k *killCycle) reply(s *Subcommand, r *Reply) {
	*r = Reply{Handle: s.Handle, Code: s.Code}
	if s.Code == SubParse {
		*r = wellParsed(s)
	}
	k.mem.answer(s, r)
}

// inline keeps some of what it gets for the getters, if there are any.
func (k *killCycle) inline(s *Subcommand, r *Reply) bool {
	k.reply(s, r)
	if k.mode != "both" {
		return true
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.rng.IntN(4) > 0 {
		return true
	}
	k.due = append(k.due, *r)
	return false
}

// getter is a thread of the handler until the device is released. A third of
// its fetched subcommands are still with it then.
func (k *killCycle) getter() {
	subs := make([]Subcommand, 8)
	var replies, late []Reply
	for {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Microsecond)
		done, n, _ := k.dev.ReplyAndGet(ctx, replies, subs)
		cancel()
		if n == 0 && isReleased(k.dev) {
			return
		}
		if done < len(replies) {
			done++ // a refused one is consumed (rule R28)
		}
		replies = append(replies[:0], replies[done:]...)
		for i := range subs[:n] {
			var r Reply
			k.reply(&subs[i], &r)
			late = append(late, r)
		}
		give := (len(late) + 1) * 2 / 3
		replies, late = append(replies, late[:give]...), append(late[:0], late[give:]...)
		k.mu.Lock()
		replies, k.due = append(replies, k.due...), k.due[:0]
		k.mu.Unlock()
	}
}

func isReleased(d *Device) bool {
	select {
	case <-d.Released():
		return true
	default:
		return d.isReleased()
	}
}

// wellParsed is what the standard parser would have said.
func wellParsed(s *Subcommand) Reply {
	size, dir := s.BufLen, s.Dir
	if s.OpFlags&scsi.OpBlocksLength != 0 {
		size *= 512
	}
	if size == 0 {
		dir = scsi.DirNone
	}
	return goodParse(*s, dir, size)
}

// killCmd is a command and what became of it.
type killCmd struct {
	target.Cmd
	sent, freed int // of the present round; guarded by killFront.mu
}

// killFront is an initiator that keeps its depth of commands under way until
// the device is gone.
type killFront struct {
	t    *testing.T
	cmds []killCmd
	free chan *killCmd
	out  chan *target.Cmd // responses that it takes its time for

	// mu guards the counts and rng.
	mu               sync.Mutex
	rng              *rand.Rand
	submitted, ended int
	cut              int // ended with what a release answers
	tms              int // functions that are not done
	gone             bool
	wrong            error
}

func newKillFront(t *testing.T, depth int, seed uint64) *killFront {
	f := &killFront{
		t: t, cmds: make([]killCmd, depth), free: make(chan *killCmd, depth), out: make(chan *target.Cmd, depth),
		rng: rand.New(rand.NewPCG(seed, 2)),
	}
	for i := range f.cmds {
		f.cmds[i].Front = &f.cmds[i]
		f.free <- &f.cmds[i]
	}
	return f
}

// run attaches, loads and leaves, all in the middle of what the others do.
func (f *killFront) run(d *Device) {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	s, err := d.tdev.NewSession(ctx, f, target.SessionInfo{})
	if err != nil {
		return // killed before that
	}
	for !f.isGone() {
		select {
		case c := <-f.free:
			f.submit(s, c)
		case c := <-f.out:
			c.Delivered(target.DeliveryFailed)
		}
	}
	for len(f.free) < len(f.cmds) && ctx.Err() == nil {
		select {
		case c := <-f.out:
			c.Delivered(target.Delivered)
		case <-time.After(100 * time.Microsecond):
		}
	}
	if err := s.Close(ctx); err != nil {
		f.t.Errorf("I1: a session's commands never ended: %v", err)
	}
}

func (f *killFront) submit(s *target.Session, c *killCmd) {
	f.mu.Lock()
	cdb := killCDBs[f.rng.IntN(len(killCDBs))]
	abort := f.rng.IntN(200) == 0
	m := &target.MgmtCmd{Fn: target.TMFunc(f.rng.IntN(10)), Tag: uint64(f.submitted)}
	c.sent, c.freed = 0, 0
	f.submitted++
	if abort {
		f.tms++
	}
	tag := uint64(f.submitted)
	f.mu.Unlock()
	c.Init(cdb.Slice(), scsi.QueueSimple)
	c.Tag = tag
	s.Submit(&c.Cmd)
	if abort {
		s.TaskMgmt(m)
	}
}

var killCDBs = []scsi.CDB{
	scsi.EncodeWrite16(0, 8, false), scsi.EncodeRead16(0, 8, false), scsi.EncodeWrite16(0, 8, false),
	scsi.EncodeRead16(0, 64, false), scsi.EncodeSyncCache16(0, 0),
}

func (f *killFront) isGone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

func (f *killFront) RdyToXfer(*target.Cmd) target.Verdict { return target.Continue }

func (f *killFront) XmitResponse(c *target.Cmd) {
	f.mu.Lock()
	k := c.Front.(*killCmd)
	if k.sent++; k.sent > 1 {
		f.wrong = errors.New("a command was answered twice")
	}
	slow := f.rng.IntN(8) == 0
	f.mu.Unlock()
	if slow {
		f.out <- c // there is room for every command
		return
	}
	c.Delivered(target.Delivered)
}

func (f *killFront) Freed(c *target.Cmd) {
	f.mu.Lock()
	k := c.Front.(*killCmd)
	if k.freed++; k.freed > 1 || k.sent != 1 {
		f.wrong = errors.New("a command was freed twice, or without an answer")
	}
	f.ended++
	if senseOf(c) == senseLUN {
		f.cut++
	}
	f.mu.Unlock()
	select {
	case f.free <- k:
	default: // it is in there already; wrong says so
	}
}

func (f *killFront) AEN(*target.Session, target.UnitAttention) bool { return true }

func (f *killFront) TMDone(*target.MgmtCmd) {
	f.mu.Lock()
	f.tms--
	f.mu.Unlock()
}

func (f *killFront) SessionGone(*target.Session) {
	f.mu.Lock()
	f.gone = true
	f.mu.Unlock()
}

// check looks at I1.
func (f *killFront) check(i int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wrong != nil || f.submitted != f.ended || f.tms != 0 {
		f.t.Errorf("I1: front end %d: %d submitted, %d ended, %d functions left: %v", i, f.submitted, f.ended, f.tms, f.wrong)
	}
}
