package ucmd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// I5: a release that does not get on says so when it finds out, with what
// holds it, and counts it.
func TestI5StuckReleaseIsReportedAtOnce(t *testing.T) {
	rep := &testReporter{}
	b := newBench(t, withLimits(Limits{ReleaseTimeout: 500 * time.Millisecond, Reporter: rep}))
	b.fe.setHold(true)
	_, s := b.writeExec(8)
	b.execDone(s)
	start := time.Now()
	b.dev.Release()
	eventually(t, "the report", func() bool { return len(rep.releases()) == 1 })
	<-b.dev.Released()
	if d := time.Since(start); d > 950*time.Millisecond {
		t.Errorf("it took %v: it waits twice for the same", d)
	}
	e := rep.releases()[0]
	if len(rep.releases()) != 1 || e.Device != "disk1" || len(e.Commands) != 1 || !errors.Is(e, context.DeadlineExceeded) {
		t.Fatalf("reported %d times: %v", len(rep.releases()), e)
	}
	c := e.Commands[0]
	if c.Handle != s.Handle || c.State != StateExecing || c.Owners != "creation+sgv" || c.Age < 500*time.Millisecond {
		t.Errorf("reported %v", c)
	}
	if !strings.Contains(e.Error(), ", age ") {
		t.Errorf("%v does not tell the age", e)
	}
	if got, want := b.reg.Releases(), (ReleaseStats{Ended: 1, Stuck: 1, Abandoned: 1}); got != want {
		t.Errorf("counted %+v, want %+v", got, want)
	}
	b.fe.setHold(false)
	b.fe.deliver()
	b.checkGone()
	detached(t, b)
}

// One that ends well is counted, and nobody is told.
func TestReleaseIsCounted(t *testing.T) {
	rep := &testReporter{}
	b := newBench(t, withLimits(Limits{Reporter: rep}))
	b.doWrite(8)
	b.close()
	if got := b.reg.Releases(); got != (ReleaseStats{Ended: 1}) || len(rep.releases()) != 0 {
		t.Errorf("counted %+v, reported %v", got, rep.releases())
	}
}

// I5: a release that goes on, slowly, is not stuck.
func TestI5SlowReleaseIsNotStuck(t *testing.T) {
	rep := &testReporter{}
	b := newBench(t, withLimits(Limits{ReleaseTimeout: 100 * time.Millisecond, Reporter: rep}))
	b.fe.setHold(true)
	var cs []*target.Cmd
	for range 10 {
		cs = append(cs, b.submit(syncCDB))
		b.execDone(b.get(SubExec))
	}
	b.dev.Release()
	for _, c := range cs { // takes three times ReleaseTimeout
		time.Sleep(30 * time.Millisecond)
		c.Delivered(target.Delivered)
	}
	b.close()
	if len(rep.releases()) != 0 {
		t.Errorf("reported %v", rep.releases())
	}
}

// I1, I5: a reply that hangs in the handler's memory does not keep its
// initiator waiting when the device is released: the command ends, once, and
// the reply finds that out when it is back.
func TestI1ReplyHangsInMemory(t *testing.T) {
	for _, x := range []struct {
		name string
		opts []benchOpt
		call func(b *bench) (*target.Cmd, Reply)
	}{
		{"ALLOC_MEM", nil, func(b *bench) (*target.Cmd, Reply) {
			c := b.write(8)
			return c, allocReply(b.get(SubAllocMem), b.mem.alloc(4096))
		}},
		{"ALLOC_MEM, on_free call, no reuse", []benchOpt{withOnFree(OnFreeCall), withReuse(ReuseNone)}, func(b *bench) (*target.Cmd, Reply) {
			c := b.write(8)
			return c, allocReply(b.get(SubAllocMem), b.mem.alloc(4096))
		}},
		{"EXEC of a READ", nil, func(b *bench) (*target.Cmd, Reply) {
			c := b.read(8)
			r := completed(b.get(SubExec))
			r.RespDataLen, r.PBuf = 4096, b.mem.alloc(4096)
			return c, r
		}},
	} {
		t.Run(x.name, func(t *testing.T) {
			rep := &testReporter{}
			b := newBench(t, append(x.opts, withLimits(Limits{ReleaseTimeout: 50 * time.Millisecond, Reporter: rep}))...)
			g := newGate()
			b.dev.mem = &gatedMemory{testMemory: b.mem, onMap: g}
			c, r := x.call(b)
			replied := make(chan error)
			go func() { replied <- b.dev.Reply(&r) }()
			<-g.reached
			err := b.dev.Close(t.Context())
			b.ended(c, scsi.CheckCondition, senseLUN)
			if n := b.fe.freedCount(); n != 1 {
				t.Fatalf("I1: freed %d times", n)
			}
			var stuck *StuckError
			if !errors.As(err, &stuck) || len(stuck.Commands) != 1 || stuck.Commands[0].Owners != "transient" || len(rep.releases()) != 1 {
				t.Errorf("release: %v, reported %v; want what the reply still holds", err, rep.releases())
			}
			close(g.open)
			if err := <-replied; err != syscall.ESRCH {
				t.Errorf("the reply: %v, want ESRCH", err)
			}
			b.checkGone()
			b.checkRefs()
			if n := b.fe.freedCount(); n != 1 {
				t.Errorf("I1: freed %d times", n)
			}
		})
	}
}

