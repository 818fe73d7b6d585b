package ucmd

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"syscall"
	"testing"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// withGrace makes handlers replaceable, for longer than any test waits.
func withGrace(l Limits) benchOpt {
	if l.HandlerGrace == 0 {
		l.HandlerGrace = time.Minute
	}
	return withLimits(l)
}

// die lets the bench's handler die and waits until nothing of it is left.
func (b *bench) die() *Device {
	b.t.Helper()
	old := b.dev
	old.HandlerGone()
	select {
	case <-old.grace.dead:
	case <-time.After(10 * time.Second):
		b.t.Fatal("I5: the dead device's cleanup does not end")
	}
	if l := old.Commands(); len(l) > 0 {
		b.t.Errorf("I4: ucmds of the dead device are left: %v", l)
	}
	for _, s := range old.PoolStats() {
		if s.IdleObjects != 0 || s.TotalPages != 0 {
			b.t.Errorf("I4: pool %s is not empty: %+v", s.Name, s)
		}
	}
	if n := b.mem.mapped(); n != 0 {
		b.t.Errorf("I3: %d buffers are still mapped", n)
	}
	if old.adopting() {
		b.t.Error("it is dead, and still takes sessions over")
	}
	return old
}

// again registers the device anew, by another handler, and answers its
// ATTACH_SESS subcommands.
func (b *bench) again(sessions int) {
	b.t.Helper()
	b.register()
	for range sessions {
		s := b.waitGet()
		if s.Code != SubAttachSess {
			b.t.Fatalf("got %v, want ATTACH_SESS", s.Code)
		}
		b.reply(Reply{Handle: s.Handle, Code: s.Code})
	}
	b.adopted()
}

func (b *bench) register() {
	b.t.Helper()
	old := b.dev
	b.mem = newTestMemory()
	d, err := b.reg.Register(old.Desc(), b.mem, b.obs)
	if err != nil {
		b.t.Fatal(err)
	}
	if d.Target() != old.Target() {
		b.t.Fatal("the successor has another target device")
	}
	b.dev = d
}

func (b *bench) adopted() {
	b.t.Helper()
	select {
	case <-b.dev.adopted:
	case <-time.After(10 * time.Second):
		b.t.Fatal("the adoption does not end")
	}
}

func (b *bench) held(want int) {
	b.t.Helper()
	if g := b.dev.Grace(); g.Held != want || !g.Waiting && !g.Adopting {
		b.t.Fatalf("%+v, want %d commands held", g, want)
	}
}

// finish answers everything well until nothing is ready, and returns the
// EXECs' operation codes in their order.
func (b *bench) finish() (ops []scsi.Opcode) {
	b.t.Helper()
	for {
		s, ok := b.tryGet()
		if !ok {
			return ops
		}
		r := Reply{Handle: s.Handle, Code: s.Code}
		switch s.Code {
		case SubParse:
			r = goodParse(s, scsi.DirNone, 0)
		case SubExec:
			ops = append(ops, scsi.Opcode(s.CDB[0]))
		}
		b.mem.answer(&s, &r)
		b.reply(r)
	}
}

// freed checks that every command submitted so far is back.
func (b *bench) freed(want int) {
	b.t.Helper()
	eventually(b.t, "all commands are freed", func() bool { return b.fe.freedCount() == want })
}

// Without a grace a dead handler's device is released (R70).
func TestHandlerGoneWithoutGrace(t *testing.T) {
	b := newBench(t)
	c, _ := b.writeExec(8)
	b.dev.HandlerGone()
	<-b.dev.Released()
	b.ended(c, scsi.CheckCondition, senseLUN)
	b.checkGone()
}

