package ucmd

import (
	"math"
	"testing"

	"scstuser/scsi"
	"scstuser/target"
)

// allocReply is the answer to ALLOC_MEM.
func allocReply(s Subcommand, pbuf uint64) Reply {
	return Reply{Handle: s.Handle, Code: SubAllocMem, PBuf: pbuf}
}

func completed(s Subcommand) Reply {
	return Reply{Handle: s.Handle, Code: SubExec, Type: ReplyCompleted}
}

// Rules R49 and R50, fact 31: alloc_len is the size class if the buffer is
// kept, else exactly what the command needs.
func TestR50AllocLen(t *testing.T) {
	for _, x := range []struct {
		blocks uint32
		cached int32
	}{
		{1, 4096}, {7, 4096}, {8, 4096},
		{9, 8192}, {12, 8192}, {24, 16384}, {40, 32768}, {72, 65536}, {136, 131072}, {264, 262144}, {520, 524288},
		{8192, 4 << 20},                         // the largest class
		{8193, 4<<20 + 4096}, {32768, 16 << 20}, // above it: whole pages
	} {
		for _, reuse := range []ReuseType{ReuseAll, ReuseNone} {
			want := x.cached
			if reuse == ReuseNone {
				want = int32(x.blocks) * 512
			}
			b := newBench(t, withReuse(reuse), withOnFree(OnFreeCall))
			b.write(x.blocks)
			s := b.get(SubAllocMem)
			if s.AllocLen != want || s.CDB[0] != 0x8a || s.Dir != scsi.DirWrite || s.SessH != b.sess.Handle() {
				t.Errorf("WRITE of %d blocks, reuse %d: ALLOC_MEM %+v, want alloc_len %d", x.blocks, reuse, s, want)
			}
			b.reply(allocReply(s, 0))
			b.settleFree()
			// A READ's is asked for with EXEC (R49), never by ALLOC_MEM.
			b.read(x.blocks)
			s = b.get(SubExec)
			if s.AllocLen != want || s.PBuf != 0 {
				t.Errorf("READ of %d blocks, reuse %d: EXEC %+v, want alloc_len %d", x.blocks, reuse, s, want)
			}
			b.reply(completed(s))
			b.close()
		}
	}
}

// R50: a buffer above the largest class says that it is cached, and comes back
// right after its command.
func TestR50LargeBufferIsGivenBackAtOnce(t *testing.T) {
	b := newBench(t, withOnFree(OnFreeCall))
	defer b.close()
	b.write(8193)
	s := b.get(SubAllocMem)
	pbuf := b.mem.alloc(int(s.AllocLen))
	b.reply(allocReply(s, pbuf))
	b.execDone(b.get(SubExec))
	f := b.get(SubOnFree)
	if !f.BufferCached || f.PBuf != pbuf {
		t.Errorf("ON_FREE_CMD %+v", f)
	}
	b.none()
	b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
	if s := b.get(SubOnCachedMemFree); s.PBuf != pbuf || s.Handle != f.Handle {
		t.Errorf("ON_CACHED_MEM_FREE %+v", s)
	}
	b.reply(Reply{Handle: s.Handle, Code: SubOnCachedMemFree})
	if l := b.dev.Commands(); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
}

func TestR50SingleAllocPages(t *testing.T) {
	b := newBench(t, withDesc(func(d *Desc) { d.SGVSinglePages = 16 }))
	defer b.close()
	b.write(8)
	if s := b.get(SubAllocMem); s.AllocLen != 65536 {
		t.Errorf("alloc_len %d, want the one class", s.AllocLen)
	} else {
		b.reply(allocReply(s, 0))
	}
	b.write(136)
	s := b.get(SubAllocMem)
	if s.AllocLen != 69632 {
		t.Errorf("alloc_len %d, want whole pages", s.AllocLen)
	}
	b.reply(allocReply(s, 0))
}

