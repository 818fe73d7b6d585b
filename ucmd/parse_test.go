package ucmd

import (
	"testing"

	"scstuser/scsi"
)

// goodParse is a PARSE reply that changes nothing but the transfer.
func goodParse(s Subcommand, dir scsi.Dir, bufLen int32) Reply {
	return Reply{
		Handle: s.Handle, Code: SubParse, QueueType: s.QueueType, Dir: dir, CDBLen: s.CDBLen,
		LBA: int64(s.LBA), DataLen: int64(bufLen), BufLen: bufLen, OpFlags: scsi.OpInfoValid,
	}
}

var unknownCDB = scsi.CDB{Bytes: [16]byte{0xc1}, Len: 10}

func TestR43ParseTypes(t *testing.T) {
	read := scsi.EncodeRead16(0, 8, false)
	for _, x := range []struct {
		name  string
		pt    ParseType
		cdb   scsi.CDB
		asked bool
		sense string // if not asked: how it ends, "" if it gets to EXEC
	}{
		{"standard, known", ParseStandard, read, false, ""},
		{"standard, unknown", ParseStandard, unknownCDB, false, "05/20/00"},
		{"call, known", ParseCall, read, true, ""},
		{"call, unknown", ParseCall, unknownCDB, true, ""},
		{"call, no data", ParseCall, scsi.EncodeTestUnitReady(), true, ""},
		{"call, cut short", ParseCall, scsi.CDB{Bytes: [16]byte{0x88}, Len: 6}, true, ""},
		{"call, too long a transfer", ParseCall, scsi.EncodeRead16(0, 0xffffffff, false), true, ""},
		{"exception, known", ParseException, read, false, ""},
		{"exception, unknown", ParseException, unknownCDB, true, ""},
		{"exception, unknown service action", ParseException, scsi.CDB{Bytes: [16]byte{0x9e, 0x1f}, Len: 16}, true, ""},
		// The parser has an answer for these, an error: nobody is asked.
		{"exception, cut short", ParseException, scsi.CDB{Bytes: [16]byte{0x88}, Len: 6}, false, "05/24/00"},
		{"exception, too long", ParseException, scsi.EncodeRead16(0, 0xffffffff, false), false, "05/24/00"},
		{"standard, empty", ParseStandard, scsi.CDB{}, false, "05/24/00"},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, withParse(x.pt))
			defer b.close()
			c := b.submit(x.cdb)
			s, ok := b.tryGet()
			switch {
			case x.asked:
				if !ok || s.Code != SubParse {
					t.Fatalf("got %v %v, want PARSE", ok, s.Code)
				}
				b.reply(goodParse(s, scsi.DirNone, 0))
				b.execDone(b.get(SubExec))
				b.good(c)
			case x.sense != "":
				if ok {
					t.Fatalf("got %v", s.Code)
				}
				if c.Status != scsi.CheckCondition || senseOf(c) != x.sense {
					b.ended(c, scsi.CheckCondition, x.sense)
				}
			default:
				if !ok || s.Code != SubExec {
					t.Fatalf("got %v %v, want EXEC", ok, s.Code)
				}
				b.execDone(s)
				b.good(c)
			}
		})
	}
}

// R43: REPORT LUNS is the target's own; no ucmd ever sees it (fact 23).
func TestR43LocalCommandsAreNotParsed(t *testing.T) {
	b := newBench(t, withParse(ParseCall))
	defer b.close()
	c := b.submit(scsi.EncodeReportLUNs(0, 64))
	b.none()
	b.good(c)
	b.expectEvents("")
}