// I5: no polling, no busy loop: how often a release that waits looks around is
// bounded by what happens, not by how long that takes.
func TestI5ReleaseDoesNotPoll(t *testing.T) {
	b := newBench(t)
	b.fe.setHold(true)
	const n = 20
	for range n {
		b.submit(syncCDB)
		b.execDone(b.get(SubExec))
	}
	b.dev.Release()
	eventually(t, "the cleanup has begun", func() bool { return b.dev.rounds.Load() > 0 })
	time.Sleep(20 * time.Millisecond) // for what the beginning brings
	rounds, cpu := b.dev.rounds.Load(), cpuTime(t)
	const wait = 400 * time.Millisecond
	time.Sleep(wait)
	if got := b.dev.rounds.Load(); got != rounds {
		t.Errorf("%d rounds while nothing happened", got-rounds)
	}
	if used := cpuTime(t) - cpu; used > wait/5 {
		t.Errorf("%v of processor time in %v while nothing happened", used, wait)
	}
	b.fe.setHold(false)
	b.fe.deliver()
	b.close()
	// Each command's end is one event, and the end of the sessions a few.
	if got := b.dev.rounds.Load(); got > 4*n {
		t.Errorf("%d rounds for %d commands", got, n)
	}
}

// cpuTime is the processor time that this process has used.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// I5: closing one device never delays another: 19 are stuck, in every way
// there is, and the 20th closes at once.
func TestI5NineteenStuckDevices(t *testing.T) {
	limits := withLimits(Limits{ReleaseTimeout: 3 * time.Second})
	g := newGate()
	type stuckDevice struct {
		b      *bench
		unhold func()
	}
	ways := []func(b *bench) func(){
		func(b *bench) func() { // the front end holds a response
			b.fe.setHold(true)
			b.execDone(b.mustExec())
			return func() { b.fe.setHold(false); b.fe.deliver() }
		},
		func(b *bench) func() { // and it was answered BACKGROUND
			b.fe.setHold(true)
			s := b.mustExec()
			b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyBackground})
			return func() { b.fe.setHold(false); b.fe.deliver() }
		},
		func(b *bench) func() { // a background reference that nobody drops
			b.dev.faults.keepBackground = true
			s := b.mustExec()
			b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyBackground})
			return func() {}
		},
		func(b *bench) func() { // a leaked transient reference
			b.dev.faults.leakExtendedCDB = true
			_, _ = b.dev.ExtendedCDB(b.doWrite(8))
			return func() {}
		},
		func(b *bench) func() { // a reply hangs in the handler's memory
			m := &gatedMemory{testMemory: b.mem, onMap: &gate{make(chan struct{}), g.open}}
			reached := m.onMap.reached
			b.dev.mem = m
			b.write(8)
			r := allocReply(b.get(SubAllocMem), b.mem.alloc(4096))
			over := make(chan struct{})
			go func() { _ = b.dev.Reply(&r); close(over) }()
			<-reached
			return func() { <-over }
		},
	}
	var stuck []stuckDevice
	for i := range 19 {
		b := newBench(t, limits, withDesc(func(d *Desc) { d.Name = fmt.Sprint("stuck", i) }))
		stuck = append(stuck, stuckDevice{b, ways[i%len(ways)](b)})
		b.dev.Release()
	}
	b := newBench(t, limits)
	c, _ := b.writeExec(8)
	start := time.Now()
	b.close()
	if d := time.Since(start); d > 500*time.Millisecond {
		t.Errorf("it took %v", d)
	}
	b.ended(c, scsi.CheckCondition, senseLUN)
	close(g.open)
	for _, s := range stuck {
		s.unhold()
		<-s.b.dev.Released()
	}
}

// mustExec submits a WRITE and brings it to EXEC.
func (b *bench) mustExec() Subcommand {
	_, s := b.writeExec(8)
	return s
}
