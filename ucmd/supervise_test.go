package ucmd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// supervised is a bench whose handler has d for each subcommand.
func supervised(t testing.TB, d time.Duration, a Action, opts ...benchOpt) (*bench, *testReporter) {
	t.Helper()
	rep := &testReporter{}
	return newBench(t, append(opts, withLimits(Limits{
		ReleaseTimeout: 5 * time.Second, Supervision: Supervision{Timeout: d, Action: a}, Reporter: rep,
	}))...), rep
}

const hangs = 60 * time.Millisecond // the timeout of the tests below

// R26: whatever subcommand is fetched and not answered is reported, once, with
// what it is.
func TestR26EverySubcommandIsReported(t *testing.T) {
	for _, x := range []struct {
		name    string
		opts    []benchOpt
		hang    func(b *bench) (h uint32)
		code    Subcode
		cdb     bool
		session bool
		back    bool
	}{
		{"PARSE", []benchOpt{withParse(ParseCall)}, func(b *bench) uint32 {
			b.write(8)
			return b.get(SubParse).Handle
		}, SubParse, true, true, false},
		{"ALLOC_MEM", nil, func(b *bench) uint32 {
			b.write(8)
			return b.get(SubAllocMem).Handle
		}, SubAllocMem, true, true, false},
		{"EXEC", nil, func(b *bench) uint32 { return b.mustExec().Handle }, SubExec, true, true, false},
		{"BACKGROUND", nil, func(b *bench) uint32 {
			s := b.mustExec()
			b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyBackground})
			return s.Handle
		}, SubExec, true, true, true},
		{"BACKGROUND, on_free call", []benchOpt{withOnFree(OnFreeCall)}, func(b *bench) uint32 {
			s := b.mustExec()
			b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyBackground})
			return s.Handle
		}, SubExec, true, true, true},
		{"ON_FREE_CMD", []benchOpt{withOnFree(OnFreeCall)}, func(b *bench) uint32 {
			b.execDone(b.mustExec())
			return b.get(SubOnFree).Handle
		}, SubOnFree, true, true, false},
		{"ON_CACHED_MEM_FREE", nil, func(b *bench) uint32 {
			b.doWrite(8)
			_ = b.dev.FlushCache()
			return b.get(SubOnCachedMemFree).Handle
		}, SubOnCachedMemFree, false, false, false},
		{"TM_RECEIVED", nil, func(b *bench) uint32 {
			b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
			return b.get(SubTMReceived).Handle
		}, SubTMReceived, false, true, false},
		{"TM_DONE", nil, func(b *bench) uint32 {
			b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
			s := b.get(SubTMReceived)
			b.reply(Reply{Handle: s.Handle, Code: s.Code})
			return b.get(SubTMDone).Handle
		}, SubTMDone, false, true, false},
		{"ATTACH_SESS", nil, func(b *bench) uint32 {
			b.attachAsync(&testFront{})
			return b.waitGet().Handle
		}, SubAttachSess, false, true, false},
		{"DETACH_SESS", nil, func(b *bench) uint32 {
			go func() { _ = b.sess.Close(context.Background()) }()
			return b.waitGet().Handle
		}, SubDetachSess, false, true, false},
	} {
		t.Run(x.name, func(t *testing.T) {
			b, rep := supervised(t, hangs, ActionReport, x.opts...)
			h := x.hang(b)
			eventually(t, "the report", func() bool { return len(rep.found()) > 0 })
			time.Sleep(3 * hangs)
			l := rep.found()
			if len(l) != 1 {
				t.Fatalf("reported %d times: %v", len(l), l)
			}
			o := l[0]
			if o.Handle != h || o.Code != x.code || o.Background != x.back || len(o.CDB) > 0 != x.cdb ||
				(o.SessH != 0) != x.session || o.Action != ActionReport || o.Device != "disk1" {
				t.Errorf("reported %+v", o)
			}
			if o.Held < hangs || o.Held > 10*time.Second || o.Age < o.Held {
				t.Errorf("held %v, age %v; the limit is %v", o.Held, o.Age, hangs)
			}
			if x.cdb && !strings.Contains(o.String(), "WRITE(16), CDB 8a 00 ") {
				t.Errorf("%v does not tell the command", o)
			}
			b.close()
		})
	}
}

