package ucmd

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"scstuser/scsi"
)

// The famous failure: a ucmd in ON_FREE_SKIPPED that nothing lets go of keeps
// its device's cleanup looping for ever (scst_user.md 2.6). Each test takes
// healing steps out and shows what that leads to.

// killedExec brings a device to where the failure begins: an EXEC is with the
// handler, its ucmd owns a buffer, and the handler dies.
func killedExec(t *testing.T, opts ...benchOpt) (*bench, uint32) {
	t.Helper()
	b := newBench(t, opts...)
	c, s := b.writeExec(8)
	t.Cleanup(func() { b.ended(c, scsi.CheckCondition, senseLUN) }) // R70
	return b, s.Handle
}

// reuseModes: the failure needs a buffer that the pool keeps; without reuse
// the buffer goes with its command and nothing can stay.
var reuseModes = []struct {
	name string
	opts []benchOpt
	kept bool
}{
	{"reuse all", []benchOpt{withReuse(ReuseAll)}, true},
	{"reuse none", []benchOpt{withReuse(ReuseNone), withOnFree(OnFreeIgnore)}, false},
	{"reuse none, on_free call", []benchOpt{withReuse(ReuseNone), withOnFree(OnFreeCall)}, false},
}

// stuckUcmd is how the failure looks in the listing.
func stuckUcmd(h uint32) Command {
	return Command{Handle: h, State: StateOnFreeSkipped, Ref: 1, Owners: "sgv", Sent: false, Seen: true, Jammed: true}
}

func TestStuckOnFreeSkippedBothFlushesOut(t *testing.T) {
	for _, m := range reuseModes {
		t.Run(m.name, func(t *testing.T) {
			b, h := killedExec(t, append(m.opts, withFaults(faults{noTopFlush: true, noBottomFlush: true}))...)
			// The cleanup alone, as the module runs it before the device is
			// unregistered: passes of unjam-device.
			b.dev.mu.Lock()
			b.dev.released, b.dev.nonBlocking = true, true
			b.dev.mu.Unlock()
			for range 5 {
				b.dev.unjamDevice()
				for b.dev.unjamReady() {
				}
			}
			if m.kept {
				b.only(t, stuckUcmd(h))
			} else if l := b.dev.Commands(); len(l) > 0 {
				t.Fatalf("left: %v", l)
			}
			b.dev.mu.Lock()
			b.dev.released = false
			b.dev.mu.Unlock()
			b.dev.faults = faults{}
			b.close()
		})
	}
}

// With nothing at all to destroy the cached object, a release reports the
// ucmd instead of looping.
func TestStuckIsReportedByRelease(t *testing.T) {
	b, h := killedExec(t, withFaults(faults{noTopFlush: true, noBottomFlush: true, noReleaseFlush: true}))
	start := time.Now()
	err := b.dev.Close(context.Background())
	var stuck *StuckError
	if !errors.As(err, &stuck) {
		t.Fatalf("release: %v, want a StuckError", err)
	}
	if len(stuck.Commands) != 1 || ageless(stuck.Commands[0]) != stuckUcmd(h) {
		t.Fatalf("reported %v, want %v", stuck.Commands, stuckUcmd(h))
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("it took %v: nothing was on its way, so there was nothing to wait for", d)
	}
	if len(b.reg.Devices()) != 0 {
		t.Error("the name is not free")
	}
}

// The module without the bottom flush (recording t1-prefix, fact 56): the
// state shows at the end of the pass, and the next pass's top flush heals it.
func TestStuckBottomFlushOutHealsNextPass(t *testing.T) {
	b, h := killedExec(t, withFaults(faults{noBottomFlush: true}))
	b.dev.mu.Lock()
	b.dev.released, b.dev.nonBlocking = true, true
	b.dev.mu.Unlock()

	b.dev.unjamDevice()
	b.only(t, stuckUcmd(h))
	if b.dev.unjamReady() {
		t.Fatal("something was ready after the first pass")
	}
	b.dev.unjamDevice() // its top flush destroys the object
	if l := b.dev.Commands(); len(l) != 1 || l[0].State != StateOnCacheFreeing {
		t.Fatalf("after the second pass: %v, want ON_CACHE_FREEING", l)
	}
	if !b.dev.unjamReady() {
		t.Fatal("nothing was ready after the second pass")
	}
	if l := b.dev.Commands(); len(l) != 0 {
		t.Fatalf("left: %v", l)
	}
	b.dev.mu.Lock()
	b.dev.released = false
	b.dev.mu.Unlock()
	b.close()
}

// With both flushes the hash is empty at the end of the first pass that can
// empty it.
func TestStuckBothFlushesInEmptyAfterFirstPass(t *testing.T) {
	for _, m := range reuseModes {
		t.Run(m.name, func(t *testing.T) {
			b, _ := killedExec(t, m.opts...)
			b.dev.mu.Lock()
			b.dev.released, b.dev.nonBlocking = true, true
			b.dev.mu.Unlock()
			b.dev.unjamDevice()
			for b.dev.unjamReady() {
			}
			if l := b.dev.Commands(); len(l) != 0 {
				t.Fatalf("left after one pass: %v", l)
			}
			b.dev.mu.Lock()
			b.dev.released = false
			b.dev.mu.Unlock()
			b.close()
		})
	}
}

// background brings a WRITE to where its handler has answered BACKGROUND.
func background(t *testing.T, opts ...benchOpt) (*bench, uint32) {
	t.Helper()
	b := newBench(t, opts...)
	c, s := b.writeExec(8)
	b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyBackground})
	if c.Status != scsi.Good || b.fe.freedCount() != 1 {
		t.Fatalf("BACKGROUND: status %v, freed %d: the initiator is not answered", c.Status, b.fe.freedCount())
	}
	return b, s.Handle
}

