package ucmd

import (
	"bytes"
	"math"
	"testing"

	"scstuser/scsi"
	"scstuser/target"
)

// R55: what EXEC tells.
func TestR55ExecPayload(t *testing.T) {
	b := newBench(t)
	defer b.close()
	b.submit(scsi.EncodeWrite16(7, 8, true))
	s := b.get(SubAllocMem)
	b.reply(allocReply(s, b.mem.alloc(4096)))
	s = b.get(SubExec)
	if s.LBA != 7 || s.DataLen != 4096 || s.BufLen != 4096 || s.CDBLen != 16 || s.CDB[0] != 0x8a || s.CDB[1] != 8 ||
		s.QueueType != scsi.QueueSimple || s.Dir != scsi.DirWrite || s.Timeout != 60 || s.SessH != b.sess.Handle() ||
		s.AllocLen != 0 || s.OutPBuf != 0 || s.SN != 0 {
		t.Errorf("EXEC %+v", s)
	}
	b.execDone(s)
	// An LBA near the end of the address space is the handler's to refuse (fact 44).
	for _, lba := range []uint64{1<<63 - 1, 1 << 63, math.MaxUint64} {
		b.submit(scsi.EncodeRead16(lba, 8, false))
		if s = b.get(SubExec); s.LBA != lba {
			t.Errorf("EXEC lba %#x, want %#x", s.LBA, lba)
		}
		r := completed(s)
		r.Status, r.Sense = scsi.CheckCondition, scsi.SenseLBAOutOfRange.AppendFixed(nil)
		b.reply(r)
	}
}

// Rules R57 to R60, fact 37: bad EXEC replies, the exact errno and sense.
func TestR57BadExecReplies(t *testing.T) {
	write, read, none := scsi.EncodeWrite16(0, 8, false), scsi.EncodeRead16(0, 8, false), scsi.EncodeSyncCache16(0, 0)
	for _, x := range []struct {
		name  string
		cdb   scsi.CDB
		r     Reply
		sense string
	}{
		{"resp_data_len > bufflen", read, Reply{Type: ReplyCompleted, RespDataLen: 4097}, senseAborted},
		{"negative resp_data_len", read, Reply{Type: ReplyCompleted, RespDataLen: -1}, senseAborted},
		{"most negative", read, Reply{Type: ReplyCompleted, RespDataLen: math.MinInt32}, senseAborted},
		{"data from a WRITE", write, Reply{Type: ReplyCompleted, RespDataLen: 1}, senseAborted},
		{"data without direction", none, Reply{Type: ReplyCompleted, RespDataLen: 1}, senseAborted},
		{"reply type", read, Reply{Type: 77}, senseAborted},
		{"no reply type", read, Reply{}, senseAborted},
		{"BACKGROUND of a READ", read, Reply{Type: ReplyBackground}, senseAborted},
		{"DO_WRITE_SAME of a READ", read, Reply{Type: ReplyDoWriteSame}, senseHardware},
		{"DO_WRITE_SAME of a WRITE", write, Reply{Type: ReplyDoWriteSame}, senseHardware},
		{"DO_WRITE_SAME without data", none, Reply{Type: ReplyDoWriteSame}, senseHardware},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			defer b.close()
			h := b.doWrite(8) // READs have a buffer then
			c := b.submit(x.cdb)
			s := b.get(SubExec)
			x.r.Handle, x.r.Code = s.Handle, SubExec
			b.refused(x.r, errEINVAL)
			b.ended(c, scsi.CheckCondition, x.sense)
			// It is consumed all the same (fact 13).
			b.refused(completed(s), errESRCH)
			b.only(t, Command{Handle: h, State: StateOnFreeSkipped, Ref: 1, Owners: "sgv", Seen: true})
		})
	}
}