// The states that a command can be in when its handler dies: from each it is
// run again from its start.
func TestGraceKeepsCommandsInEveryState(t *testing.T) {
	cdb := scsi.EncodeWrite16(0, 8, false)
	for _, x := range []struct {
		name string
		opts []benchOpt
		get  []Subcode // fetched; all but the last are answered
	}{
		{"PARSING, not fetched", []benchOpt{withParse(ParseCall)}, nil},
		{"PARSING, fetched", []benchOpt{withParse(ParseCall)}, []Subcode{SubParse}},
		{"BUF_ALLOCING, not fetched", nil, nil},
		{"BUF_ALLOCING, fetched", nil, []Subcode{SubAllocMem}},
		{"EXECING, fetched", nil, []Subcode{SubAllocMem, SubExec}},
		{"EXECING, fetched, no reuse, on-free called", []benchOpt{withReuse(ReuseNone), withOnFree(OnFreeCall)}, []Subcode{SubAllocMem, SubExec}},
		{"EXECING, fetched, parsed by the handler", []benchOpt{withParse(ParseCall), withOnFree(OnFreeCall)}, []Subcode{SubParse, SubAllocMem, SubExec}},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, append(x.opts, withGrace(Limits{}))...)
			asked := 0
			b.fe.payload = func(c *target.Cmd) { asked++; copy(c.Buf, "payload") }
			c := b.submit(cdb)
			for i, code := range x.get {
				s := b.get(code)
				if i == len(x.get)-1 {
					break
				}
				r := Reply{Handle: s.Handle, Code: s.Code}
				if code == SubParse {
					r = goodParse(s, scsi.DirWrite, 4096)
				}
				b.mem.answer(&s, &r)
				b.reply(r)
			}
			old := b.die()
			b.held(1)
			b.again(1)
			select {
			case <-old.Released():
			case <-time.After(10 * time.Second):
				t.Fatal("Released is not closed although a successor has the name")
			}
			for done := false; !done; {
				s, ok := b.tryGet()
				if !ok {
					t.Fatal("the successor does not get the command")
				}
				r := Reply{Handle: s.Handle, Code: s.Code}
				switch s.Code {
				case SubParse:
					r = goodParse(s, scsi.DirWrite, 4096)
				case SubExec:
					got, err := b.mem.Map(s.PBuf, 7)
					if err != nil || !bytes.Equal(got, []byte("payload")) {
						t.Errorf("the successor got %q, %v", got, err)
					}
					b.mem.Unmap(s.PBuf, got)
					done = true
				}
				b.mem.answer(&s, &r)
				b.reply(r)
			}
			b.good(c)
			b.settleFree()
			b.freed(1)
			if asked != 1 {
				t.Errorf("the front end was asked %d times for the data", asked)
			}
			b.checkRefs()
			b.close()
		})
	}
}

// What was fetched is sent again if it may be carried out twice; what was not
// fetched is, whatever it is.
func TestGraceRepeats(t *testing.T) {
	reserve := scsi.CDB{Bytes: [16]byte{byte(scsi.OpReserve6)}, Len: 6}
	for _, x := range []struct {
		name    string
		cdb     scsi.CDB
		fetched bool
		again   bool
	}{
		{"READ", scsi.EncodeRead16(0, 8, false), true, true},
		{"READ with FUA", scsi.EncodeRead16(0, 8, true), true, true},
		{"SYNCHRONIZE CACHE", scsi.EncodeSyncCache16(0, 0), true, true},
		{"TEST UNIT READY", scsi.EncodeTestUnitReady(), true, true},
		{"INQUIRY", scsi.EncodeInquiry(false, 0, 36), true, true},
		{"READ CAPACITY(16)", scsi.EncodeReadCapacity16(32), true, true},
		{"START STOP UNIT", scsi.EncodeStartStop(true, false), true, true},
		{"RESERVE, fetched", reserve, true, false},
		{"RESERVE, not fetched", reserve, false, true},
		{"unknown, fetched", unknownCDB, true, false},
		{"unknown, not fetched", unknownCDB, false, true},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, withParse(ParseException), withGrace(Limits{}))
			c := b.submit(x.cdb)
			if x.cdb.Bytes[0] == unknownCDB.Bytes[0] && x.fetched {
				s := b.get(SubParse)
				b.reply(goodParse(s, scsi.DirNone, 0))
			}
			if x.fetched {
				b.get(SubExec)
			}
			b.die()
			if !x.again {
				b.ended(c, scsi.CheckCondition, senseLUN)
				b.held(0)
				b.again(1)
				b.none()
				b.close()
				return
			}
			b.held(1)
			b.again(1)
			if ops := b.finish(); !slices.Equal(ops, []scsi.Opcode{scsi.Opcode(x.cdb.Bytes[0])}) {
				t.Errorf("the successor executed %v", ops)
			}
			b.good(c)
			b.close()
		})
	}
}