// What is answered in time is not reported, what is late is, whatever the
// handler does afterwards; and each fetch has a time of its own.
func TestOverdueAroundTheDeadline(t *testing.T) {
	b, rep := supervised(t, 400*time.Millisecond, ActionReport)
	early, late := b.mustExec(), b.mustExec()
	time.Sleep(50 * time.Millisecond)
	b.execDone(early)
	eventually(t, "the report", func() bool { return len(rep.found()) > 0 })
	b.execDone(late) // just after: it is taken like any other
	if l := rep.found(); len(l) != 1 || l[0].Handle != late.Handle {
		t.Errorf("reported %v, want h=%d", l, late.Handle)
	}
	for range 4 { // busy for longer than the timeout, never with one command
		s := b.mustExec()
		time.Sleep(120 * time.Millisecond)
		b.execDone(s)
	}
	// Waiting for the handler is not its fault, nor is what it gave back.
	b.submit(syncCDB)
	b.submit(syncCDB)
	b.dev.Requeue(b.get(SubExec).Handle)
	time.Sleep(600 * time.Millisecond)
	if l := rep.found(); len(l) != 1 {
		t.Errorf("reported %v besides", l[1:])
	}
	b.close()
}

// Commands that end right at the deadline, again and again: each ends once,
// and is reported once at most (I1).
func TestI1OverdueRace(t *testing.T) {
	for _, a := range []Action{ActionReport, ActionReset} {
		b, rep := supervised(t, 2*time.Millisecond, a)
		b.dev.obs = nil
		stop, over := make(chan struct{}), make(chan struct{})
		const n = 200
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				subs := make([]Subcommand, 1)
				for {
					if _, _, err := b.dev.ReplyAndGet(context.Background(), nil, subs); err != nil {
						return
					}
					s := subs[0]
					time.Sleep(time.Duration(rand.IntN(4)) * time.Millisecond)
					r := Reply{Handle: s.Handle, Code: s.Code, Type: ReplyCompleted}
					if s.Code == SubAllocMem {
						r.PBuf = b.mem.alloc(int(s.AllocLen))
					}
					// A reset's own subcommands may be caught by the release.
					if err := b.dev.Reply(&r); err != nil && !State(s.Code).management() {
						t.Errorf("reply %v: %v", s.Code, err)
					}
				}
			})
		}
		go func() {
			defer close(over)
			for range n {
				b.write(8)
			}
			close(stop)
		}()
		<-over
		<-stop
		eventually(t, "all commands end", func() bool { return b.fe.freedCount() == n })
		b.close()
		wg.Wait()
		type fetch struct {
			h uint32
			c Subcode
		}
		seen := map[fetch]bool{}
		for _, o := range rep.found() {
			k := fetch{o.Handle, o.Code}
			if seen[k] {
				t.Errorf("%v is reported twice", o)
			}
			seen[k] = true
		}
		if f := b.fe.freedCount(); f != n {
			t.Errorf("I1: %d commands freed, want %d", f, n)
		}
	}
}

// R68: the unit is reset once for all that hangs; what is not fetched ends at
// once, what hangs when the handler is through with it.
func TestR68OverdueReset(t *testing.T) {
	b, rep := supervised(t, 5*hangs, ActionReset)
	b.fe.noAEN = true
	c1, s1 := b.writeExec(8)
	c2, s2 := b.writeExec(8)
	waiting := b.submit(syncCDB)
	eventually(t, "the reset", func() bool { return len(rep.found()) >= 2 && b.fe.freedCount() == 0 && waiting.Aborted() })
	// The supervisor may have looked when only the first one was overdue: the
	// other is reported then, and no second reset is tried for it.
	for i, o := range rep.found()[:2] {
		if o.Action != ActionReset && (i == 0 || o.Action != ActionReport) {
			t.Errorf("reported %+v", o)
		}
	}
	received := b.get(SubTMReceived)
	if received.TMFunc != int32(target.LUNReset) || received.SessH != b.sess.Handle() {
		t.Errorf("got %+v", received)
	}
	b.none() // the aborted one is ended here, and is not fetched
	b.ended(waiting, scsi.CheckCondition, senseAborted)
	// The handler lets TM_RECEIVED lie as well: that is reported, and no reset
	// is tried for it.
	eventually(t, "TM_RECEIVED is reported", func() bool { return len(rep.found()) == 3 })
	if o := rep.found()[2]; o.Code != SubTMReceived || o.Action != ActionReport {
		t.Errorf("reported %+v", o)
	}
	b.reply(Reply{Handle: received.Handle, Code: received.Code})
	b.none() // no second reset; TM_DONE waits for the commands
	if n := b.fe.freedCount(); n != 1 {
		t.Errorf("%d commands ended, the handler still has two", n)
	}
	b.execDone(s1)
	b.execDone(s2)
	b.good(c1) // the handler's outcome; its delivery status says "aborted" (fact 45)
	b.good(c2)
	done := b.get(SubTMDone)
	b.reply(Reply{Handle: done.Handle, Code: done.Code})
	if len(b.fe.tms) != 0 {
		t.Error("the front end hears of a function that it did not send")
	}
	told := b.submit(syncCDB) // and is told by a unit attention
	b.none()
	b.ended(told, scsi.CheckCondition, "06/29/00")
	b.doWrite(8)
	b.close()
}

