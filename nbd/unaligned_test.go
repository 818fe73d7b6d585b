package nbd

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

// What an unaligned request becomes, and that it changes nothing else.
func TestRow08UnalignedRequests(t *testing.T) {
	const r, w, z, s = scsi.OpRead16, scsi.OpWrite16, scsi.OpWriteSame16, scsi.OpSyncCache16
	for _, tc := range []struct {
		name           string
		typ            uint16
		flags          uint16
		offset, length uint32
		ops            []scsi.Opcode
	}{
		{"READ inside a block", nbdtest.CmdRead, 0, 5, 100, []scsi.Opcode{r}},
		{"READ across blocks", nbdtest.CmdRead, 0, 500, 1100, []scsi.Opcode{r}},
		{"WRITE inside a block", nbdtest.CmdWrite, 0, 5, 100, []scsi.Opcode{r, w}},
		{"WRITE across an edge", nbdtest.CmdWrite, 0, 500, 24, []scsi.Opcode{r, w, r, w}},
		{"WRITE with whole blocks inside", nbdtest.CmdWrite, 0, 500, 1560, []scsi.Opcode{r, w, w, r, w}},
		{"WRITE that begins at an edge", nbdtest.CmdWrite, 0, 512, 600, []scsi.Opcode{w, r, w}},
		{"WRITE that ends at an edge", nbdtest.CmdWrite, 0, 700, 836, []scsi.Opcode{r, w, w}},
		{"WRITE with FUA", nbdtest.CmdWrite, nbdtest.CmdFlagFUA, 5, 100, []scsi.Opcode{r, w, s}},
		{"zeroes inside a block", nbdtest.CmdWriteZeroes, 0, 5, 100, []scsi.Opcode{r, w}},
		{"zeroes with whole blocks inside", nbdtest.CmdWriteZeroes, 0, 500, 1560, []scsi.Opcode{r, w, z, r, w}},
		{"zeroes with FUA", nbdtest.CmdWriteZeroes, nbdtest.CmdFlagFUA, 500, 1560, []scsi.Opcode{r, w, z, r, w, s}},
		{"TRIM of less than a block", nbdtest.CmdTrim, 0, 5, 900, nil},
		{"TRIM with a block inside", nbdtest.CmdTrim, 0, 5, 1100, []scsi.Opcode{scsi.OpUnmap}},
		{"CACHE", nbdtest.CmdCache, 0, 5, 100, []scsi.Opcode{scsi.OpPreFetch16}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeRig(t, fakeTraits{}, Options{})
			want := pattern(1, 4096)
			f.put(0, want)
			c := f.open(t)
			f.forget()
			req := nbdtest.Request{Type: tc.typ, Flags: tc.flags, Offset: uint64(tc.offset), Length: tc.length}
			span := want[tc.offset:][:tc.length]
			if tc.typ == nbdtest.CmdWrite {
				req.Payload = pattern(2, int(tc.length))
			}
			data, e := c.Do(req)
			if e != nbdtest.OK {
				t.Fatal(e)
			}
			if ops := f.ops(); !slices.Equal(ops, tc.ops) {
				t.Errorf("commands %v, want %v", ops, tc.ops)
			}
			switch tc.typ {
			case nbdtest.CmdRead:
				if !bytes.Equal(data, span) {
					t.Error("other data is read")
				}
			case nbdtest.CmdWrite:
				copy(span, req.Payload)
			case nbdtest.CmdWriteZeroes:
				clear(span)
			case nbdtest.CmdTrim:
				if tc.ops != nil {
					clear(want[512:1024])
				}
			}
			if !bytes.Equal(f.bytes(0, len(want)), want) {
				t.Error("the medium is not what it should be")
			}
		})
	}
}