// What a BIDI command did to the medium shows in what it reads.
func TestGraceDoesNotRepeatBidi(t *testing.T) {
	b := newBench(t, withParse(ParseCall), withGrace(Limits{}))
	c := b.read(8)
	r := goodParse(b.get(SubParse), scsi.DirBidi, 512)
	r.OutBufLen = 512
	b.reply(r)
	s := b.get(SubAllocMem)
	b.reply(Reply{Handle: s.Handle, Code: SubAllocMem, PBuf: b.mem.alloc(int(s.AllocLen))})
	b.get(SubExec)
	b.die()
	b.ended(c, scsi.CheckCondition, senseLUN)
	b.again(1)
	b.close()
}

// The order of submission holds across the restart, whatever the old handler
// had of it, and nothing new overtakes.
func TestGraceKeepsTheOrder(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	cs := []*target.Cmd{
		b.submit(scsi.EncodeSyncCache16(0, 0)),
		b.submit(scsi.EncodeVerify16(0, 8, 0)),
		b.submit(scsi.EncodePreFetch16(0, 8, false)),
		b.submit(scsi.EncodeStartStop(true, false)),
	}
	b.get(SubExec)
	b.get(SubExec)
	third := b.get(SubExec)
	b.execDone(third) // over
	b.good(cs[2])
	b.die()
	late := b.submit(scsi.EncodeRead16(0, 1, false))
	b.held(4)
	b.again(1)
	want := []scsi.Opcode{scsi.OpSyncCache16, scsi.OpVerify16, scsi.OpStartStop, scsi.OpRead16}
	if ops := b.finish(); !slices.Equal(ops, want) {
		t.Errorf("the successor executed %v, want %v", ops, want)
	}
	for _, c := range append(cs, late) {
		b.good(c)
	}
	b.close()
}

// When nobody comes in time, commands fail as without a grace, front ends are
// told and the name is free (R70, R72).
func TestGraceExpires(t *testing.T) {
	b := newBench(t, withGrace(Limits{HandlerGrace: 20 * time.Millisecond}))
	c, _ := b.writeExec(8)
	start := time.Now()
	b.dev.HandlerGone()
	b.waits(t)
	late := b.submit(scsi.EncodeRead16(0, 1, false))
	<-b.dev.Released()
	if d := time.Since(start); d < 20*time.Millisecond {
		t.Errorf("after %v", d)
	}
	b.ended(c, scsi.CheckCondition, senseLUN)
	b.ended(late, scsi.CheckCondition, senseLUN)
	if !b.fe.gone {
		t.Error("the front end was not told")
	}
	if g := b.dev.Grace(); g != (GraceStatus{}) {
		t.Errorf("%+v", g)
	}
	b.close()
	d, err := b.reg.Register(plainDesc(), b.mem, nil)
	if err != nil {
		t.Fatal(err)
	}
	if d.Target() == b.dev.Target() {
		t.Error("the name is free, but the device lives on")
	}
	if err := d.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// waits checks what a device says of a wait that has begun.
func (b *bench) waits(t *testing.T) {
	t.Helper()
	g := b.dev.Grace()
	if !g.Waiting || g.Adopting || time.Since(g.Since) > time.Minute || g.Until.Sub(g.Since) != b.dev.limits.HandlerGrace {
		t.Errorf("%+v", g)
	}
}

// Release is final during the wait too.
func TestReleaseDuringGrace(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	c, _ := b.writeExec(8)
	b.die()
	b.waits(t)
	b.close()
	b.ended(c, scsi.CheckCondition, senseLUN)
	if !b.fe.gone {
		t.Error("the front end was not told")
	}
	b.dev.HandlerGone() // nothing happens any more
}

// Release during the adoption is final too.
func TestReleaseDuringAdoption(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	c, _ := b.writeExec(8)
	old := b.die()
	b.register()
	b.waitGet() // ATTACH_SESS, never answered
	if g := b.dev.Grace(); !g.Adopting || g.Waiting || g.Held != 1 {
		t.Errorf("%+v", g)
	}
	old.Release() // the device is not its any more
	b.held(1)
	b.close()
	b.ended(c, scsi.CheckCondition, senseLUN)
}

// Task management during the wait is answered without a handler.
func TestTaskMgmtDuringGrace(t *testing.T) {
	for _, fn := range []target.TMFunc{target.AbortTask, target.LUNReset} {
		b := newBench(t, withGrace(Limits{}), withDesc(func(d *Desc) { d.Opt.TAS = 1 }))
		c := b.initCmd(scsi.EncodeWrite16(0, 8, false))
		c.Tag = 7
		b.sess.Submit(c)
		b.get(SubAllocMem)
		b.die()
		b.sess.TaskMgmt(&target.MgmtCmd{Fn: fn, Tag: 7})
		if r := b.fe.tmResult(t); r != target.TMSuccess {
			t.Errorf("fn %d: result %d", fn, r)
		}
		b.ended(c, scsi.TaskAborted, "")
		b.held(0)
		b.again(1)
		b.none()
		b.close()
	}
}

// A function that the handler had when it died is over, as its commands are.
func TestTaskMgmtWithTheDeadHandler(t *testing.T) {
	b := newBench(t, withGrace(Limits{}), withDesc(func(d *Desc) { d.Opt.TAS = 1 }))
	c, _ := b.writeExec(8)
	b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
	b.get(SubTMReceived)
	b.die()
	if r := b.fe.tmResult(t); r != target.TMSuccess {
		t.Errorf("result %d", r)
	}
	b.ended(c, scsi.TaskAborted, "")
	b.again(1)
	b.close()
}

// A client that leaves during the wait is detached when its commands are over.
func TestCloseDuringGrace(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	idle := b.attach(b.fe)
	c, _ := b.writeExec(8)
	b.die()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := idle.Close(ctx); err != nil {
		t.Fatal(err)
	}
	short, cancel2 := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel2()
	if err := b.sess.Close(short); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("closed with a command that is held: %v", err)
	}
	b.again(1)
	if ops := b.finish(); len(ops) != 1 {
		t.Errorf("the successor executed %v", ops)
	}
	b.good(c)
	closed := make(chan error, 1)
	go func() { closed <- b.sess.Close(ctx) }()
	eventually(t, "the session is detached", func() bool {
		b.finish() // DETACH_SESS, whenever it comes
		select {
		case err := <-closed:
			return err == nil
		default:
			return false
		}
	})
	b.close()
}

