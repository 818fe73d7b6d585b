package ucmd

import (
	"context"
	"errors"
	"syscall"
	"testing"
	"time"

	"scstuser/scsi"
)

// R15, fact 11: UNREGISTER_DEVICE wakes the waiters and leaves the device
// usable, but non-blocking for good.
func TestR15Unregister(t *testing.T) {
	b := newBench(t)
	defer b.close()
	got := make(chan error)
	go func() {
		_, _, err := b.dev.ReplyAndGet(context.Background(), nil, make([]Subcommand, 1))
		got <- err
	}()
	eventually(t, "a getter waits", func() bool { return b.dev.waiting() == 1 })
	b.dev.Unregister()
	if err := <-got; err != errEAGAIN {
		t.Errorf("the waiting getter: %v, want EAGAIN", err)
	}
	if _, _, err := b.dev.ReplyAndGet(context.Background(), nil, make([]Subcommand, 1)); err != errEAGAIN {
		t.Errorf("a later get: %v, want EAGAIN", err)
	}
	b.doWrite(8)
	if b.dev.GetOptions() != plainDesc().Opt {
		t.Error("GET_OPTIONS after UNREGISTER")
	}
}

// R10, fact 12: whether gets wait is decided at the registration.
func TestR10NonBlockingIsLatched(t *testing.T) {
	b := newBareBench(t, withDesc(func(d *Desc) { d.NonBlocking = true }))
	defer b.close()
	if _, _, err := b.dev.ReplyAndGet(context.Background(), nil, make([]Subcommand, 1)); err != errEAGAIN {
		t.Errorf("%v, want EAGAIN", err)
	}
}

func TestR16GetReturnsWhatWasSet(t *testing.T) {
	b := newBareBench(t)
	defer b.close()
	for name, f := range okOpts {
		want := plainDesc().Opt
		f(&want)
		if err := b.dev.SetOptions(want); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if got := b.dev.GetOptions(); got != want {
			t.Errorf("%s: got %+v, want %+v", name, got, want)
		}
	}
}

func TestR20BadOptionsChangeNothing(t *testing.T) {
	b := newBareBench(t)
	defer b.close()
	for name, f := range badOpts {
		o := plainDesc().Opt
		o.DSense = 1 // would be a change
		f(&o)
		if err := b.dev.SetOptions(o); !errors.Is(err, errEINVAL) {
			t.Errorf("%s: %v, want EINVAL", name, err)
		}
		if got := b.dev.GetOptions(); got != plainDesc().Opt {
			t.Fatalf("%s: options are now %+v", name, got)
		}
	}
}

// R16: commands that don't end in time make it EBUSY, and nothing changes.
func TestR16BusyWithOutstandingExec(t *testing.T) {
	b := newBench(t, withLimits(Limits{SuspendTimeout: 20 * time.Millisecond}))
	defer b.close()
	_, s := b.writeExec(8)
	o := plainDesc().Opt
	o.OnFree = uint8(OnFreeCall)
	if err := b.dev.SetOptions(o); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("SET_OPTIONS: %v, want EBUSY", err)
	}
	if err := b.dev.FlushCache(); !errors.Is(err, syscall.EBUSY) {
		t.Errorf("FLUSH_CACHE: %v, want EBUSY (R35)", err)
	}
	if b.dev.GetOptions() != plainDesc().Opt {
		t.Error("the options have changed")
	}
	b.execDone(s)
	if err := b.dev.SetOptions(o); err != nil {
		t.Errorf("SET_OPTIONS with nothing outstanding: %v", err)
	}
}