// R57, fact 39: short and empty READs.
func TestR57ShortRead(t *testing.T) {
	b := newBench(t)
	defer b.close()
	b.doWrite(8)
	for _, n := range []int32{0, 1, 1024, 4096} {
		c := b.initCmd(scsi.EncodeRead16(0, 8, false))
		b.fe.setHold(true)
		b.sess.Submit(c)
		s := b.get(SubExec)
		copy(b.mem.mem[s.PBuf], bytes.Repeat([]byte{0xab}, 4096))
		r := completed(s)
		r.RespDataLen = n
		b.reply(r)
		b.good(c)
		if c.RespLen != n || len(c.Data()) != int(n) || bytes.Count(c.Data(), []byte{0xab}) != int(n) {
			t.Errorf("READ returned %d bytes, want %d", len(c.Data()), n)
		}
		b.fe.setHold(false)
		b.fe.deliver()
	}
}

// R58, fact 39: statuses and sense reach the initiator as they are.
func TestR58StatusAndSense(t *testing.T) {
	medium := scsi.Sense{Key: scsi.KeyMediumError, ASC: scsi.ASCUnrecoveredRead}.AppendFixed(nil)
	for _, x := range []struct {
		name  string
		r     Reply
		sense []byte
	}{
		{"check condition", Reply{Status: scsi.CheckCondition, Sense: medium}, medium},
		{"252 bytes", Reply{Status: scsi.CheckCondition, Sense: append(medium, make([]byte, 400)...)}, append(medium, make([]byte, 252-18)...)},
		{"with data", Reply{Status: scsi.CheckCondition, Sense: medium, RespDataLen: 4096}, medium},
		{"busy", Reply{Status: scsi.Busy, Sense: medium}, nil},
		{"task set full", Reply{Status: scsi.TaskSetFull}, nil},
		{"reservation conflict", Reply{Status: scsi.ReservationConflict}, nil},
		{"no SAM status", Reply{Status: 0xff}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			defer b.close()
			b.doWrite(8)
			c := b.read(8)
			s := b.get(SubExec)
			x.r.Handle, x.r.Code, x.r.Type = s.Handle, SubExec, ReplyCompleted
			b.reply(x.r)
			if c.Status != x.r.Status || !bytes.Equal(c.Sense(), x.sense) || c.RespLen != x.r.RespDataLen {
				t.Errorf("%v, %d bytes, sense % x", c.Status, c.RespLen, c.Sense())
			}
		})
	}
}

// Fact 38: CHECK CONDITION without sense, or with sense that can't be read,
// makes the target ask the handler, once.
func TestFact38RequestSense(t *testing.T) {
	for _, x := range []struct {
		name  string
		r     Reply
		want  error
		fails bool // the handler fails REQUEST SENSE too
		sense string
	}{
		{"none", Reply{}, nil, false, "03/11/00"},
		{"bad pointer", Reply{BadSense: true}, errEFAULT, false, "03/11/00"},
		{"none at all", Reply{}, nil, true, senseHardware},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			defer b.close()
			c, s := b.writeExec(8)
			first := s.Handle
			x.r.Handle, x.r.Code, x.r.Type, x.r.Status = s.Handle, SubExec, ReplyCompleted, scsi.CheckCondition
			b.refused(x.r, x.want)
			if cmd, ok := b.command(first); !ok || cmd.State != StateExecing || cmd.Sent || !cmd.HasCmd {
				t.Errorf("the command meanwhile: %v", cmd)
			}
			s = b.get(SubExec)
			if s.CDB[0] != byte(scsi.OpRequestSense) || s.Handle == first {
				t.Fatalf("EXEC %+v, want REQUEST SENSE with a handle of its own", s)
			}
			r := completed(s)
			r.PBuf = b.mem.alloc(4096)
			if x.fails {
				r.Status = scsi.CheckCondition
			} else {
				sense := scsi.Sense{Key: scsi.KeyMediumError, ASC: scsi.ASCUnrecoveredRead}.AppendFixed(nil)
				copy(b.mem.mem[r.PBuf], sense)
				r.RespDataLen = int32(len(sense))
			}
			b.reply(r)
			b.none()
			b.ended(c, scsi.CheckCondition, x.sense)
		})
	}
}