// Fact 57: what really loops for ever on the module is a reference that
// nobody is left to drop. Here the release drops it.
func TestStuckBackgroundNeverCompletedDoesNotHoldRelease(t *testing.T) {
	for _, m := range reuseModes {
		t.Run(m.name, func(t *testing.T) {
			b, h := background(t, m.opts...)
			b.checkRefs()
			l := b.dev.Commands()
			if len(l) != 1 || l[0].Handle != h || l[0].HasCmd || l[0].Sent {
				t.Fatalf("listing %v", l)
			}
			b.close()
		})
	}
}

func TestStuckBackgroundKeptIsReported(t *testing.T) {
	b, h := background(t, withFaults(faults{keepBackground: true}))
	var stuck *StuckError
	if err := b.dev.Close(context.Background()); !errors.As(err, &stuck) {
		t.Fatalf("release: %v, want a StuckError", err)
	}
	c := stuck.Commands[0]
	if c.Handle != h || c.State != StateOnFreeSkipped || c.HasCmd || c.Sent || c.Owners != "sgv+background" {
		t.Fatalf("reported %v", c)
	}
}

// R59: the COMPLETED that follows BACKGROUND releases the command, in both
// on-free modes; the buffer is not used for others before that (I3).
func TestR59BackgroundThenCompleted(t *testing.T) {
	for _, of := range []OnFreeType{OnFreeIgnore, OnFreeCall} {
		b, h := background(t, withOnFree(of))
		b.none() // no ON_FREE_CMD before COMPLETED (fact 59)
		second := Reply{Handle: h, Code: SubExec, Type: ReplyBackground}
		if err := b.dev.Reply(&second); err != errEINVAL {
			t.Errorf("a second BACKGROUND: %v, want EINVAL", err)
		}
		// Another WRITE must bring a buffer of its own.
		b.write(8)
		b.get(SubAllocMem)
		b.reply(Reply{Handle: h, Code: SubExec, Type: ReplyCompleted})
		if of == OnFreeCall {
			s := b.get(SubOnFree)
			if s.Handle != h || !s.BufferCached {
				t.Fatalf("ON_FREE_CMD %+v", s)
			}
			b.reply(Reply{Handle: h, Code: SubOnFree})
		}
		b.checkRefs()
		again := Reply{Handle: h, Code: SubExec, Type: ReplyCompleted}
		if err := b.dev.Reply(&again); err != errEINVAL {
			// The buffer's owner stays in the hash (fact 26): EINVAL.
			t.Errorf("COMPLETED again: %v, want EINVAL", err)
		}
		b.close()
	}
}

// Fact 28: GET_EXTENDED_CDB in a wrong state leaks a reference on the module,
// which is the second way to the endless loop. Here it does not; with the leak
// put back the release reports it.
func TestStuckExtendedCDBLeak(t *testing.T) {
	for _, leak := range []bool{false, true} {
		b := newBench(t, withFaults(faults{leakExtendedCDB: leak}), withLimits(Limits{ReleaseTimeout: 200 * time.Millisecond}))
		h := b.doWrite(8)
		if _, err := b.dev.ExtendedCDB(h); err != errEINVAL {
			t.Fatalf("ExtendedCDB of a finished command: %v, want EINVAL", err)
		}
		if _, err := b.dev.ExtendedCDB(h + 1000); err != errESRCH {
			t.Fatalf("ExtendedCDB of an unknown handle: %v, want ESRCH", err)
		}
		err := b.dev.Close(context.Background())
		var stuck *StuckError
		switch {
		case !leak && err != nil:
			t.Errorf("release: %v", err)
		case leak && (!errors.As(err, &stuck) || stuck.Commands[0].Owners != "transient"):
			t.Errorf("release with the leak: %v, want a StuckError that names it", err)
		}
		if !leak {
			b.checkGone()
		}
	}
}

// I5: one device that is stuck does not delay another's release.
func TestI5StuckDeviceDoesNotDelayOthers(t *testing.T) {
	b, _ := background(t, withFaults(faults{keepBackground: true}))
	other, err := b.reg.Register(Desc{Name: "disk2", BlockSize: 512, Opt: Opt{OnFree: 1, Reuse: 3, TST: 1}}, b.mem, nil)
	if err != nil {
		t.Fatal(err)
	}
	b.dev.Release()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := other.Close(ctx); err != nil {
		t.Error(err)
	}
	<-b.dev.Released()
}

// I4: the name is free after the release, and only then.
func TestR72NameIsFreeAfterRelease(t *testing.T) {
	b := newBench(t)
	b.doWrite(8)
	desc := b.dev.Desc()
	if _, err := b.reg.Register(desc, b.mem, nil); !errors.Is(err, errEEXIST) {
		t.Errorf("duplicate name: %v, want EEXIST (R9)", err)
	}
	b.close()
	d, err := b.reg.Register(desc, b.mem, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Close(context.Background()); err != nil {
		t.Error(err)
	}
}

// Handles of a stuck report are in order, so that two reports compare.
func TestListingIsSorted(t *testing.T) {
	b := newBench(t)
	for range 5 {
		b.write(8)
	}
	l := b.dev.Commands()
	if !slices.IsSortedFunc(l, func(x, y Command) int { return int(x.Handle) - int(y.Handle) }) || len(l) != 5 {
		t.Errorf("%v", l)
	}
	b.close()
}
