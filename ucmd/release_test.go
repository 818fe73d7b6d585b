package ucmd

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// R70: what becomes of each subcommand when the handler dies, fetched or not.
func TestR70EveryState(t *testing.T) {
	type outcome struct {
		status scsi.Status
		sense  string
	}
	lun := outcome{scsi.CheckCondition, senseLUN}
	busy := outcome{scsi.Busy, ""}
	gone := outcome{scsi.CheckCondition, senseAborted}
	good := outcome{scsi.Good, ""}
	write := func(b *bench) *target.Cmd { return b.write(8) }
	for _, x := range []struct {
		name    string
		opts    []benchOpt
		prepare func(b *bench) *target.Cmd // brings a subcommand to the ready list
		fetched outcome
		queued  outcome
	}{
		{"PARSE", []benchOpt{withParse(ParseCall)}, write, lun, busy},
		{"ALLOC_MEM", nil, write, lun, busy},
		{"EXEC", nil, func(b *bench) *target.Cmd { return b.submit(syncCDB) }, lun, busy},
		{"EXEC, owns its buffer", nil, func(b *bench) *target.Cmd {
			c := b.write(8)
			b.reply(allocReply(b.get(SubAllocMem), b.mem.alloc(4096)))
			return c
		}, lun, busy},
		{"EXEC, owns its buffer, on_free call", []benchOpt{withOnFree(OnFreeCall)}, func(b *bench) *target.Cmd {
			c := b.write(8)
			b.reply(allocReply(b.get(SubAllocMem), b.mem.alloc(4096)))
			return c
		}, lun, busy},
		{"EXEC, no reuse", []benchOpt{withReuse(ReuseNone)}, func(b *bench) *target.Cmd {
			c := b.write(8)
			b.reply(allocReply(b.get(SubAllocMem), b.mem.alloc(4096)))
			return c
		}, lun, busy},
		{"EXEC of a READ", nil, func(b *bench) *target.Cmd { return b.read(8) }, lun, busy},
		{"ON_FREE_CMD", []benchOpt{withOnFree(OnFreeCall)}, func(b *bench) *target.Cmd {
			c, s := b.writeExec(8)
			b.execDone(s)
			return c
		}, good, good},
		{"ON_FREE_CMD, no reuse", []benchOpt{withOnFree(OnFreeCall), withReuse(ReuseNone)}, func(b *bench) *target.Cmd {
			c, s := b.writeExec(8)
			b.execDone(s)
			return c
		}, good, good},
		{"ON_CACHED_MEM_FREE", nil, func(b *bench) *target.Cmd {
			b.doWrite(8)
			_ = b.dev.FlushCache()
			return nil
		}, good, good},
		{"REQUEST SENSE of its own", nil, func(b *bench) *target.Cmd {
			c := b.submit(syncCDB)
			r := completed(b.get(SubExec))
			r.Status = scsi.CheckCondition
			b.reply(r)
			return c
		}, outcome{scsi.CheckCondition, senseHardware}, outcome{scsi.CheckCondition, senseHardware}},
		{"WRITE of a WRITE SAME", nil, func(b *bench) *target.Cmd {
			c, s := b.writeSame(16)
			b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyDoWriteSame})
			return c
		}, lun, busy},
	} {
		for _, fetched := range []bool{true, false} {
			name, want := x.name+" queued", x.queued
			if fetched {
				name, want = x.name+" fetched", x.fetched
			}
			t.Run(name, func(t *testing.T) {
				b := newBench(t, x.opts...)
				c := x.prepare(b)
				if fetched {
					if _, ok := b.tryGet(); !ok {
						t.Fatal("nothing is ready")
					}
					b.none()
				}
				b.close()
				if c != nil {
					b.ended(c, want.status, want.sense)
					if n := b.fe.freedCount(); n != 1 {
						t.Errorf("I1: freed %d times", n)
					}
				}
				if !b.fe.gone {
					t.Error("the front end was not told")
				}
			})
		}
	}
	t.Run("aborted stays aborted", func(t *testing.T) {
		b := newBench(t)
		c := b.submit(syncCDB)
		b.get(SubExec)
		b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.AbortTaskSet})
		b.close()
		b.ended(c, gone.status, gone.sense)
		if got := b.fe.tmResult(t); got != target.TMFailed {
			t.Errorf("the function ended with %d, want FAILED", got)
		}
	})
	t.Run("given back to the ready list", func(t *testing.T) {
		b := newBench(t)
		c := b.submit(syncCDB)
		s := b.get(SubExec)
		b.dev.Requeue(s.Handle)
		b.close()
		b.ended(c, lun.status, lun.sense)
	})
	t.Run("EXT_COPY_REMAP", func(t *testing.T) {
		b, _, over := remapBench(t)
		b.close()
		if calls, _, _ := over(); calls != 0 || b.fe.freedCount() != 1 {
			t.Errorf("the target was called %d times, %d commands freed", calls, b.fe.freedCount())
		}
	})
}