// R59: BACKGROUND of a command without data, and COMPLETED before the front
// end has delivered the response.
func TestR59BackgroundOrders(t *testing.T) {
	for _, of := range []OnFreeType{OnFreeIgnore, OnFreeCall} {
		b := newBench(t, withOnFree(of))
		onFree := func(h uint32) {
			t.Helper()
			if of == OnFreeCall {
				if s := b.get(SubOnFree); s.Handle != h {
					t.Fatalf("ON_FREE_CMD %+v", s)
				}
				b.reply(Reply{Handle: h, Code: SubOnFree})
			}
			b.none()
		}
		// No data.
		c := b.submit(scsi.EncodeSyncCache16(0, 0))
		s := b.get(SubExec)
		b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyBackground})
		b.good(c)
		b.none()
		b.refused(Reply{Handle: s.Handle, Code: SubOnFree}, errEINVAL) // not asked yet
		b.checkRefs()
		r := completed(s)
		r.Status, r.RespDataLen, r.Sense = scsi.CheckCondition, 77, []byte{1} // ignored
		b.reply(r)
		onFree(s.Handle)
		b.good(c)
		b.refused(completed(s), errESRCH)

		// COMPLETED while the response is on its way.
		b.fe.setHold(true)
		_, s = b.writeExec(8)
		b.reply(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyBackground})
		if _, err := b.dev.ExtendedCDB(s.Handle); err != nil {
			t.Errorf("GET_EXTENDED_CDB in the background: %v (R37)", err)
		}
		b.reply(completed(s))
		b.none()
		b.fe.setHold(false)
		b.fe.deliver()
		onFree(s.Handle)
		b.checkRefs()
		b.close()
	}
}

// wsReply asks for DO_WRITE_SAME of the ranges, with the closing descriptor.
func wsReply(s Subcommand, ranges ...WriteSameDescr) Reply {
	d := append(ranges, WriteSameDescr{})
	return Reply{Handle: s.Handle, Code: SubExec, Type: ReplyDoWriteSame, WriteSame: d, WSLen: int32(16 * len(d))}
}

// writeSame brings a WRITE SAME(16) of 16 blocks at 100 to its EXEC.
func (b *bench) writeSame(blocks uint32) (*target.Cmd, Subcommand) {
	b.t.Helper()
	c := b.initCmd(scsi.EncodeWriteSame16(100, blocks, false, false))
	b.sess.Submit(c)
	s, _ := b.tryGet()
	if s.Code == SubAllocMem {
		b.reply(allocReply(s, b.mem.alloc(int(s.AllocLen))))
		s = b.get(SubExec)
	}
	return c, s
}

// R60, fact 41: the target carries it out with WRITEs of its own, with their
// own handles, and the original ends after them.
func TestR60DoWriteSame(t *testing.T) {
	for _, x := range []struct {
		name   string
		ranges []WriteSameDescr // nil: the whole CDB range
		want   []WriteSameDescr
	}{
		{"whole", nil, []WriteSameDescr{{100, 16}}},
		{"two of the recording", []WriteSameDescr{{100, 1}, {101, 15}}, []WriteSameDescr{{100, 1}, {101, 15}}},
		{"a hole", []WriteSameDescr{{102, 2}, {115, 1}}, []WriteSameDescr{{102, 2}, {115, 1}}},
		{"empty list", []WriteSameDescr{}, nil},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			defer b.close()
			b.fe.payload = func(c *target.Cmd) { copy(c.Buf, bytes.Repeat([]byte("block"), 200)[:512]) }
			c, s := b.writeSame(16)
			if s.BufLen != 512 || s.DataLen != 8192 {
				t.Errorf("EXEC %+v (fact 41)", s)
			}
			orig := s.Handle
			r := Reply{Handle: s.Handle, Code: SubExec, Type: ReplyDoWriteSame}
			if x.ranges != nil {
				r = wsReply(s, x.ranges...)
			}
			b.reply(r)
			for _, w := range x.want {
				s, ok := b.tryGet()
				if ok && s.Code == SubAllocMem {
					b.reply(allocReply(s, b.mem.alloc(int(s.AllocLen))))
					s = b.get(SubExec)
				}
				if s.CDB[0] != 0x8a || s.LBA != w.LBA || s.DataLen != int64(w.Blocks)*512 || s.Handle == orig || s.SessH != b.sess.Handle() {
					t.Fatalf("EXEC %+v, want a WRITE of %+v", s, w)
				}
				data := b.mem.mem[s.PBuf][:s.BufLen]
				for i := 0; i < len(data); i += 512 {
					if !bytes.HasPrefix(data[i:], []byte("blockblock")) {
						t.Fatalf("block %d is not the original's", i/512)
					}
				}
				if len(c.Sense()) > 0 || b.fe.freedCount() > 0 {
					t.Fatal("the original ended before its WRITEs")
				}
				b.execDone(s)
			}
			b.none()
			b.good(c)
		})
	}
}