// Fact 36, rules R51 and R52: bad buffers in the ALLOC_MEM reply.
func TestFact36AllocMem(t *testing.T) {
	for _, x := range []struct {
		name   string
		reuse  ReuseType
		pbuf   func(b *bench) uint64
		want   error
		status scsi.Status
		sense  string
	}{
		{"none", ReuseAll, func(*bench) uint64 { return 0 }, nil, scsi.Busy, ""},
		{"unaligned", ReuseAll, func(b *bench) uint64 { return b.mem.alloc(8192) + 16 }, errEINVAL, scsi.CheckCondition, senseHardware},
		{"unmapped", ReuseAll, func(*bench) uint64 { return 0x1000 }, errEFAULT, scsi.CheckCondition, senseAborted},
		{"too short", ReuseAll, func(b *bench) uint64 { return b.mem.alloc(4095) }, errEFAULT, scsi.CheckCondition, senseAborted},
		{"end of the address space", ReuseAll, func(*bench) uint64 { return math.MaxUint64 &^ 4095 }, errEFAULT, scsi.CheckCondition, senseAborted},
		{"not reused, none", ReuseNone, func(*bench) uint64 { return 0 }, nil, scsi.Busy, ""},
		{"not reused, unmapped", ReuseNone, func(*bench) uint64 { return 0x1001 }, errEFAULT, scsi.CheckCondition, senseAborted},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, withReuse(x.reuse))
			defer b.close()
			c := b.write(8)
			s := b.get(SubAllocMem)
			b.refused(allocReply(s, x.pbuf(b)), x.want)
			b.ended(c, x.status, x.sense)
			b.refused(allocReply(s, b.mem.alloc(4096)), errESRCH)
			b.none()
			if l := b.dev.Commands(); len(l) > 0 {
				t.Errorf("left: %v", l)
			}
		})
	}
}

// shortMemory maps less than it was asked for.
type shortMemory struct{ *testMemory }

func (m shortMemory) Map(addr uint64, n int) ([]byte, error) {
	b, err := m.testMemory.Map(addr, n)
	return b[:max(len(b)-1, 0)], err
}

// I7: a Memory that maps less than it was asked for is not believed.
func TestI7ShortMapping(t *testing.T) {
	b := newBench(t)
	defer b.close()
	b.dev.mem = shortMemory{b.mem}
	c := b.write(8)
	b.refused(allocReply(b.get(SubAllocMem), b.mem.alloc(4096)), errEFAULT)
	b.ended(c, scsi.CheckCondition, senseAborted)
	if n := b.mem.mapped(); n != 0 {
		t.Errorf("%d buffers mapped", n)
	}
}

// R51: without reuse a buffer may be anywhere.
func TestR51UnalignedWithoutReuse(t *testing.T) {
	b := newBench(t, withReuse(ReuseNone))
	defer b.close()
	b.fe.payload = func(c *target.Cmd) { c.Buf[0], c.Buf[4095] = 1, 2 }
	c := b.write(8)
	s := b.get(SubAllocMem)
	base := b.mem.alloc(8192)
	b.reply(allocReply(s, base+3088))
	s = b.get(SubExec)
	if s.PBuf != base+3088 {
		t.Errorf("EXEC pbuf %#x", s.PBuf)
	}
	if m := b.mem.mem[base]; m[3088] != 1 || m[3088+4095] != 2 {
		t.Error("the payload is not in the handler's buffer")
	}
	b.execDone(s)
	b.good(c)
}

// R52: the session's other commands make it TASK SET FULL.
func TestR52TaskSetFull(t *testing.T) {
	b := newBench(t)
	defer b.close()
	_, other := b.writeExec(8)
	c := b.write(8)
	b.reply(allocReply(b.get(SubAllocMem), 0))
	b.ended(c, scsi.TaskSetFull, "")
	b.execDone(other)
}