func TestR70TaskMgmt(t *testing.T) {
	for stages := range 3 { // how many are fetched
		b := newBench(t)
		b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
		for _, code := range []Subcode{SubTMReceived, SubTMDone}[:stages] {
			b.get(code)
		}
		b.close()
		if got := b.fe.tmResult(t); got != target.TMFailed {
			t.Errorf("%d stages fetched: result %d, want FAILED", stages, got)
		}
	}
}

func TestR70Detach(t *testing.T) {
	for _, fetched := range []bool{true, false} {
		b := newBench(t)
		closed := make(chan error)
		go func() { closed <- b.sess.Close(context.Background()) }()
		if fetched {
			b.waitGet()
		} else {
			eventually(t, "it is queued", b.dev.Poll)
		}
		b.close()
		if err := <-closed; err != nil {
			t.Error(err)
		}
	}
}

// gate stops whoever comes through it until it is opened.
type gate struct{ reached, open chan struct{} }

func newGate() *gate { return &gate{make(chan struct{}), make(chan struct{})} }

func (g *gate) pass() {
	close(g.reached)
	<-g.open
}

// gatedMemory stops in Map or Unmap.
type gatedMemory struct {
	*testMemory
	onMap, onUnmap *gate
}

func (m *gatedMemory) Map(addr uint64, n int) ([]byte, error) {
	if g := m.onMap; g != nil {
		m.onMap = nil
		g.pass()
	}
	return m.testMemory.Map(addr, n)
}

func (m *gatedMemory) Unmap(addr uint64, data []byte) {
	if g := m.onUnmap; g != nil {
		m.onUnmap = nil
		g.pass()
	}
	m.testMemory.Unmap(addr, data)
}

// gatedFront stops in XmitResponse.
type gatedFront struct {
	*testFront
	onXmit *gate
}

func (f *gatedFront) XmitResponse(c *target.Cmd) {
	if g := f.onXmit; g != nil {
		f.onXmit = nil
		g.pass()
	}
	f.testFront.XmitResponse(c)
}