// R70: the handler is cut off: every command that it has or that waits for it
// is answered, and it is not heard any more.
func TestR70OverdueKill(t *testing.T) {
	for _, n := range []int{1, 500} {
		// Long enough to bring all of them on their way.
		b, rep := supervised(t, hangs+time.Duration(n)*4*time.Millisecond, ActionKill)
		b.dev.obs = nil
		var hang []*target.Cmd
		var subs []Subcommand
		for range n {
			c, s := b.writeExec(8)
			hang, subs = append(hang, c), append(subs, s)
		}
		back := b.mustExec()
		b.reply(Reply{Handle: back.Handle, Code: SubExec, Type: ReplyBackground})
		queued := b.submit(syncCDB)
		select {
		case <-b.dev.Released():
		case <-time.After(10 * time.Second):
			t.Fatal("the device is not released")
		}
		for _, c := range hang {
			b.ended(c, scsi.CheckCondition, senseLUN)
		}
		b.ended(queued, scsi.Busy, "")
		for _, s := range subs {
			b.refused(completed(s), errESRCH)
		}
		if f := b.fe.freedCount(); f != n+2 {
			t.Errorf("I1: %d commands freed, want %d", f, n+2)
		}
		if l := rep.found(); len(l) == 0 || l[0].Action != ActionKill {
			t.Errorf("reported %v", l)
		}
		b.close()
	}
}

// pinMemory remembers what is pinned.
type pinMemory struct {
	*testMemory
	pinned []uint64
}

func (m *pinMemory) Pin(addr uint64) { m.pinned = append(m.pinned, addr) }

// I3: what a severed handler was using is pinned and serves nobody else, not
// even another device with the same pool.
func TestI3SeverLeavesNoBufferToOthers(t *testing.T) {
	shared := withDesc(func(d *Desc) { d.SGVShared, d.SGVName = true, "shared" })
	b := newBench(t, shared)
	mem := &pinMemory{testMemory: b.mem}
	reg := NewRegistry(Limits{})
	bench2 := func(name string) *bench {
		desc := plainDesc()
		desc.Name, desc.SGVShared, desc.SGVName = name, true, "shared"
		dev, err := reg.Register(desc, mem, nil)
		if err != nil {
			t.Fatal(err)
		}
		x := &bench{t: t, reg: reg, mem: mem.testMemory, obs: &recorder{}, fe: &testFront{}, dev: dev}
		x.sess = x.attach(x.fe)
		return x
	}
	one, two := bench2("one"), bench2("two")
	two.doWrite(8) // its buffer is idle now, and one borrows it
	_, borrowed := one.writeExec(8)
	_, own := one.writeExec(8)
	_, back := one.writeExec(8)
	one.reply(Reply{Handle: back.Handle, Code: SubExec, Type: ReplyBackground})
	_, idle := one.writeExec(8)
	one.execDone(idle)
	using := map[uint64]bool{borrowed.PBuf: true, own.PBuf: true, back.PBuf: true}
	one.dev.Sever()
	one.dev.Sever() // again: nothing
	<-one.dev.Released()
	if len(mem.pinned) != 3 {
		t.Errorf("%d buffers pinned, want 3", len(mem.pinned))
	}
	for _, addr := range mem.pinned {
		if !using[addr] {
			t.Errorf("%#x is pinned, and nobody uses it", addr)
		}
	}
	for range 4 {
		if _, s := two.writeExecAmongFrees(8); using[s.PBuf] {
			t.Errorf("%#x serves another command while the severed handler uses it", s.PBuf)
		}
	}
	if err := two.dev.Close(t.Context()); err != nil {
		t.Error(err)
	}
	b.close()
}

// writeExecAmongFrees is writeExec where ON_CACHED_MEM_FREE may come between.
func (b *bench) writeExecAmongFrees(blocks uint32) (*target.Cmd, Subcommand) {
	b.t.Helper()
	c := b.write(blocks)
	for {
		s, ok := b.tryGet()
		if !ok {
			b.t.Fatal("EXEC did not come")
		}
		switch s.Code {
		case SubExec:
			return c, s
		case SubAllocMem:
			b.reply(allocReply(s, b.mem.alloc(int(s.AllocLen))))
		default:
			b.reply(Reply{Handle: s.Handle, Code: s.Code})
		}
	}
}

