package ucmd

import (
	"testing"

	"scstuser/scsi"
)

// The walks: every state, reference and queue step of a command, as the
// module's own debug log shows them (scst_user.md 2.2 to 2.4; the recordings
// a, d and g of the module).

func TestWalkWriteMissThenReadHitReuseAll(t *testing.T) {
	b := newBench(t)
	defer b.close()

	// A WRITE that finds no buffer: h=1 brings one.
	c := b.write(8)
	b.expectEvents(`
		h=1 inserted
		h=1 state BUF_ALLOCING
		h=1 sgv-miss
		h=1 ready BUF_ALLOCING at head`)
	s := b.get(SubAllocMem)
	if s.AllocLen != 4096 {
		t.Fatalf("alloc_len %d", s.AllocLen)
	}
	b.expectEvents(`
		h=1 fetched BUF_ALLOCING
		h=1 ref transient -> 2
		h=1 unref transient -> 1`)
	b.reply(Reply{Handle: s.Handle, Code: SubAllocMem, PBuf: b.mem.alloc(4096)})
	b.expectEvents(`
		h=1 ref transient -> 2
		h=1 replied BUF_ALLOCING
		h=1 ref sgv -> 3
		h=1 sgv-filled
		h=1 state EXECING
		h=1 ready EXECING at tail
		h=1 unref transient -> 2`)
	s = b.get(SubExec)
	if s.PBuf == 0 || s.AllocLen != 0 || s.BufLen != 4096 || s.Dir != scsi.DirWrite {
		t.Fatalf("EXEC %+v", s)
	}
	b.expectEvents(`
		h=1 fetched EXECING
		h=1 ref transient -> 3
		h=1 unref transient -> 2`)
	pbuf := s.PBuf
	b.execDone(s)
	if c.Status != scsi.Good {
		t.Fatalf("status %v", c.Status)
	}
	b.expectEvents(`
		h=1 ref transient -> 3
		h=1 replied EXECING
		h=1 dirty
		h=1 state ON_FREE_SKIPPED
		h=1 sgv-put
		h=1 unref creation -> 2
		h=1 unref transient -> 1`)
	// Fact 24: the normal idle picture of a buffer's owner.
	b.only(t, Command{Handle: 1, State: StateOnFreeSkipped, Ref: 1, Owners: "sgv", Seen: true})

	// A READ of the same size class uses that buffer: h=2 owns nothing.
	b.read(8)
	b.expectEvents(`
		h=2 inserted
		h=2 state BUF_ALLOCING
		h=2 sgv-hit
		h=2 state EXECING
		h=2 ready EXECING at tail`)
	s = b.get(SubExec)
	if s.PBuf != pbuf || s.AllocLen != 0 {
		t.Fatalf("EXEC %+v, want the cached buffer %#x", s, pbuf)
	}
	b.obs.take()
	b.execDone(s)
	b.expectEvents(`
		h=2 ref transient -> 2
		h=2 replied EXECING
		h=2 state ON_FREE_SKIPPED
		h=2 sgv-put
		h=2 unref creation -> 1
		h=2 unref transient -> 0
		h=2 removed`)

	// A command without data.
	b.submit(scsi.EncodeSyncCache16(0, 0))
	b.expectEvents(`
		h=3 inserted
		h=3 state EXECING
		h=3 ready EXECING at tail`)
	s = b.get(SubExec)
	b.obs.take()
	b.execDone(s)
	b.expectEvents(`
		h=3 ref transient -> 2
		h=3 replied EXECING
		h=3 state ON_FREE_SKIPPED
		h=3 unref creation -> 1
		h=3 unref transient -> 0
		h=3 removed`)
	b.checkRefs()
}

// Recording d: no reuse, so on_free is CALL and each command brings, and gets
// told to free, its own buffer.
func TestWalkReuseNoneOnFreeCall(t *testing.T) {
	b := newBench(t, withReuse(ReuseNone), withOnFree(OnFreeCall))
	defer b.close()
	b.write(8)
	b.get(SubAllocMem)
	b.reply(Reply{Handle: 1, Code: SubAllocMem, PBuf: b.mem.alloc(4096)})
	s := b.get(SubExec)
	b.obs.take()
	b.execDone(s)
	b.expectEvents(`
		h=1 ref transient -> 3
		h=1 replied EXECING
		h=1 dirty
		h=1 state ON_FREEING
		h=1 ready ON_FREEING at tail
		h=1 unref transient -> 2`)
	s = b.get(SubOnFree)
	if s.BufferCached || s.PBuf == 0 || s.Delivery != DeliverySuccess {
		t.Fatalf("ON_FREE_CMD %+v", s)
	}
	b.obs.take()
	b.reply(Reply{Handle: 1, Code: SubOnFree})
	b.expectEvents(`
		h=1 ref transient -> 3
		h=1 replied ON_FREEING
		h=1 sgv-put
		h=1 sgv-gone
		h=1 unref sgv -> 2
		h=1 unref creation -> 1
		h=1 unref transient -> 0
		h=1 removed`)
	// A READ: its buffer comes with the reply (recording d, READ 16384).
	b.read(32)
	s = b.get(SubExec)
	if s.PBuf != 0 || s.AllocLen != 16384 {
		t.Fatalf("EXEC %+v", s)
	}
	b.obs.take()
	b.execDone(s)
	b.expectEvents(`
		h=2 ref transient -> 2
		h=2 replied EXECING
		h=2 ref sgv -> 3
		h=2 sgv-filled
		h=2 state ON_FREEING
		h=2 ready ON_FREEING at tail
		h=2 unref transient -> 2`)
	s = b.get(SubOnFree)
	if s.RespDataLen != 16384 {
		t.Fatalf("ON_FREE_CMD %+v", s)
	}
	b.settleFree()
	b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
	// A command without data: no buffer in its ON_FREE_CMD (fact 45).
	b.submit(scsi.EncodeTestUnitReady())
	s = b.get(SubExec)
	if s.QueueType != scsi.QueueHeadOfQueue {
		t.Fatalf("TEST UNIT READY is not head of queue (fact 22): %+v", s)
	}
	b.execDone(s)
	s = b.get(SubOnFree)
	if s.PBuf != 0 || s.BufferCached {
		t.Fatalf("ON_FREE_CMD %+v", s)
	}
	b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
	b.checkRefs()
}
