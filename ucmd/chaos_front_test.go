package ucmd

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

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
	f.mu.Lock()
	resume := func() {
		f.touch(c)
		c.DataReceived()
	}
	if f.rng.IntN(4) == 0 { // the client is gone
		resume = c.DataFailed
	}
	f.mu.Unlock()
	if f.keep(resume) {
		f.touch(c)
		return target.Continue
	}
	return target.Stop
}

// touch uses a command's buffer, which is its own from RdyToXfer until
// Delivered: the race detector sees two live commands that have the same one.
// A liar gives one buffer to two commands, and gets what it asked for.
func (f *chaosFront) touch(c *target.Cmd) {
	if f.x.plan.liar {
		return
	}
	for _, b := range [][]byte{c.Buf, c.OutBuf} {
		if len(b) > 0 {
			b[0]++
			b[len(b)-1]++
		}
	}
}

func (f *chaosFront) XmitResponse(c *target.Cmd) {
	c.Front.(*chaosCmd).sent.Add(1)
	if n := len(c.Data()); c.RespLen < 0 || c.RespLen > c.BufLen || int(c.RespLen) != n {
		f.x.fails.add("I7: a response of %d bytes, %d of them there, from a buffer of %d", c.RespLen, n, c.BufLen)
	}
	f.touch(c)
	deliver := func() {
		f.touch(c)
		c.Delivered(target.DeliveryFailed)
	}
	if f.keep(deliver) {
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

// doLater does what was kept, unless the front ends are stalled: then data and
// responses stay where they are, in the middle of the device's release too.
func (f *chaosFront) doLater() {
	if f.x.stalled.Load() {
		return
	}
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
	f.x.fails.add("I1: a session's commands never ended")
}

// check looks at I1.
func (f *chaosFront) check(i int) {
	f.doLater()
	for n, c := range f.cmds {
		if s, d := c.sent.Load(), c.freed.Load(); s != 1 || d != 1 {
			f.x.fails.add("I1: front end %d, command %d: answered %d times, freed %d times", i, n, s, d)
		}
	}
	if n := f.tms.Load(); n != 0 {
		f.x.fails.add("front end %d: %d task management functions are not done", i, n)
	}
}