// A client that comes during the wait waits too.
func TestAttachDuringGrace(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	b.die()
	got := b.attachAsync(b.fe)
	b.again(1)
	s := b.waitGet()
	if s.Code != SubAttachSess {
		t.Fatalf("got %v, want ATTACH_SESS", s.Code)
	}
	b.reply(Reply{Handle: s.Handle, Code: s.Code})
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	b.settleFree()
	b.close()
}

// An ATTACH_SESS that a handler had when it died is asked of the next one.
func TestAttachWhenTheHandlerDies(t *testing.T) {
	b := newBareBench(t, withGrace(Limits{}))
	got := b.attachAsync(b.fe)
	b.waitGet()
	b.die()
	b.again(0)
	s := b.waitGet()
	b.reply(Reply{Handle: s.Handle, Code: s.Code})
	if err := <-got; err != nil {
		t.Fatal(err)
	}
	b.close()
}

// A handler that does not fit is refused, and the wait goes on.
func TestGraceRefusesAnotherKindOfDevice(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	c, _ := b.writeExec(8)
	b.die()
	for _, x := range []struct {
		name string
		f    func(*Desc)
	}{
		{"type", func(d *Desc) { d.Type = TypeMO }},
		{"block size", func(d *Desc) { d.BlockSize = 4096 }},
		{"TST", func(d *Desc) { d.Opt.TST = 0 }},
		{"no device at all", func(d *Desc) { d.BlockSize = 0 }},
	} {
		desc := plainDesc()
		x.f(&desc)
		if _, err := b.reg.Register(desc, b.mem, nil); !errors.Is(err, syscall.EINVAL) {
			t.Errorf("%s: %v, want EINVAL", x.name, err)
		}
		b.held(1)
	}
	b.again(1)
	b.finish()
	b.good(c)
	b.close()
}

// The name has one owner: a second registration is refused while a first one
// takes over, and after.
func TestGraceHasOneSuccessor(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	b.die()
	b.register()
	for range 2 {
		if _, err := b.reg.Register(plainDesc(), newTestMemory(), nil); !errors.Is(err, syscall.EEXIST) {
			t.Errorf("%v, want EEXIST", err)
		}
	}
	s := b.waitGet()
	b.reply(Reply{Handle: s.Handle, Code: s.Code})
	b.adopted()
	if got := b.reg.Devices(); len(got) != 1 || got[0] != b.dev {
		t.Errorf("devices: %v", got)
	}
	b.close()
}

