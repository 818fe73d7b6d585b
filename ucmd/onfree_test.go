package ucmd

import (
	"testing"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// R61, fact 45: what ON_FREE_CMD tells.
func TestR61OnFreeFields(t *testing.T) {
	type want struct {
		pbuf     bool
		resp     int32
		cached   bool
		status   scsi.Status
		delivery int8
	}
	medium := scsi.Sense{Key: scsi.KeyMediumError, ASC: scsi.ASCUnrecoveredRead}.AppendFixed(nil)
	for _, x := range []struct {
		name  string
		reuse ReuseType
		cdb   scsi.CDB
		r     Reply
		d     target.Delivery
		want  want
	}{
		{"WRITE, kept", ReuseAll, scsi.EncodeWrite16(0, 8, false), Reply{}, target.Delivered, want{true, 0, true, 0, 0}},
		{"WRITE, not kept", ReuseNone, scsi.EncodeWrite16(0, 8, false), Reply{}, target.Delivered, want{true, 0, false, 0, 0}},
		{"READ, kept", ReuseAll, scsi.EncodeRead16(0, 8, false), Reply{RespDataLen: 512}, target.Delivered, want{true, 512, true, 0, 0}},
		{"READ, not kept", ReuseNone, scsi.EncodeRead16(0, 8, false), Reply{RespDataLen: 512}, target.Delivered, want{true, 512, false, 0, 0}},
		{"READ of nothing", ReuseAll, scsi.EncodeRead16(0, 8, false), Reply{}, target.Delivered, want{false, 0, false, 0, 0}},
		{"no data", ReuseAll, scsi.EncodeTestUnitReady(), Reply{}, target.Delivered, want{false, 0, false, 0, 0}},
		{"check condition", ReuseAll, scsi.EncodeTestUnitReady(), Reply{Status: scsi.CheckCondition, Sense: medium}, target.Delivered, want{false, 0, false, 2, 0}},
		{"not delivered", ReuseAll, scsi.EncodeTestUnitReady(), Reply{}, target.DeliveryFailed, want{false, 0, false, 0, -1}},
		{"refused", ReuseAll, scsi.EncodeTestUnitReady(), Reply{RespDataLen: -1}, target.Delivered, want{false, 0, false, 2, 0}},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, withReuse(x.reuse), withOnFree(OnFreeCall))
			defer b.close()
			b.fe.setHold(true)
			c := b.submit(x.cdb)
			s, _ := b.tryGet()
			if s.Code == SubAllocMem {
				b.reply(allocReply(s, b.mem.alloc(4096)))
				s = b.get(SubExec)
			}
			pbuf := s.PBuf
			x.r.Handle, x.r.Code, x.r.Type = s.Handle, SubExec, ReplyCompleted
			if x.r.RespDataLen > 0 {
				pbuf = b.mem.alloc(4096)
				x.r.PBuf = pbuf
			}
			_ = b.dev.Reply(&x.r)
			b.none() // R64: not before the response has left
			c.Delivered(x.d)
			f := b.get(SubOnFree)
			if got := (want{f.PBuf != 0, f.RespDataLen, f.BufferCached, f.Status, f.Delivery}); got != x.want || f.Aborted || f.Handle != s.Handle {
				t.Errorf("ON_FREE_CMD %+v, want %+v", f, x.want)
			}
			if f.PBuf != 0 && f.PBuf != pbuf {
				t.Errorf("pbuf %#x, want %#x", f.PBuf, pbuf)
			}
			b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
			again := errESRCH
			if x.want.cached {
				again = errEINVAL // the ucmd owns a buffer in the pool (fact 26)
			}
			b.refused(Reply{Handle: s.Handle, Code: SubOnFree}, again)
		})
	}
}

// R61, fact 45: aborted commands. After a normal reply aborted is 0, after a
// wrong one, which gives the command up, 1; nobody was answered in either case.
func TestR61OnFreeOfAbortedCommand(t *testing.T) {
	for _, wrong := range []bool{false, true} {
		b := newBench(t, withOnFree(OnFreeCall))
		c := b.submit(scsi.EncodeSyncCache16(0, 0))
		s := b.get(SubExec)
		b.sess.TaskMgmt(&target.MgmtCmd{Fn: target.LUNReset})
		tm := b.get(SubTMReceived)
		b.reply(Reply{Handle: tm.Handle, Code: tm.Code})
		b.none() // R68: TM_DONE waits for the EXEC reply
		if wrong {
			b.refused(Reply{Handle: s.Handle, Code: SubAllocMem}, errEINVAL)
			b.ended(c, scsi.CheckCondition, senseAborted)
		} else {
			b.reply(completed(s)) // fact 49: 0
		}
		tm = b.get(SubTMDone) // first (fact 45)
		b.reply(Reply{Handle: tm.Handle, Code: tm.Code})
		f := b.get(SubOnFree)
		if f.Aborted != wrong || f.Delivery != DeliveryAborted || f.Status != scsi.Good {
			t.Errorf("wrong reply %v: ON_FREE_CMD %+v", wrong, f)
		}
		if cmd, _ := b.command(s.Handle); cmd.Aborted != wrong || cmd.Jammed != wrong {
			t.Errorf("listing: %v", cmd)
		}
		b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
		b.close()
	}
}