// The supervisor goes with its device, however it is released, and one that is
// off does not exist (goleak has the last word).
func TestSupervisorEndsWithDevice(t *testing.T) {
	for _, a := range []Action{ActionReport, ActionReset, ActionKill} {
		b, _ := supervised(t, time.Hour, a)
		b.doWrite(8)
		b.close()
		b.dev.Sever()
	}
	b := newBench(t)
	b.mustExec()
	if b.dev.supervised || b.dev.command1().held != nil {
		t.Error("fetches are noted without a supervisor")
	}
	b.close()
}

// command1 returns a ucmd.
func (d *Device) command1() *Ucmd {
	for _, u := range d.hash {
		if u != nil {
			return u
		}
	}
	return nil
}

func TestOverdueString(t *testing.T) {
	o := Overdue{
		Device: "disk1", Handle: 7, Code: SubExec, Held: 31234 * time.Millisecond, Age: 40 * time.Second,
		SessH: 3, Initiator: "nbd client", CDB: []byte{0x28, 0, 0, 0, 0, 9, 0, 0, 1, 0}, LBA: 9, Background: true,
	}
	const want = "device disk1: the handler has had h=7 (EXEC, answered BACKGROUND) for 31.2s: " +
		"READ(10), CDB 28 00 00 00 00 09 00 00 01 00, lba 9, submitted 40s ago, session 3 (nbd client)"
	if o.String() != want {
		t.Errorf("got  %s\nwant %s", &o, want)
	}
	if s := (&Overdue{Device: "d", Code: SubDetachSess}).String(); s != "device d: the handler has had h=0 (DETACH_SESS) for 0s" {
		t.Error(s)
	}
	for a, want := range []string{"report", "reset", "kill", "action 3"} {
		if got := Action(a).String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// The hot path: a supervised fetch allocates nothing, nor does one that is not.
func TestSupervisionAllocatesNothing(t *testing.T) {
	for _, d := range []time.Duration{0, time.Hour} {
		b, _ := supervised(t, d, ActionReport)
		b.dev.obs = nil
		b.doWrite(8)
		c := b.initCmd(scsi.EncodeWrite16(0, 8, false))
		cdb := scsi.EncodeWrite16(0, 8, false)
		var s Subcommand
		n := testing.AllocsPerRun(200, func() {
			c.Init(cdb.Slice(), scsi.QueueSimple)
			b.sess.Submit(c)
			b.dev.mu.Lock()
			b.dev.take(&s)
			b.dev.mu.Unlock()
			r := Reply{Handle: s.Handle, Code: s.Code, Type: ReplyCompleted}
			if err := b.dev.Reply(&r); err != nil {
				panic(fmt.Sprint(s.Code, err))
			}
		})
		if n != 0 {
			t.Errorf("timeout %v: %v allocations per command", d, n)
		}
		b.close()
	}
}

// What a reset has aborted already is no reason for another one when its time
// is over too.
func TestR68OverdueResetOnce(t *testing.T) {
	b, rep := supervised(t, 6*hangs, ActionReset)
	first := b.mustExec()
	time.Sleep(3 * hangs)
	second := b.mustExec()
	eventually(t, "both reports", func() bool { return len(rep.found()) == 2 })
	for i, want := range []Overdue{{Handle: first.Handle, Action: ActionReset}, {Handle: second.Handle, Action: ActionReport}} {
		if o := rep.found()[i]; o.Handle != want.Handle || o.Action != want.Action {
			t.Errorf("report %d: h=%d %v, want h=%d %v", i, o.Handle, o.Action, want.Handle, want.Action)
		}
	}
	b.get(SubTMReceived)
	b.none()
	b.close()
}

// I3 before the release has flushed the pools: a command that comes in between
// does not get a buffer that a severed handler had.
func TestI3SeveredBufferIsNotPooled(t *testing.T) {
	for _, severed := range []bool{false, true} {
		b := newBench(t)
		s := b.mustExec()
		b.dev.mu.Lock()
		b.dev.severed = severed
		b.dev.mu.Unlock()
		b.execDone(s) // as the release would end it
		idle := 0
		for _, p := range b.dev.PoolStats() {
			idle += int(p.IdleObjects)
		}
		if idle != map[bool]int{false: 1, true: 0}[severed] {
			t.Errorf("severed %v: %d idle buffers", severed, idle)
		}
		b.close()
	}
}