// R44, fact 42: lengths of READ and WRITE are in blocks, those of others in
// bytes; the op flags are the standard parser's, and so is what is expected where
// the initiator did not say.
func TestR44ParsePayload(t *testing.T) {
	b := newBench(t, withParse(ParseCall))
	defer b.close()

	b.submit(scsi.EncodeRead16(7, 8, false))
	s := b.get(SubParse)
	if s.DataLen != 8 || s.BufLen != 8 || s.LBA != 7 || s.Dir != scsi.DirRead || s.CDBLen != 16 || s.CDB[0] != 0x88 ||
		s.OpFlags&(scsi.OpInfoValid|scsi.OpBlocksLength) != scsi.OpInfoValid|scsi.OpBlocksLength ||
		s.Timeout != 30 || s.SessH != b.sess.Handle() || !s.ExpectedSet || s.ExpectedDir != scsi.DirRead || s.ExpectedLen != 4096 || s.QueueType != scsi.QueueSimple {
		t.Errorf("PARSE of READ: %+v", s)
	}
	b.reply(goodParse(s, scsi.DirRead, 4096))
	x := b.get(SubExec)
	if x.Timeout != 30 { // fact 42: the tables' is not for what the handler parses
		t.Errorf("EXEC of READ: timeout %d, want 30", x.Timeout)
	}
	b.execDone(x)

	b.submit(scsi.EncodeInquiry(false, 0, 36))
	s = b.get(SubParse)
	if s.DataLen != 36 || s.BufLen != 36 || s.QueueType != scsi.QueueHeadOfQueue || s.OpFlags != 0x71e1 {
		t.Errorf("PARSE of INQUIRY: %+v", s)
	}
	b.reply(goodParse(s, scsi.DirRead, 36))
	b.execDone(b.get(SubExec))

	c := b.initCmd(unknownCDB)
	c.ExpectedSet, c.ExpectedDir, c.ExpectedLen = true, scsi.DirWrite, 99
	b.sess.Submit(c)
	s = b.get(SubParse)
	if !s.ExpectedSet || s.ExpectedDir != scsi.DirWrite || s.ExpectedLen != 99 || s.BufLen != 99 || s.Dir != scsi.DirWrite || s.OpFlags != 0 {
		t.Errorf("PARSE of an unknown command: %+v", s)
	}
	b.reply(goodParse(s, scsi.DirNone, 0))
	b.execDone(b.get(SubExec))
	b.good(c)
}

// A large block size must not overflow the PARSE payload's arithmetic, and a
// device without blocks has none to divide by (I7).
func TestI7ParseWithOddBlockSizes(t *testing.T) {
	for _, x := range []struct {
		typ  DeviceType
		size uint32
	}{{TypeDisk, 1 << 31}, {TypeDisk, 1 << 30}, {0x01, 0}, {0x1f, 3}} {
		b := newBench(t, withParse(ParseCall), withDesc(func(d *Desc) { d.Type, d.BlockSize = x.typ, x.size }))
		for _, cdb := range []scsi.CDB{scsi.EncodeRead16(0, 1, false), scsi.EncodeWriteSame16(0, 1, false, false), unknownCDB} {
			c := b.submit(cdb)
			s := b.get(SubParse)
			if s.BufLen < 0 || s.DataLen < 0 {
				t.Errorf("block size %d: PARSE %+v", x.size, s)
			}
			b.reply(goodParse(s, scsi.DirNone, 0))
			s = b.get(SubExec)
			b.refused(Reply{Handle: s.Handle, Code: SubExec, Type: ReplyDoWriteSame}, errEINVAL)
			b.ended(c, scsi.CheckCondition, senseHardware)
		}
		b.close()
	}
}

// R45, fact 43: each bad reply is EINVAL for the handler, HARDWARE ERROR for
// the initiator, and consumed.
func TestR45BadParseReplies(t *testing.T) {
	for name, change := range map[string]func(*Reply){
		"no INFO_VALID":         func(r *Reply) { r.OpFlags = 0x4 },
		"no length for a read":  func(r *Reply) { r.BufLen = 0 },
		"no length for bidi":    func(r *Reply) { r.Dir, r.BufLen, r.OutBufLen = scsi.DirBidi, 0, 512 },
		"direction 0":           func(r *Reply) { r.Dir = 0 },
		"direction 7":           func(r *Reply) { r.Dir = 7 },
		"queue type 9":          func(r *Reply) { r.QueueType = 9 },
		"queue type 5":          func(r *Reply) { r.QueueType = 5 },
		"cdb_len":               func(r *Reply) { r.CDBLen = 17 },
		"negative lba":          func(r *Reply) { r.LBA = -1 },
		"negative data_len":     func(r *Reply) { r.DataLen = -1 },
		"negative bufflen":      func(r *Reply) { r.BufLen = -4096 },
		"most negative bufflen": func(r *Reply) { r.BufLen = -1 << 31 },
		"negative out_bufflen":  func(r *Reply) { r.OutBufLen = -1 },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, withParse(ParseCall))
			defer b.close()
			c := b.read(8)
			s := b.get(SubParse)
			r := goodParse(s, scsi.DirRead, 4096)
			change(&r)
			b.refused(r, errEINVAL)
			b.ended(c, scsi.CheckCondition, senseHardware)
			b.refused(goodParse(s, scsi.DirRead, 4096), errESRCH)
			b.none()
		})
	}
}