// R62: commands that the handler never saw are freed without a word.
func TestR62NeverSeen(t *testing.T) {
	b := newBench(t, withOnFree(OnFreeCall))
	defer b.close()
	b.fe.noAEN = true
	b.dev.CapacityChanged() // a unit attention ends the next command at fetch
	c := b.submit(scsi.EncodeTestUnitReady())
	b.none()
	b.ended(c, scsi.CheckCondition, "06/2a/09")
	c = b.submit(unknownCDB)
	b.ended(c, scsi.CheckCondition, "05/20/00")
	b.none()
	if l := b.dev.Commands(); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
	// With a buffer from the pool.
	b.doWrite(8)
	b.settleFree()
	b.dev.CapacityChanged()
	c = b.read(8)
	b.none()
	b.ended(c, scsi.CheckCondition, "06/2a/09")
	if s := b.dev.PoolStats()[0]; s.IdleObjects != 1 {
		t.Errorf("pool %+v: the buffer did not come back", s)
	}
}

// R63, fact 35: buffers that are idle for an interval, or two, are given back,
// by the handles of the ucmds that brought them (fact 24).
func TestR63Purge(t *testing.T) {
	b := newBench(t, withDesc(func(d *Desc) { d.SGVPurgeInterval = 1 }))
	defer b.close()
	_, s1 := b.writeExec(8)
	_, s2 := b.writeExec(8)
	b.execDone(s1)
	b.execDone(s2)
	want := map[uint32]uint64{s1.Handle: s1.PBuf, s2.Handle: s2.PBuf}
	start := time.Now()
	for range 2 {
		s := b.waitGet()
		if s.Code != SubOnCachedMemFree || want[s.Handle] != s.PBuf || s.PBuf == 0 {
			t.Fatalf("got %+v, want ON_CACHED_MEM_FREE of %v", s, want)
		}
		delete(want, s.Handle)
		b.reply(Reply{Handle: s.Handle, Code: s.Code})
	}
	if d := time.Since(start); d < 900*time.Millisecond {
		t.Errorf("given back after %v, want at least the interval", d)
	}
	if n := b.mem.mapped(); n != 0 {
		t.Errorf("%d buffers are still mapped", n)
	}
}

// R35, fact 35: FLUSH_CACHE gives back what is idle, in ascending order of
// size class, and returns without waiting for the replies. What is in use
// stays: its commands wait for their data, or their responses are on their way.
func TestR35FlushCache(t *testing.T) {
	b := newBench(t)
	defer b.close()
	var idle []Subcommand
	for _, blocks := range []uint32{256, 8, 32} {
		_, s := b.writeExec(blocks)
		idle = append(idle, s)
	}
	_, busy := b.writeExec(8)
	for _, s := range idle {
		b.execDone(s)
	}
	b.fe.setHold(true)
	b.execDone(busy)
	if err := b.dev.FlushCache(); err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{1, 2, 0} {
		s := b.get(SubOnCachedMemFree)
		if s.Handle != idle[i].Handle || s.PBuf != idle[i].PBuf {
			t.Errorf("got %+v, want the buffer of h=%d", s, idle[i].Handle)
		}
		b.refused(Reply{Handle: s.Handle, Code: SubExec}, errEINVAL) // gives it up: as good as a reply
		b.refused(Reply{Handle: s.Handle, Code: s.Code}, errESRCH)
	}
	b.none()
	b.fe.setHold(false)
	b.fe.deliver()
	b.only(t, Command{Handle: busy.Handle, State: StateOnFreeSkipped, Ref: 1, Owners: "sgv", Seen: true})
	// And again: only that one.
	if err := b.dev.FlushCache(); err != nil {
		t.Fatal(err)
	}
	b.get(SubOnCachedMemFree)
	b.reply(Reply{Handle: busy.Handle, Code: SubOnCachedMemFree})
	if err := b.dev.FlushCache(); err != nil { // nothing is cached
		t.Fatal(err)
	}
	b.none()
}

// R36: CAPACITY_CHANGED is a unit attention for every session, or an event for
// front ends that take it (fact 51); the handler does not hear of it.
func TestR36CapacityChanged(t *testing.T) {
	b := newBareBench(t)
	defer b.close()
	b.dev.CapacityChanged() // without a session
	quiet, loud := &testFront{}, &testFront{noAEN: true}
	sq := b.attach(quiet)
	sl := b.attach(loud)
	tur := scsi.EncodeTestUnitReady()
	c := b.submitTo(sl, tur, scsi.QueueSimple)
	b.none()
	b.ended(c, scsi.CheckCondition, "06/29/00") // of the attachment
	b.dev.CapacityChanged()
	b.none()
	c = b.submitTo(sl, tur, scsi.QueueSimple)
	b.none()
	b.ended(c, scsi.CheckCondition, "06/2a/09")
	c = b.submitTo(sq, tur, scsi.QueueSimple)
	b.execDone(b.get(SubExec))
	b.good(c)
}