// Fact 10: with an outstanding EXEC the call waits until that is answered, and
// new commands wait for the call.
func TestR16WaitsForOutstandingExec(t *testing.T) {
	b := newBench(t)
	defer b.close()
	_, s := b.writeExec(8)
	o := plainDesc().Opt
	o.OnFree = uint8(OnFreeCall)
	set := make(chan error)
	go func() { set <- b.dev.SetOptions(o) }()
	select {
	case err := <-set:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	held := b.write(8)
	b.none()
	// R18: the command that was under way ends as it began: without ON_FREE.
	b.execDone(s)
	if err := <-set; err != nil {
		t.Fatal(err)
	}
	s = b.waitGet()
	if s.Code == SubAllocMem { // the buffer was not idle yet
		b.reply(Reply{Handle: s.Handle, Code: s.Code, PBuf: b.mem.alloc(int(s.AllocLen))})
		s = b.get(SubExec)
	}
	b.execDone(s)
	b.good(held)
	b.get(SubOnFree)
	b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
}

// R18: on_free changes for subsequent commands; one that waited for its
// response to leave meanwhile, and so was not active, keeps what it had.
func TestR18OnFreeIsLatchedPerCommand(t *testing.T) {
	b := newBench(t)
	defer b.close()
	b.fe.setHold(true)
	_, s := b.writeExec(8)
	b.execDone(s)
	o := plainDesc().Opt
	o.OnFree = uint8(OnFreeCall)
	if err := b.dev.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	b.fe.setHold(false)
	b.fe.deliver()
	b.none()
	_, s = b.writeExec(8)
	b.execDone(s)
	b.get(SubOnFree)
	b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
}

func TestR18ParseAndReuseChange(t *testing.T) {
	b := newBench(t)
	defer b.close()
	b.doWrite(8)
	o := plainDesc().Opt
	o.Reuse, o.Parse = uint8(ReuseNone), uint8(ParseCall)
	if err := b.dev.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	b.write(8)
	s := b.get(SubParse)
	b.reply(goodParse(s, scsi.DirWrite, 4096))
	b.get(SubAllocMem) // though an idle buffer is there
	b.reply(Reply{Handle: s.Handle, Code: SubAllocMem, PBuf: b.mem.alloc(4096)})
	b.execDone(b.get(SubExec))
}

// R18: D_SENSE and its like reach the target at once.
func TestR18ControlModeFields(t *testing.T) {
	b := newBench(t)
	defer b.close()
	o := plainDesc().Opt
	o.DSense = 1
	if err := b.dev.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	c := b.submit(scsi.CDB{Bytes: [16]byte{0xc1}, Len: 10})
	if len(c.Sense()) == 0 || c.Sense()[0]&0x7f != 0x72 {
		t.Errorf("sense % x, want descriptor format", c.Sense())
	}
}

func TestR19TSTWithSessions(t *testing.T) {
	b := newBareBench(t)
	defer b.close()
	other := plainDesc().Opt
	other.TST = 0
	if err := b.dev.SetOptions(other); err != nil {
		t.Fatalf("without sessions: %v", err)
	}
	b.sess = b.attach(b.fe)
	if err := b.dev.SetOptions(plainDesc().Opt); !errors.Is(err, errEINVAL) {
		t.Errorf("with a session: %v, want EINVAL", err)
	}
	if b.dev.GetOptions() != other {
		t.Error("the options have changed")
	}
	if err := b.dev.SetOptions(other); err != nil {
		t.Errorf("the same tst: %v", err)
	}
}

// R21: partial transfers are accepted, stored and never acted on.
func TestR21PartialTransfers(t *testing.T) {
	b := newBench(t, withDesc(func(d *Desc) { d.Opt.PartialType, d.Opt.PartialLen = 2, 512 }))
	defer b.close()
	_, s := b.writeExec(8)
	if s.BufLen != 4096 || s.ParentHandle != 0 || s.ParentDataLen != 0 || s.PartialOffset != 0 {
		t.Errorf("EXEC %+v", s)
	}
	b.execDone(s)
	if o := b.dev.GetOptions(); o.PartialType != 2 || o.PartialLen != 512 {
		t.Errorf("options %+v", o)
	}
}

// R12 holds for SET_OPTIONS as well: there is no other parser.
func TestR12SetOptionsKeepsParseCall(t *testing.T) {
	b := newBareBench(t, withDesc(func(d *Desc) { d.Type, d.BlockSize = 0x01, 0 }))
	defer b.close()
	o := plainDesc().Opt
	o.Parse = uint8(ParseStandard)
	if err := b.dev.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	if got := b.dev.GetOptions().Parse; ParseType(got) != ParseCall {
		t.Errorf("parse type %d, want call", got)
	}
}
