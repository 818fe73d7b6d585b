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

// Two devices share a pool: the one that is released waits for its buffer
// that the other one uses, and takes it back.
func TestSharedPoolReleaseOfTheLender(t *testing.T) {
	for _, of := range []OnFreeType{OnFreeIgnore, OnFreeCall} {
		share := withDesc(func(d *Desc) { d.SGVShared, d.SGVName = true, "shared" })
		b := newBench(t, share, withOnFree(of))
		desc := b.dev.Desc()
		desc.Name = "disk2"
		other, err := b.reg.Register(desc, b.mem, &recorder{})
		if err != nil {
			t.Fatal(err)
		}
		o := &bench{t: t, reg: b.reg, dev: other, mem: b.mem, obs: &recorder{}, fe: &testFront{}}
		o.sess = o.attach(o.fe)

		b.doWrite(8) // disk1's buffer
		b.settleFree()
		c, s := o.writeExec(8) // disk2 uses it
		if n := b.mem.mapped(); n != 1 {
			t.Fatalf("%d buffers, want one for both", n)
		}
		b.dev.Release()
		select {
		case <-b.dev.Released():
			t.Error("released while its buffer is used by another device")
		case <-time.After(20 * time.Millisecond):
		}
		b.only(t, Command{Handle: 1, State: map[OnFreeType]State{OnFreeIgnore: StateOnFreeSkipped, OnFreeCall: StateOnFreeing}[of], Ref: 1, Owners: "sgv", Seen: true})
		o.execDone(s)
		o.good(c)
		o.settleFree()
		b.close() // now it can
		o.doWrite(8)
		o.settleFree()
		o.close()
	}
}

// A lender that could not wait any longer: its buffer is taken back when it
// comes, and not used again.
func TestSharedPoolBufferOutlivesItsLender(t *testing.T) {
	b := newBench(t, withDesc(func(d *Desc) { d.SGVShared, d.SGVName = true, "shared" }), withLimits(Limits{ReleaseTimeout: 20 * time.Millisecond}))
	desc := b.dev.Desc()
	desc.Name = "disk2"
	other, err := b.reg.Register(desc, b.mem, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &bench{t: t, reg: b.reg, dev: other, mem: b.mem, obs: &recorder{}, fe: &testFront{}}
	o.sess = o.attach(o.fe)
	b.doWrite(8)
	_, s := o.writeExec(8)
	var stuck *StuckError
	if err := b.dev.Close(t.Context()); !errors.As(err, &stuck) || stuck.Commands[0].Owners != "sgv" {
		t.Fatalf("release: %v, want a StuckError", err)
	}
	o.execDone(s)
	b.checkGone()
	o.write(8)
	n := o.get(SubAllocMem)
	o.reply(allocReply(n, 0))
	o.close()
}

// Devices come and go beside one that is busy with their buffers.
func TestSharedPoolUnderLoad(t *testing.T) {
	mem := newTestMemory()
	reg := NewRegistry(Limits{ReleaseTimeout: 5 * time.Second})
	open := func(name string) *Device {
		desc := plainDesc()
		desc.Name, desc.SGVShared, desc.SGVName = name, true, "shared"
		d, err := reg.Register(desc, mem, nil)
		if err != nil {
			t.Fatal(err)
		}
		d.SetInline(func(s *Subcommand, r *Reply) bool { mem.answer(s, r); return true })
		return d
	}
	use := func(d *Device, stop func(n int) bool) {
		s, err := d.tdev.NewSession(t.Context(), &echoFront{}, target.SessionInfo{})
		if err != nil {
			t.Error(err)
			return
		}
		freed := make(chan struct{}, 1)
		c := &target.Cmd{Front: freed}
		cdb := scsi.EncodeWrite16(0, 8, false)
		for n := 0; !stop(n); n++ {
			c.Init(cdb.Slice(), scsi.QueueSimple)
			s.Submit(c)
			<-freed
		}
	}
	steady := open("steady")
	done := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			use(steady, func(int) bool {
				select {
				case <-done:
					return true
				default:
					return false
				}
			})
		})
	}
	for range 300 {
		d := open("passing")
		use(d, func(n int) bool { return n == 3 })
		if err := d.Close(t.Context()); err != nil {
			t.Error(err)
			break
		}
	}
	close(done)
	wg.Wait()
	if err := steady.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if n := mem.mapped(); n != 0 {
		t.Errorf("%d buffers are still mapped", n)
	}
}

// The other way round: the borrower goes first.
func TestSharedPoolReleaseOfTheBorrower(t *testing.T) {
	b := newBench(t, withDesc(func(d *Desc) { d.SGVShared, d.SGVName = true, "shared" }))
	desc := b.dev.Desc()
	desc.Name = "disk2"
	other, err := b.reg.Register(desc, b.mem, nil)
	if err != nil {
		t.Fatal(err)
	}
	o := &bench{t: t, reg: b.reg, dev: other, mem: b.mem, obs: &recorder{}, fe: &testFront{}}
	o.sess = o.attach(o.fe)
	h := b.doWrite(8)
	c, _ := o.writeExec(8)
	if err := o.dev.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	o.ended(c, scsi.CheckCondition, senseLUN)
	// What the pool had went with the borrower's flush, or came back to it.
	if s, ok := b.tryGet(); ok {
		if s.Code != SubOnCachedMemFree || s.Handle != h {
			t.Errorf("got %+v", s)
		}
		b.reply(Reply{Handle: s.Handle, Code: s.Code})
	}
	b.doWrite(8)
	b.settleFree()
	b.close()
}