// The handler dies while one of its threads is inside a call: the release
// waits for what that one has in hand, gives up the rest, and ends.
func TestReleaseDuringACall(t *testing.T) {
	for _, x := range []struct {
		name string
		opts []benchOpt
		// prepare returns the call to stop in, and where it stops.
		prepare func(b *bench, m *gatedMemory, f *gatedFront, g *gate) (call func())
		status  scsi.Status
		sense   string
	}{
		{"ALLOC_MEM reply, mapping", nil, func(b *bench, m *gatedMemory, _ *gatedFront, g *gate) func() {
			b.write(8)
			r := allocReply(b.get(SubAllocMem), b.mem.alloc(4096))
			m.onMap = g
			return func() { _ = b.dev.Reply(&r) }
			// EXEC does not get to the handler any more.
		}, scsi.CheckCondition, senseLUN},
		{"ALLOC_MEM reply, getting the payload", nil, func(b *bench, _ *gatedMemory, f *gatedFront, g *gate) func() {
			b.write(8)
			r := allocReply(b.get(SubAllocMem), b.mem.alloc(4096))
			f.payload = func(*target.Cmd) { g.pass() }
			return func() { _ = b.dev.Reply(&r) }
		}, scsi.CheckCondition, senseLUN},
		{"EXEC reply, sending the response", nil, func(b *bench, _ *gatedMemory, f *gatedFront, g *gate) func() {
			_, s := b.writeExec(8)
			f.onXmit = g
			r := completed(s)
			return func() { _ = b.dev.Reply(&r) }
		}, scsi.Good, ""},
		{"EXEC reply of a READ, mapping", nil, func(b *bench, m *gatedMemory, _ *gatedFront, g *gate) func() {
			b.read(8)
			r := completed(b.get(SubExec))
			r.RespDataLen, r.PBuf = 4096, b.mem.alloc(4096)
			m.onMap = g
			return func() { _ = b.dev.Reply(&r) }
		}, scsi.Good, ""},
		{"BACKGROUND reply, sending the response", nil, func(b *bench, _ *gatedMemory, f *gatedFront, g *gate) func() {
			_, s := b.writeExec(8)
			f.onXmit = g
			r := completed(s)
			r.Type = ReplyBackground
			return func() { _ = b.dev.Reply(&r) }
		}, scsi.Good, ""},
		{"BACKGROUND reply, on_free call", []benchOpt{withOnFree(OnFreeCall)}, func(b *bench, _ *gatedMemory, f *gatedFront, g *gate) func() {
			_, s := b.writeExec(8)
			f.onXmit = g
			r := completed(s)
			r.Type = ReplyBackground
			return func() { _ = b.dev.Reply(&r) }
		}, scsi.Good, ""},
		{"ON_FREE_CMD reply, unmapping", []benchOpt{withOnFree(OnFreeCall), withReuse(ReuseNone)}, func(b *bench, m *gatedMemory, _ *gatedFront, g *gate) func() {
			_, s := b.writeExec(8)
			b.execDone(s)
			r := Reply{Handle: b.get(SubOnFree).Handle, Code: SubOnFree}
			m.onUnmap = g
			return func() { _ = b.dev.Reply(&r) }
		}, scsi.Good, ""},
		{"FLUSH_CACHE, unmapping", nil, func(b *bench, m *gatedMemory, _ *gatedFront, g *gate) func() {
			b.doWrite(8)
			m.onUnmap = g
			return func() { _ = b.dev.FlushCache() }
		}, scsi.Good, ""},
		{"PREALLOC, mapping", nil, func(b *bench, m *gatedMemory, _ *gatedFront, g *gate) func() {
			b.doWrite(8)
			pbuf := b.mem.alloc(65536)
			m.onMap = g
			return func() { _, _ = b.dev.Prealloc(pbuf, 65536, false) }
		}, scsi.Good, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBareBench(t, x.opts...)
			m := &gatedMemory{testMemory: b.mem}
			b.dev.mem = m
			f := &gatedFront{testFront: b.fe}
			b.sess = b.attach(f)
			var last *target.Cmd
			f.hold = true // to look at the outcome
			g := newGate()
			f.setHold(false)
			call := x.prepare(b, m, f, g)
			f.setHold(true)
			returned := make(chan struct{})
			go func() {
				call()
				close(returned)
			}()
			<-g.reached
			b.dev.Release()
			select {
			case <-b.dev.Released():
				t.Error("the release did not wait for what was in hand")
			case <-time.After(20 * time.Millisecond):
			}
			f.setHold(false)
			close(g.open)
			<-returned
			f.mu.Lock()
			if len(f.resp) > 0 {
				last = f.resp[0]
			}
			f.mu.Unlock()
			f.deliver()
			b.close()
			if last != nil {
				b.ended(last, x.status, x.sense)
			}
			b.refused(Reply{}, errESRCH) // the device is gone, calls are harmless
		})
	}
}

// A reply that comes after its command was given up is refused or ignored.
func TestReplyAfterRelease(t *testing.T) {
	b := newBench(t)
	_, s := b.writeExec(8)
	b.close()
	b.refused(completed(s), errESRCH)
	b.dev.Requeue(s.Handle)
	if _, err := b.dev.ExtendedCDB(s.Handle); err != errESRCH {
		t.Error(err)
	}
	if err := b.dev.FlushCache(); err != nil {
		t.Error(err)
	}
	b.dev.CapacityChanged()
	b.dev.Unregister()
	b.close() // again
}