// The options of the successor apply.
func TestGraceAppliesOptions(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	b.die()
	b.dev.desc.Opt.DSense, b.dev.desc.Opt.TAS = 1, 1
	b.register()
	// While its sessions are taken over the handler may be busy with this.
	o := b.dev.GetOptions()
	o.TAS = 0
	if err := b.dev.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	s := b.waitGet()
	b.reply(Reply{Handle: s.Handle, Code: s.Code})
	b.adopted()
	c := b.submit(unknownCDB)
	if got := c.Sense()[0]; got != 0x72 {
		t.Errorf("sense of format %#x, want descriptors", got)
	}
	c = b.read(8)
	b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.AbortTaskSet})
	b.get(SubTMReceived)
	b.finish()
	b.ended(c, scsi.CheckCondition, "0b/44/00")
	b.close()
}

// A dead device takes no orders.
func TestDeadDeviceHasNoOptions(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	b.die()
	if err := b.dev.SetOptions(b.dev.GetOptions()); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("SetOptions: %v", err)
	}
	if err := b.dev.FlushCache(); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("FlushCache: %v", err)
	}
	if _, err := b.dev.Prealloc(0x1000, 4096, false); !errors.Is(err, syscall.ENODEV) {
		t.Errorf("Prealloc: %v", err)
	}
	b.close()
}

// A command answered BACKGROUND is over for its initiator: its reference goes
// with its handler, and nobody sees it again.
func TestGraceDropsBackground(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	c, s := b.writeExec(8)
	b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyBackground})
	b.good(c)
	b.die()
	b.held(0)
	b.again(1)
	b.none()
	b.close()
}

// A WRITE SAME that the target was carrying out is repeated from its start.
func TestGraceRepeatsWriteSame(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	c := b.submit(scsi.EncodeWriteSame16(0, 4, false, false))
	s := b.get(SubAllocMem)
	b.reply(Reply{Handle: s.Handle, Code: SubAllocMem, PBuf: b.mem.alloc(int(s.AllocLen))})
	s = b.get(SubExec)
	b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyDoWriteSame})
	b.get(SubAllocMem) // of the first WRITE
	b.die()
	b.held(1)
	b.again(1)
	if ops := b.finish(); !slices.Equal(ops, []scsi.Opcode{scsi.OpWriteSame16}) {
		t.Errorf("the successor executed %v", ops)
	}
	b.good(c)
	b.close()
}

// A handler that dies while it is asked about the sessions of the last one
// leaves everything as it was.
func TestSecondDeathDuringGrace(t *testing.T) {
	for _, fetch := range []int{0, 1, 2} {
		b := newBench(t, withGrace(Limits{}))
		b.attach(&testFront{})
		c, _ := b.writeExec(8)
		b.die()
		b.register()
		for i := range fetch {
			s := b.waitGet()
			if i < fetch-1 {
				b.reply(Reply{Handle: s.Handle, Code: s.Code})
			}
		}
		b.die()
		b.held(1)
		if n := len(b.dev.Target().Sessions()); n != 2 {
			t.Fatalf("%d sessions are left", n)
		}
		b.again(2)
		b.finish()
		b.good(c)
		b.close()
	}
}

// A session that the next handler refuses, or does not answer about, goes as
// with a release; the others go on.
func TestSuccessorRefuses(t *testing.T) {
	for _, answer := range []bool{true, false} {
		b := newBench(t, withGrace(Limits{AttachTimeout: 20 * time.Millisecond}))
		f := &testFront{}
		other := b.attach(f)
		lost := b.submitTo(other, scsi.EncodeWrite16(0, 8, false), scsi.QueueSimple)
		kept, _ := b.submit(scsi.EncodeRead16(0, 8, false)), b.get(SubAllocMem)
		b.die()
		b.register()
		for range 2 {
			s := b.waitGet()
			r := Reply{Handle: s.Handle, Code: s.Code}
			if s.SessH == other.Handle() {
				r.Result = -int32(syscall.EBUSY)
				if !answer {
					continue
				}
			}
			b.reply(r)
		}
		b.adopted()
		b.ended(lost, scsi.CheckCondition, senseLUN)
		if !f.gone || b.fe.gone {
			t.Errorf("told: %v, %v", f.gone, b.fe.gone)
		}
		b.finish()
		b.good(kept)
		b.close()
	}
}

// slowFront gets its data when the test says so.
type slowFront struct {
	testFront
	waits *target.Cmd
}

func (f *slowFront) RdyToXfer(c *target.Cmd) target.Verdict {
	f.waits = c
	return target.Stop
}