func TestR46ParseStatus(t *testing.T) {
	long := make([]byte, 300)
	copy(long, scsi.SenseInvalidFieldInCDB.AppendFixed(nil))
	for _, x := range []struct {
		name   string
		r      Reply
		want   error
		status scsi.Status
		sense  string
		n      int
	}{
		{"sense", Reply{Status: scsi.CheckCondition, Sense: scsi.SenseInvalidFieldInCDB.AppendFixed(nil)}, nil, scsi.CheckCondition, "05/24/00", 18},
		{"long sense", Reply{Status: scsi.CheckCondition, Sense: long}, nil, scsi.CheckCondition, "05/24/00", 252},
		{"no sense", Reply{Status: scsi.CheckCondition}, nil, scsi.CheckCondition, senseHardware, 18},
		{"busy", Reply{Status: scsi.Busy}, nil, scsi.Busy, "", 0},
		{"odd status", Reply{Status: 0xff}, nil, 0xff, "", 0},
		{"bad sense pointer", Reply{Status: scsi.CheckCondition, BadSense: true}, errEFAULT, scsi.CheckCondition, senseAborted, 18},
	} {
		t.Run(x.name, func(t *testing.T) {
			b := newBench(t, withParse(ParseCall))
			defer b.close()
			c := b.read(8)
			s := b.get(SubParse)
			x.r.Handle, x.r.Code = s.Handle, SubParse
			b.refused(x.r, x.want)
			b.ended(c, x.status, x.sense)
			if len(c.Sense()) != x.n {
				t.Errorf("%d bytes of sense, want %d", len(c.Sense()), x.n)
			}
		})
	}
}

// R47, fact 44: no data at all is direction NONE, whatever the lengths say.
func TestR47NoData(t *testing.T) {
	b := newBench(t, withParse(ParseCall))
	defer b.close()
	c := b.read(8)
	s := b.get(SubParse)
	r := goodParse(s, scsi.DirNone, 4096) // a length without a direction
	r.OutBufLen = 512
	b.reply(r)
	s = b.get(SubExec)
	if s.Dir != scsi.DirNone || s.BufLen != 0 || s.OutBufLen != 0 || s.PBuf != 0 || s.AllocLen != 0 || s.DataLen != 4096 {
		t.Errorf("EXEC %+v", s)
	}
	b.execDone(s)
	b.good(c)

	// A READ of no blocks, parsed inside.
	o := plainDesc().Opt
	if err := b.dev.SetOptions(o); err != nil {
		t.Fatal(err)
	}
	c = b.read(0)
	s = b.get(SubExec)
	if s.Dir != scsi.DirNone || s.PBuf != 0 || s.AllocLen != 0 {
		t.Errorf("EXEC of READ(16) with 0 blocks: %+v", s)
	}
	b.execDone(s)
	b.good(c)
}

// R45: what a good reply changes is what EXEC shows.
func TestR45GoodReplyIsHonoured(t *testing.T) {
	b := newBench(t, withParse(ParseCall))
	defer b.close()
	c := b.read(8)
	s := b.get(SubParse)
	r := goodParse(s, scsi.DirWrite, 512)
	r.QueueType, r.LBA, r.DataLen, r.CDBLen = scsi.QueueHeadOfQueue, 1<<63-1, 1<<63-1, 10
	b.reply(r)
	b.get(SubAllocMem)
	b.reply(Reply{Handle: s.Handle, Code: SubAllocMem, PBuf: b.mem.alloc(4096)})
	s = b.get(SubExec)
	if s.QueueType != scsi.QueueHeadOfQueue || s.LBA != 1<<63-1 || s.DataLen != 1<<63-1 || s.BufLen != 512 || s.Dir != scsi.DirWrite || s.CDBLen != 10 {
		t.Errorf("EXEC %+v", s)
	}
	b.execDone(s)
	b.good(c)
}