// Fact 36, rule R56: bad buffers in the reply to a READ.
func TestFact36ExecRead(t *testing.T) {
	for _, x := range []struct {
		name   string
		reuse  ReuseType
		pbuf   func(b *bench) uint64
		want   error
		status scsi.Status
		sense  string
	}{
		{"unaligned", ReuseAll, func(b *bench) uint64 { return b.mem.alloc(8192) + 16 }, errEINVAL, scsi.CheckCondition, senseAborted},
		{"none", ReuseAll, func(*bench) uint64 { return 0 }, nil, scsi.Busy, ""},
		{"unmapped", ReuseAll, func(*bench) uint64 { return 0x1000 }, nil, scsi.CheckCondition, senseAborted},
		{"not reused, unaligned", ReuseNone, func(b *bench) uint64 { return b.mem.alloc(8192) + 16 }, nil, scsi.Good, ""},
		{"not reused, none", ReuseNone, func(*bench) uint64 { return 0 }, nil, scsi.Busy, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, withReuse(x.reuse))
			defer b.close()
			c := b.read(8)
			s := b.get(SubExec)
			r := completed(s)
			r.RespDataLen, r.PBuf = 4096, x.pbuf(b)
			b.refused(r, x.want)
			b.ended(c, x.status, x.sense)
			b.none()
			if l := b.dev.Commands(); len(l) > 0 {
				t.Errorf("left: %v", l)
			}
		})
	}
}

// R56: pbuf counts only where a buffer was asked for and data came.
func TestR56PBufIsIgnored(t *testing.T) {
	b := newBench(t)
	defer b.close()
	// A READ that returns nothing.
	c := b.read(8)
	r := completed(b.get(SubExec))
	r.PBuf = 0xdead // not even looked at
	b.reply(r)
	b.good(c)
	if n := b.mem.mapped(); n != 0 {
		t.Errorf("%d buffers mapped", n)
	}
	// One that had a buffer.
	b.doWrite(8)
	c = b.read(8)
	s := b.get(SubExec)
	r = completed(s)
	r.RespDataLen, r.PBuf = 4096, 0xdead
	b.reply(r)
	b.good(c)
	if n := b.mem.mapped(); n != 1 {
		t.Errorf("%d buffers mapped, want the one in the pool", n)
	}
}

// R53, fact 32: buffers are kept per direction.
func TestR53ReusePerDirection(t *testing.T) {
	for _, x := range []struct {
		reuse       ReuseType
		write, read bool // kept
	}{
		{ReuseNone, false, false}, {ReuseRead, false, true}, {ReuseWrite, true, false}, {ReuseAll, true, true},
	} {
		b := newBench(t, withReuse(x.reuse), withOnFree(OnFreeCall))
		for round, hit := range []bool{false, true} {
			b.write(8)
			s, _ := b.tryGet()
			if asked := s.Code == SubAllocMem; asked == (x.write && hit) {
				t.Errorf("reuse %d, WRITE %d: got %v", x.reuse, round, s.Code)
			}
			if s.Code == SubAllocMem {
				b.reply(allocReply(s, b.mem.alloc(4096)))
				s = b.get(SubExec)
			}
			b.execDone(s)
			if f := b.get(SubOnFree); f.BufferCached != x.write || f.PBuf != s.PBuf {
				t.Errorf("reuse %d, WRITE: ON_FREE_CMD %+v", x.reuse, f)
			}
			b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
			if x.write && x.read {
				if err := b.dev.FlushCache(); err != nil { // the READ's is its own
					t.Fatal(err)
				}
				b.settleFree()
			}

			b.read(8)
			s = b.get(SubExec)
			if own := s.PBuf != 0; own != (x.read && !x.write && hit) {
				t.Errorf("reuse %d, READ %d: EXEC %+v", x.reuse, round, s)
			}
			b.execDone(s)
			if f := b.get(SubOnFree); f.BufferCached != x.read || f.PBuf == 0 || f.RespDataLen != 4096 {
				t.Errorf("reuse %d, READ: ON_FREE_CMD %+v", x.reuse, f)
			}
			b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
		}
		b.close()
	}
}