// An error of any part is the client's, and ends the request.
func TestRow08UnalignedErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		op     scsi.Opcode
		script func(*target.Cmd)
		want   nbdtest.Errno
		ops    int
	}{
		{"the read fails", scsi.OpRead16, sense(scsi.SenseReadError), nbdtest.EIO, 1},
		{"the write fails", scsi.OpWrite16, sense(scsi.SenseWriteError), nbdtest.EIO, 2},
		{"no space", scsi.OpWrite16, sense(scsi.SenseSpaceAllocFailed), nbdtest.ENOSPC, 2},
		{"the sync fails", scsi.OpSyncCache16, sense(scsi.SenseWriteError), nbdtest.EIO, 3},
		{"busy once", scsi.OpWrite16, status(scsi.Busy), nbdtest.OK, 4},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeRig(t, fakeTraits{}, Options{})
			c := f.open(t)
			f.forget()
			f.next(tc.op, tc.script)
			if e := c.Write(5, pattern(1, 100), nbdtest.CmdFlagFUA); e != tc.want {
				t.Errorf("%v, want %v", e, tc.want)
			}
			if n := len(f.ops()); n != tc.ops {
				t.Errorf("%d commands, want %d", n, tc.ops)
			}
			// Nothing is held on to.
			if e := c.Write(0, pattern(1, 512), 0); e != nbdtest.OK {
				t.Error(e)
			}
			if e := c.Write(5, pattern(1, 100), 0); e != nbdtest.OK {
				t.Error(e)
			}
		})
	}
}

// The first unaligned change of an export waits for the changes that are under
// way, which have claimed nothing.
func TestRow08UnalignedWaitsForChangesUnderWay(t *testing.T) {
	for name, change := range map[string]nbdtest.Request{
		"WRITE":        {Type: nbdtest.CmdWrite, Cookie: 1, Length: 512, Payload: pattern(7, 512)},
		"WRITE_ZEROES": {Type: nbdtest.CmdWriteZeroes, Cookie: 1, Length: 1024},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFakeRig(t, fakeTraits{}, Options{})
			f.put(0, pattern(1, 1024))
			first, second := f.open(t), f.open(t)
			f.forget()
			op := scsi.OpWrite16
			if change.Type == nbdtest.CmdWriteZeroes {
				op = scsi.OpWriteSame16
			}
			held := f.hold(op, 1)
			first.SendRequests(change)
			h := <-held
			second.SendRequests(writeOf(2, 5, pattern(3, 10)))
			time.Sleep(20 * time.Millisecond)
			if l := f.executed(scsi.OpRead16); len(l) > 0 {
				t.Error("the block is read before the change of it is over")
			}
			h.release()
			for _, c := range []*nbdtest.Conn{first, second} {
				if e, _ := c.ReadReply(); e != nbdtest.OK {
					t.Error(e)
				}
			}
			want := make([]byte, 512)
			copy(want, change.Payload)
			copy(want[5:], pattern(3, 10))
			if !bytes.Equal(f.bytes(0, 512), want) {
				t.Error("one of the two changes is lost")
			}
		})
	}
}

// While an unaligned change has a block, others wait, of all connections and its
// own; what is elsewhere does not.
func TestRow08ChangesWaitForUnaligned(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	first, second, third := f.open(t), f.open(t), f.open(t)
	held := f.hold(scsi.OpRead16, 1)
	first.SendRequests(writeOf(1, 5, pattern(3, 10)))
	h := <-held
	f.forget()
	first.SendRequests(writeOf(2, 500, pattern(4, 8)))
	second.SendRequests(writeOf(3, 0, pattern(5, 512)))
	if e := third.Write(512, pattern(6, 512), 0); e != nbdtest.OK {
		t.Errorf("a WRITE of the next block: %v", e)
	}
	time.Sleep(20 * time.Millisecond)
	if l := f.executed(scsi.OpWrite16); len(l) != 1 {
		t.Errorf("%d WRITEs are executed, want the one elsewhere", len(l))
	}
	h.release()
	first.Collect(writeOf(1, 0, nil), writeOf(2, 0, nil))
	if e, _ := second.ReadReply(); e != nbdtest.OK {
		t.Error(e)
	}
	// The two before the whole block is written, or one of them after it.
	got, whole := f.bytes(0, 512), pattern(5, 512)
	if !bytes.Equal(got[:500], whole[:500]) || !bytes.Equal(got[500:508], pattern(4, 8)) && !bytes.Equal(got[500:508], whole[500:508]) {
		t.Error("a change is lost")
	}
}