func TestR60BadWriteSame(t *testing.T) {
	many := make([]WriteSameDescr, 257)
	for _, x := range []struct {
		name   string
		blocks uint32
		change func(*Reply)
		want   error
	}{
		{"status", 16, func(r *Reply) { r.Status = scsi.Busy }, errEINVAL},
		{"not a multiple of 16", 16, func(r *Reply) { r.WSLen = 17 }, errEINVAL},
		{"negative length", 16, func(r *Reply) { r.WSLen = -16 }, errEINVAL},
		{"longer than a page", 16, func(r *Reply) { r.WriteSame, r.WSLen = many, 257*16 }, errEOVERFLOW},
		{"longer than the list", 16, func(r *Reply) { r.WSLen = 48 }, errEINVAL},
		{"shorter than the list", 16, func(r *Reply) { r.WSLen = 16 }, errEINVAL},
		{"no list", 16, func(r *Reply) { r.WriteSame = nil }, errEINVAL},
		{"not closed", 16, func(r *Reply) { r.WriteSame[1].Blocks = 1 }, errEINVAL},
		{"before the range", 16, func(r *Reply) { r.WriteSame[0].LBA = 99 }, errEINVAL},
		{"behind the range", 16, func(r *Reply) { r.WriteSame[0] = WriteSameDescr{117, 0} }, errEINVAL},
		{"beyond the range", 16, func(r *Reply) { r.WriteSame[0].Blocks = 17 }, errEINVAL},
		{"overflow", 16, func(r *Reply) { r.WriteSame[0] = WriteSameDescr{101, math.MaxUint64} }, errEINVAL},
		{"to an end that is not known", 0, func(r *Reply) { r.WSLen = 0 }, errEINVAL},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t)
			defer b.close()
			c, s := b.writeSame(x.blocks)
			r := wsReply(s, WriteSameDescr{100, 16})
			x.change(&r)
			b.refused(r, x.want)
			b.ended(c, scsi.CheckCondition, senseHardware)
			b.none()
		})
	}
	// No data-out buffer: nothing to write.
	b := newBench(t)
	defer b.close()
	c := b.submit(scsi.EncodeWriteSame16(0, 16, true, true))
	s := b.get(SubExec)
	b.refused(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyDoWriteSame}, errEINVAL)
	b.ended(c, scsi.CheckCondition, senseHardware)
}

// WRITE SAME to the end of the medium: the handler names the blocks.
func TestR60ToTheEndOfTheMedium(t *testing.T) {
	b := newBench(t)
	defer b.close()
	c, s := b.writeSame(0)
	b.reply(wsReply(s, WriteSameDescr{200, 2}))
	s = b.get(SubAllocMem)
	b.reply(allocReply(s, b.mem.alloc(int(s.AllocLen))))
	s = b.get(SubExec)
	if s.LBA != 200 {
		t.Errorf("EXEC %+v", s)
	}
	b.execDone(s)
	b.good(c)
}

// A WRITE that fails ends the WRITE SAME with its sense.
func TestR60FailedWriteEndsIt(t *testing.T) {
	b := newBench(t)
	defer b.close()
	c, s := b.writeSame(16)
	b.reply(wsReply(s, WriteSameDescr{100, 1}, WriteSameDescr{101, 15}))
	s = b.get(SubAllocMem)
	b.reply(allocReply(s, b.mem.alloc(int(s.AllocLen))))
	r := completed(b.get(SubExec))
	r.Status, r.Sense = scsi.CheckCondition, scsi.Sense{Key: scsi.KeyMediumError, ASC: scsi.ASCWriteError}.AppendFixed(nil)
	b.reply(r)
	b.none()
	b.ended(c, scsi.CheckCondition, "03/0c/00")
}