// Fact 33: the buffer that was freed last is used first; READ and WRITE share
// them (fact 30), and smaller requests of the class take them (fact 31).
func TestFact33LIFOReuse(t *testing.T) {
	b := newBench(t)
	defer b.close()
	// Three buffers: three commands at once. I3: none is shared.
	var subs []Subcommand
	bufs := map[uint64]bool{}
	for range 3 {
		_, s := b.writeExec(32)
		subs = append(subs, s)
		bufs[s.PBuf] = true
	}
	if len(bufs) != 3 {
		t.Fatalf("I3: %d buffers for 3 live commands", len(bufs))
	}
	for _, i := range []int{0, 2, 1} {
		b.execDone(subs[i])
	}
	var got []Subcommand
	for i, c := range []*target.Cmd{b.read(32), b.write(20), b.read(17)} {
		s := b.get(SubExec)
		if want := subs[[]int{1, 2, 0}[i]].PBuf; s.PBuf != want {
			t.Errorf("command %d uses %#x, want %#x", i, s.PBuf, want)
		}
		_ = c
		got = append(got, s)
	}
	b.write(32)
	s := b.get(SubAllocMem) // all are busy: a new one (R53)
	b.reply(allocReply(s, b.mem.alloc(16384)))
	b.execDone(b.get(SubExec))
	for _, s := range got {
		b.execDone(s)
	}
}

// Fact 33: without clustering the clustered pool is not used; a session that
// asks for it has its own.
func TestR11ClusteredPool(t *testing.T) {
	b := newBench(t)
	defer b.close()
	pbuf := b.mem.alloc(4096)
	if _, err := b.dev.Prealloc(pbuf, 4096, true); err != nil {
		t.Fatal(err)
	}
	b.write(8)
	s := b.get(SubAllocMem)
	b.reply(allocReply(s, b.mem.alloc(4096)))
	b.execDone(b.get(SubExec))

	info := target.SessionInfo{Initiator: "c", Clustered: true}
	got := make(chan *target.Session)
	go func() {
		s, err := b.dev.tdev.NewSession(t.Context(), b.fe, info)
		if err != nil {
			t.Error(err)
		}
		got <- s
	}()
	a := b.waitGet()
	b.reply(Reply{Handle: a.Handle, Code: SubAttachSess})
	b.submitTo(<-got, scsi.EncodeWrite16(0, 8, false), scsi.QueueSimple)
	s = b.get(SubExec)
	if s.PBuf != pbuf {
		t.Errorf("pbuf %#x, want the clustered pool's %#x", s.PBuf, pbuf)
	}
	b.execDone(s)
}

// BIDI: one buffer, the write side on its own page behind the read side; EXEC
// has both addresses (R55), and the front end writes the second.
func TestR55Bidi(t *testing.T) {
	b := newBench(t, withParse(ParseCall))
	defer b.close()
	b.fe.payload = func(c *target.Cmd) { copy(c.OutBuf, "out") }
	for range 2 { // a miss, then a hit
		c := b.read(8)
		s := b.get(SubParse)
		r := goodParse(s, scsi.DirBidi, 5000)
		r.OutBufLen = 100
		b.reply(r)
		s, _ = b.tryGet()
		if s.Code == SubAllocMem {
			if s.AllocLen != 16384 { // 2 + 1 pages, of the class
				t.Errorf("alloc_len %d", s.AllocLen)
			}
			b.reply(allocReply(s, b.mem.alloc(16384)))
			s = b.get(SubExec)
		}
		if s.PBuf == 0 || s.OutPBuf != s.PBuf+8192 || s.BufLen != 5000 || s.OutBufLen != 100 || s.Dir != scsi.DirBidi {
			t.Errorf("EXEC %+v", s)
		}
		if len(c.Buf) != 5000 || len(c.OutBuf) != 100 || string(b.mem.mem[s.PBuf][8192:8195]) != "out" {
			t.Errorf("buffers of %d and %d bytes", len(c.Buf), len(c.OutBuf))
		}
		b.reply(completed(s))
		b.good(c)
		// The module takes no data from a BIDI command, nor BACKGROUND (R57, R59).
		for _, bad := range []Reply{{Type: ReplyCompleted, RespDataLen: 1}, {Type: ReplyBackground}} {
			c := b.read(8)
			s := b.get(SubParse)
			r := goodParse(s, scsi.DirBidi, 512)
			b.reply(r)
			s, _ = b.tryGet()
			if s.Code == SubAllocMem {
				b.reply(allocReply(s, b.mem.alloc(4096)))
				s = b.get(SubExec)
			}
			bad.Handle, bad.Code = s.Handle, SubExec
			b.refused(bad, errEINVAL)
			b.ended(c, scsi.CheckCondition, senseAborted)
		}
	}
}

