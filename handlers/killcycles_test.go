package handlers_test

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

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// killCycles is how often a served device is killed; "make soak" asks for more.
var killCycles = flag.Int("killcycles", 300, "kill-and-release cycles under load")

// A device served by Serve, handlers/disk and an arena ends at a random moment
// in the middle of its load, under one name again and again. Each command ends
// once, and nothing is left: no ucmd, no page that nobody knows of, no
// goroutine, no file (I1 to I5).
func TestKillAndReleaseUnderLoad(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 0))
	h := newDisk(t)
	reg := ucmd.NewRegistry(ucmd.Limits{ReleaseTimeout: patience})
	goroutines, files := runtime.NumGoroutine(), openFiles(t)
	var took []time.Duration
	ended, busy := 0, 0
	for n := 1; n <= *killCycles; n++ {
		k := &killCycle{t: t, h: h, inline: r.IntN(2) == 0, onFree: uint8(r.IntN(2)), life: time.Duration(r.IntN(1500)) * time.Microsecond}
		for range 1 + r.IntN(3) {
			k.fronts = append(k.fronts, newKillFront(1+r.IntN(64), r.Uint64()))
		}
		took = append(took, k.run(reg))
		for _, f := range k.fronts {
			ended += f.ended
			busy += f.refused
		}
		for end := time.Now().Add(patience); runtime.NumGoroutine() > goroutines && time.Now().Before(end); {
			time.Sleep(20 * time.Microsecond)
		}
		if g := runtime.NumGoroutine(); g > goroutines {
			t.Errorf("%d goroutines, %d before", g, goroutines)
		}
		if n%1000 == 0 {
			t.Logf("%d cycles, %d commands, %d of them refused; release %s", n, ended, busy, spread(took))
		}
		if t.Failed() {
			t.Fatalf("in cycle %d: %+v", n, k)
		}
	}
	if n := openFiles(t); n > files {
		t.Errorf("%d files are open, %d were before", n, files)
	}
	if busy == 0 {
		t.Error("no command met the end of its device in any cycle: this shows nothing")
	}
	t.Logf("%d cycles, %d commands, %d of them refused, none lost; release %s", *killCycles, ended, busy, spread(took))
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

// spread says how long something took.
func spread(took []time.Duration) string {
	l := slices.Clone(took)
	slices.Sort(l)
	at := func(q float64) time.Duration { return l[int(q*float64(len(l)-1))].Round(time.Microsecond) }
	return fmt.Sprintf("p50 %v, p99 %v, max %v", at(.5), at(.99), at(1))
}

// killCycle is one life of a served device.
type killCycle struct {
	t      *testing.T
	h      handlers.Handler
	inline bool
	onFree uint8
	life   time.Duration
	fronts []*killFront
}