// A client that is slow to send its payload holds nobody up.
func TestRow08SlowWriterHoldsNobodyUp(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	slow, c := f.open(t), f.open(t)
	w := writeOf(1, 0, pattern(1, 1024)).Bytes()
	slow.Send(w[:len(w)-1])
	for range 2 {
		if e := c.Write(5, pattern(2, 10), 0); e != nbdtest.OK {
			t.Fatal(e)
		}
	}
	slow.Send(w[len(w)-1:])
	if e, _ := slow.ReadReply(); e != nbdtest.OK {
		t.Error(e)
	}
	if !bytes.Equal(f.bytes(0, 1024), pattern(1, 1024)) {
		t.Error("the slow WRITE is the last one, and not what is read")
	}
}

// Many clients, each with some bytes of the same block: none are lost.
func TestRow08NeighboursInOneBlock(t *testing.T) {
	cfg := oneDisk()
	cfg.disk.BlockSize, cfg.file.BlockSize = 4096, 4096
	r := newRig(t, cfg)
	const clients, share, rounds = 8, 512, 40
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c := r.open(t)
			mine := uint64(4096 - share*clients/2 + i*share) // across two blocks
			for n := range rounds {
				data := pattern(byte(n), share-i)
				var requests []nbdtest.Request
				for k, at := range []int{0, 100, 250, 400} { // all in flight
					end := min(at+150, len(data))
					requests = append(requests, writeOf(uint64(k), mine+uint64(at), data[at:end]))
				}
				// They overlap, so the last one in the medium may be any of
				// them: the bytes are the same.
				for _, reply := range c.Exchange(requests...) {
					if reply.Errno != nbdtest.OK {
						t.Error(reply.Errno)
						return
					}
				}
				if got, _ := c.Read(mine, uint32(len(data)), 0); !bytes.Equal(got, data) {
					t.Errorf("round %d: the bytes of client %d are lost", n, i)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A client that has asked for the size constraints keeps to them.
func TestRow08WhoAskedHasPromised(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.dial(t)
	c.Hello()
	c.Go("fake", nbdtest.InfoBlockSize)
	if e := c.Write(5, pattern(1, 10), 0); e != nbdtest.EINVAL {
		t.Errorf("%v, want EINVAL", e)
	}
	old := f.dial(t)
	old.Hello()
	old.ExportName("fake") // has no way to ask
	if e := old.Write(5, pattern(1, 10), 0); e != nbdtest.OK {
		t.Errorf("%v", e)
	}
}

// A client that leaves in the middle of an unaligned WRITE leaves nothing behind.
func TestRow08ClientLeavesUnaligned(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.open(t)
	w := writeOf(1, 5, pattern(1, 1000)).Bytes()
	c.Send(w[:len(w)-1])
	c.Close()
	if e := f.open(t).Write(5, pattern(2, 100), 0); e != nbdtest.OK {
		t.Error(e)
	}
}

func TestRangeLocks(t *testing.T) {
	var l rangeLocks
	l.init()
	a, b := &claim{start: 0, end: 10}, &claim{start: 5, end: 15}
	x, y := &claim{start: 8, end: 12, exclusive: true}, &claim{start: 0, end: 10}
	if !l.take(a) || !l.take(b) {
		t.Error("two that share wait for each other")
	}
	if l.take(x) {
		t.Error("an exclusive claim does not wait")
	}
	if l.take(y) {
		t.Error("a claim overtakes an exclusive one that waits")
	}
	if z := (&claim{start: 20, end: 30, exclusive: true}); !l.take(z) {
		t.Error("a claim elsewhere waits")
	}
	l.release(a)
	order := make(chan *claim)
	for _, c := range []*claim{x, y} {
		go func() {
			l.wait(c)
			order <- c
		}()
	}
	select {
	case <-order:
		t.Error("the exclusive claim does not wait for the second one")
	case <-time.After(10 * time.Millisecond):
	}
	l.release(b)
	if c := <-order; c != x {
		t.Error("not the exclusive claim")
	}
	l.release(x)
	if c := <-order; c != y {
		t.Error("not the last one")
	}
}