// A client that is slow to send, or to take a response, neither loses its
// command nor keeps a successor waiting for long, and the buffer that it uses
// stays until it is done.
func TestGraceWithASlowClient(t *testing.T) {
	slow := &slowFront{}
	b := newBench(t, withGrace(Limits{HandlerGrace: 400 * time.Millisecond}))
	s := b.attach(slow)
	w := b.submitTo(s, scsi.EncodeWrite16(0, 8, false), scsi.QueueSimple)
	sub := b.get(SubAllocMem)
	b.reply(Reply{Handle: sub.Handle, Code: SubAllocMem, PBuf: b.mem.alloc(int(sub.AllocLen))})
	b.fe.setHold(true)
	r := b.read(8)
	b.execDone(b.get(SubExec))
	old, mem := b.dev, b.mem
	start := time.Now()
	old.HandlerGone()
	b.again(2)
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("the successor had to wait %v", d)
	}
	if mem.mapped() != 2 {
		t.Errorf("%d buffers are mapped, want those of both clients", mem.mapped())
	}
	copy(slow.waits.Buf, "payload")
	slow.waits.DataReceived()
	b.fe.deliver()
	b.good(r)
	sub = b.get(SubAllocMem)
	b.reply(Reply{Handle: sub.Handle, Code: SubAllocMem, PBuf: b.mem.alloc(int(sub.AllocLen))})
	sub = b.get(SubExec)
	got, err := b.mem.Map(sub.PBuf, 7)
	if err != nil || !bytes.Equal(got, []byte("payload")) {
		t.Errorf("the successor got %q, %v", got, err)
	}
	b.mem.Unmap(sub.PBuf, got)
	b.execDone(sub)
	b.good(w)
	if n := mem.mapped(); n != 0 {
		t.Errorf("I3: %d buffers of the dead handler are mapped", n)
	}
	if l := old.Commands(); len(l) != 0 {
		t.Errorf("I4: %v", l)
	}
	b.close()
}

// Devices that shared a pool with their dead handler come back one by one.
func TestGraceOfDevicesThatShareAPool(t *testing.T) {
	share := func(name string) Desc {
		d := plainDesc()
		d.Name, d.SGVName, d.SGVShared = name, "both", true
		return d
	}
	reg := NewRegistry(Limits{HandlerGrace: time.Minute})
	mem := newTestMemory()
	var devs [2]*Device
	for range 3 {
		for i, name := range []string{"one", "two"} {
			d, err := reg.Register(share(name), mem, nil)
			if err != nil {
				t.Fatal(err)
			}
			devs[i] = d
		}
		for _, d := range devs {
			d.HandlerGone()
		}
		mem = newTestMemory()
	}
	for _, d := range devs {
		if err := d.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(reg.Devices()); n != 0 {
		t.Errorf("%d devices are left", n)
	}
}

// The end of the wait, a registration and a release at the same moment: the
// name has one owner, the command one end.
func TestGraceRaces(t *testing.T) {
	for i := range 60 {
		b := newBench(t, withGrace(Limits{HandlerGrace: time.Millisecond}))
		c, _ := b.writeExec(8)
		b.dev.HandlerGone()
		if i%3 == 0 {
			go b.dev.Release()
		}
		time.Sleep(time.Duration(i) * 40 * time.Microsecond)
		var d *Device
		eventually(t, "the name is free", func() bool {
			var err error
			d, err = b.reg.Register(plainDesc(), b.mem, nil)
			return err == nil
		})
		old := b.dev
		b.dev = d
		if d.Target() == old.Target() {
			s := b.waitGet()
			b.reply(Reply{Handle: s.Handle, Code: s.Code})
			b.adopted()
			b.finish()
			b.good(c)
		} else {
			<-old.Released()
			b.ended(c, scsi.CheckCondition, senseLUN)
		}
		b.freed(1)
		b.close()
		if err := old.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// A command that handlers die of does not kill them for ever (I7).
func TestGraceGivesUpACommandThatKills(t *testing.T) {
	b := newBench(t, withGrace(Limits{}))
	c := b.read(8)
	for range maxRepeats {
		b.get(SubExec)
		b.die()
		b.held(1)
		b.again(1)
	}
	b.get(SubExec)
	b.die()
	b.held(0)
	b.ended(c, scsi.CheckCondition, senseLUN)
	b.again(1)
	b.close()
}