// run is the whole life; it returns how long the end took, Serve's and the
// release.
func (k *killCycle) run(reg *ucmd.Registry) time.Duration {
	a := arena.New(arena.Options{})
	mem := &countedMemory{Memory: handlers.Memory{Arena: a}, mapped: map[uint64]int{}}
	dev, err := reg.Register(ucmd.Desc{
		Name: "disk1", Type: ucmd.TypeDisk, BlockSize: 512,
		Opt: ucmd.Opt{OnFree: k.onFree, Reuse: uint8(ucmd.ReuseAll), TST: 1, QueueAlg: 1},
	}, mem, nil)
	if err != nil {
		k.t.Fatalf("I4: the name is not free: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() {
		served <- handlers.Serve(ctx, dev, k.h, handlers.Options{Arena: a, Inline: k.inline, Threads: 2})
	}()
	var load sync.WaitGroup
	for _, f := range k.fronts {
		load.Go(func() {
			if err := f.run(dev); err != nil {
				k.t.Error(err)
			}
		})
	}
	time.Sleep(k.life)

	start := time.Now()
	cancel()
	if err := recv(k.t, served, "Serve to return"); err != nil {
		k.t.Errorf("Serve: %v", err)
	}
	end, stop := context.WithTimeout(context.Background(), patience)
	defer stop()
	if err := dev.Close(end); err != nil {
		k.t.Errorf("I5: %v", err)
	}
	took := time.Since(start)
	load.Wait()
	if l := dev.Commands(); len(l) > 0 {
		k.t.Errorf("I4: ucmds left: %v", l)
	}
	k.memoryIsKnown(a, mem)
	return took
}

// memoryIsKnown frees the buffers that the device had to the end, which are
// its owner's again; there must be no other.
func (k *killCycle) memoryIsKnown(a *arena.Arena, mem *countedMemory) {
	for addr, n := range mem.mapped {
		if n != 0 {
			k.t.Errorf("I3: %#x is still mapped", addr)
		}
		if err := a.Free(addr); err != nil && !errors.Is(err, arena.ErrNotAllocated) {
			k.t.Error(err)
		}
	}
	if err := a.Close(); err != nil {
		k.t.Errorf("I3: nobody knows of some buffers: %v", err)
	}
	if s := a.Stats(); s.MappedBytes != 0 {
		k.t.Errorf("%d bytes of the arena are still mapped", s.MappedBytes)
	}
}

// killCmd is a command of a killFront.
type killCmd struct {
	target.Cmd
	sent int // answers to the present round; guarded by killFront.mu
}

// killFront is an initiator that keeps its depth of commands under way until
// the device is gone.
type killFront struct {
	depth int
	free  chan *killCmd

	// mu guards the rest.
	mu               sync.Mutex
	rng              *rand.Rand
	submitted, ended int
	refused          int // ended with anything but GOOD
	gone             bool
	wrong            error
}

func newKillFront(depth int, seed uint64) *killFront {
	f := &killFront{depth: depth, free: make(chan *killCmd, depth), rng: rand.New(rand.NewPCG(seed, 0))}
	for range depth {
		c := &killCmd{}
		c.Front = c
		f.free <- c
	}
	return f
}

// run attaches, loads and leaves. The error is what I1 forbids.
func (f *killFront) run(d *ucmd.Device) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := d.Target().NewSession(ctx, f, target.SessionInfo{})
	if err != nil {
		return nil // it ended before that
	}
	for !f.isGone() {
		// The handler may not answer any more: the release does.
		select {
		case c := <-f.free:
			f.submit(s, c)
		case <-time.After(time.Millisecond):
		}
	}
	if err := s.Close(ctx); err != nil {
		return fmt.Errorf("I1: a session's commands never ended: %w", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.submitted != f.ended || len(f.free) != f.depth {
		return fmt.Errorf("I1: %d commands were submitted, %d ended", f.submitted, f.ended)
	}
	return f.wrong
}

func (f *killFront) submit(s *target.Session, c *killCmd) {
	f.mu.Lock()
	cdbs := [][]byte{read(0, 8), write(0, 8), read(64, 64), write(8, 20)}
	cdb := cdbs[f.rng.IntN(len(cdbs))]
	c.sent = 0
	f.submitted++
	f.mu.Unlock()
	c.Init(cdb, scsi.QueueSimple)
	s.Submit(&c.Cmd)
}

func (f *killFront) isGone() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gone
}

func (f *killFront) RdyToXfer(*target.Cmd) target.Verdict           { return target.Continue }
func (f *killFront) AEN(*target.Session, target.UnitAttention) bool { return true }
func (f *killFront) TMDone(*target.MgmtCmd)                         {}

func (f *killFront) XmitResponse(c *target.Cmd) {
	f.mu.Lock()
	c.Front.(*killCmd).sent++
	f.mu.Unlock()
	c.Delivered(target.Delivered)
}

func (f *killFront) Freed(c *target.Cmd) {
	f.mu.Lock()
	k := c.Front.(*killCmd)
	if k.sent != 1 {
		f.wrong = fmt.Errorf("I1: a command was answered %d times", k.sent)
	}
	f.ended++
	if c.Status != scsi.Good {
		f.refused++
	}
	f.mu.Unlock()
	select {
	case f.free <- k:
	default: // freed twice: submitted and ended say so
	}
}

func (f *killFront) SessionGone(*target.Session) {
	f.mu.Lock()
	f.gone = true
	f.mu.Unlock()
}