// The release begins while getters are busy: none walks off with a command
// that the cleanup does not see.
func TestReleaseAmongBusyGetters(t *testing.T) {
	for range 60 {
		b := newBench(t)
		b.dev.obs = nil
		for range 100 {
			b.submit(syncCDB)
		}
		var wg sync.WaitGroup
		for range 2 {
			wg.Go(func() {
				for {
					if _, ok := b.tryGet(); !ok {
						return
					}
				}
			})
		}
		start := time.Now()
		b.close()
		if d := time.Since(start); d > 5*time.Second {
			t.Fatalf("the release took %v", d)
		}
		wg.Wait()
		if n := b.fe.freedCount(); n != 100 {
			t.Errorf("I1: %d commands freed", n)
		}
	}
}

// I5: a front end that sits on a response can hold the release only for so
// long; it is named, and what it does later is harmless.
func TestI5FrontEndHoldsAResponse(t *testing.T) {
	for i, opts := range [][]benchOpt{nil, {withOnFree(OnFreeCall)}, {withReuse(ReuseNone), withOnFree(OnFreeCall)}, nil, {withOnFree(OnFreeCall)}} {
		b := newBench(t, append(opts, withLimits(Limits{ReleaseTimeout: 50 * time.Millisecond}))...)
		b.fe.setHold(true)
		_, s := b.writeExec(8)
		owners := "creation+sgv"
		if i < 3 {
			b.execDone(s)
		} else {
			b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyBackground})
			owners += "+background"
		}
		var stuck *StuckError
		if err := b.dev.Close(t.Context()); !errors.As(err, &stuck) || len(stuck.Commands) != 1 {
			t.Fatalf("release: %v, want a StuckError", err)
		}
		if c := stuck.Commands[0]; c.Handle != s.Handle || c.State != StateExecing || !c.HasCmd || c.Owners != owners {
			t.Errorf("reported %v", c)
		}
		if !errors.Is(stuck, context.DeadlineExceeded) {
			t.Errorf("%v does not say why", stuck)
		}
		if len(b.reg.Devices()) != 0 {
			t.Error("the name is not free")
		}
		// The response leaves at last: everything goes its way (I1, I3).
		b.fe.setHold(false)
		b.fe.deliver()
		b.checkGone()
		if n := b.fe.freedCount(); n != 1 {
			t.Errorf("freed %d times", n)
		}
		detached(t, b)
	}
}

// detached waits for what a release in time would have waited for.
func detached(t *testing.T, b *bench) {
	t.Helper()
	if err := b.sess.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

// stallFront never has the payload until DataReceived is called.
type stallFront struct{ *testFront }

func (stallFront) RdyToXfer(*target.Cmd) target.Verdict { return target.Stop }

// I5, I1: likewise for one that does not bring a WRITE's data. When it does
// the command ends, though nobody is left to hand it to.
func TestI5FrontEndHoldsACommand(t *testing.T) {
	b := newBareBench(t, withLimits(Limits{ReleaseTimeout: 50 * time.Millisecond}))
	b.sess = b.attach(stallFront{b.fe})
	c := b.write(8)
	b.reply(allocReply(b.get(SubAllocMem), b.mem.alloc(4096)))
	var stuck *StuckError
	if err := b.dev.Close(t.Context()); !errors.As(err, &stuck) || len(stuck.Commands) != 1 {
		t.Fatalf("release: %v, want a StuckError", err)
	}
	c.DataReceived()
	b.ended(c, scsi.CheckCondition, senseLUN)
	b.checkGone()
	detached(t, b)
}

// I5 with many ucmds: the cleanup is not quadratic in them.
func TestI5ManyUcmds(t *testing.T) {
	const n = 20000
	b := newBench(t, withLimits(Limits{MaxUcmds: 2*n + 10}))
	b.dev.obs = nil
	for range n {
		b.submit(syncCDB)
	}
	for range n / 2 { // half are fetched
		b.get(SubExec)
	}
	start := time.Now()
	b.close()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("releasing %d commands took %v", n, d)
	}
	if f := b.fe.freedCount(); f != n {
		t.Errorf("I1: %d commands freed, want %d", f, n)
	}
}