// I7: lengths from a handler, or an initiator, that no buffer can have. The
// sum of BIDI lengths overflows 31 bits, rounding up does, a limit is passed.
func TestI7HugeBuffers(t *testing.T) {
	type lens struct {
		dir      scsi.Dir
		buf, out int32
	}
	for name, x := range map[string]lens{
		"read":       {scsi.DirRead, math.MaxInt32, 0},
		"write":      {scsi.DirWrite, math.MaxInt32, 0},
		"whole page": {scsi.DirWrite, math.MaxInt32 &^ 4095, 0},
		"bidi":       {scsi.DirBidi, math.MaxInt32, math.MaxInt32},
		"bidi sum":   {scsi.DirBidi, 1 << 30, 1<<30 + 1},
		"bidi small": {scsi.DirBidi, 1, math.MaxInt32},
	} {
		for _, reuse := range []ReuseType{ReuseAll, ReuseNone} {
			b := newBench(t, withParse(ParseCall), withReuse(reuse))
			c := b.read(8)
			s := b.get(SubParse)
			r := goodParse(s, x.dir, x.buf)
			r.OutBufLen = x.out
			b.reply(r)
			b.none()
			if c.Status != scsi.CheckCondition || senseOf(c) != "05/24/00" {
				t.Errorf("%s: %v %s", name, c.Status, senseOf(c))
			}
			b.close()
		}
	}
	// The largest READ that a CDB can ask for.
	b := newBench(t)
	c := b.read(math.MaxInt32 / 512)
	b.none()
	b.ended(c, scsi.CheckCondition, "05/24/00")
	b.close()
	// Not a length that overflows, but one that the pool never takes.
	b = newBench(t, withLimits(Limits{MaxPages: 3}))
	c = b.write(24) // 3 pages, of the class of 4
	b.none()
	b.ended(c, scsi.CheckCondition, "05/24/00")
	c = b.write(16)
	b.reply(allocReply(b.get(SubAllocMem), 0))
	b.ended(c, scsi.Busy, "")
	b.close()
}

// The pool's limit: the command is BUSY, and what the handler gave for it is
// given back, once (I3).
func TestI3StrayBuffersAtThePoolLimit(t *testing.T) {
	for _, of := range []OnFreeType{OnFreeIgnore, OnFreeCall} {
		for _, dir := range []scsi.Dir{scsi.DirWrite, scsi.DirRead} {
			b := newBench(t, withOnFree(of), withLimits(Limits{MaxPages: 8}))
			// Both pools have the limit; the plain one is full of what is in use.
			_, holder := b.writeExec(64)
			var c *target.Cmd
			var s Subcommand
			pbuf := b.mem.alloc(4096)
			if dir == scsi.DirWrite {
				c = b.write(8)
				s = b.get(SubAllocMem)
				b.reply(allocReply(s, pbuf))
			} else {
				c = b.read(8)
				s = b.get(SubExec)
				r := completed(s)
				r.RespDataLen, r.PBuf = 4096, pbuf
				b.reply(r)
			}
			b.ended(c, scsi.TaskSetFull, "")
			if of == OnFreeCall {
				if f := b.get(SubOnFree); f.Handle != s.Handle || f.PBuf != pbuf || !f.BufferCached {
					t.Errorf("ON_FREE_CMD %+v", f)
				}
				b.reply(Reply{Handle: s.Handle, Code: SubOnFree})
			}
			f := b.get(SubOnCachedMemFree)
			if f.Handle != s.Handle || f.PBuf != pbuf {
				t.Errorf("ON_CACHED_MEM_FREE %+v", f)
			}
			b.checkRefs()
			b.reply(Reply{Handle: f.Handle, Code: SubOnCachedMemFree})
			b.none()
			if _, ok := b.command(s.Handle); ok {
				t.Error("the ucmd is still there")
			}
			b.execDone(holder)
			b.settleFree()
			b.close()
		}
	}
}
