package abi_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"reflect"
	"syscall"
	"testing"

	"pgregory.net/rapid"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/ucmd"
)

var subcodes = []ucmd.Subcode{ucmd.SubParse, ucmd.SubAllocMem, ucmd.SubExec, ucmd.SubOnFree, ucmd.SubOnCachedMemFree,
	ucmd.SubExtCopyRemap, ucmd.SubTMReceived, ucmd.SubTMDone, ucmd.SubAttachSess, ucmd.SubDetachSess}

func golden(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Golden bytes, taken from recordings of the module: what they mean, one field
// per value.
const (
	goldenExec = "2b000000037368c080e569078088ffff2a0000000000000008000000000000000a0000000000000000000000000000000010000000000000001000000000000000100070227f0000010100003c00000000" +
		"200070227f0000000000000000000000000000000000000000000000000000"
	goldenExecReply  = "18000000037368c00000000000000000000000000000000001020000000000001200000000000000b8e64c75227f00000000000000000000"
	goldenWriteSame  = "22000000037368c00000000000000000000000000000000002000000000000003000000000000000801c885f2e5600000000000000000000"
	goldenParseReply = "01000000017350c0000000000000000001020600000000000000000000000000240000000000000024000000e17100000000000000000000"
	goldenOnFree     = "0100000004731080700b00447d7f00002400000000000000"
)

func TestGoldenExec(t *testing.T) {
	var s ucmd.Subcommand
	if err := abi.DecodeSubcommand(golden(t, goldenExec), &s); err != nil {
		t.Fatal(err)
	}
	want := ucmd.Subcommand{Handle: 0x2b, Code: ucmd.SubExec, SessH: 0xffff88800769e580, CDB: [16]byte{0x2a, 8: 8}, CDBLen: 10,
		DataLen: 4096, BufLen: 4096, PBuf: 0x7f2270001000, QueueType: scsi.QueueSimple, Dir: scsi.DirWrite, Timeout: 60}
	if s != want {
		t.Errorf("got %+v, want %+v", s, want)
	}
}

func TestGoldenReplies(t *testing.T) {
	for name, c := range map[string]struct {
		hex string
		r   ucmd.Reply
		p   abi.Pointers
	}{
		"EXEC with sense": {goldenExecReply, ucmd.Reply{Handle: 0x18, Code: ucmd.SubExec, Type: ucmd.ReplyCompleted, Status: scsi.CheckCondition},
			abi.Pointers{Sense: abi.Span{Addr: 0x7f22754ce6b8, Len: 18}}},
		"DO_WRITE_SAME": {goldenWriteSame, ucmd.Reply{Handle: 0x22, Code: ucmd.SubExec, Type: ucmd.ReplyDoWriteSame, WSLen: 48},
			abi.Pointers{WriteSame: abi.Span{Addr: 0x562e5f881c80, Len: 48}}},
		"PARSE": {goldenParseReply, ucmd.Reply{Handle: 1, Code: ucmd.SubParse, QueueType: scsi.QueueSimple, Dir: scsi.DirRead, CDBLen: 6,
			DataLen: 36, BufLen: 36, OpFlags: 0x71e1}, abi.Pointers{}},
	} {
		var r ucmd.Reply
		var p abi.Pointers
		if err := abi.DecodeReply(golden(t, c.hex), &r, &p); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(r, c.r) || p != c.p {
			t.Errorf("%s: got %+v %+v, want %+v %+v", name, r, p, c.r, c.p)
		}
		b := make([]byte, abi.SizeReplyCmd)
		if err := abi.EncodeReply(b, &c.r, &c.p); err != nil || hex.EncodeToString(b) != c.hex {
			t.Errorf("%s: encodes to %x (%v), want %s", name, b, err, c.hex)
		}
	}
}

// drawSubcommand draws a subcommand with exactly the fields that are valid for
// its code.
func drawSubcommand(t *rapid.T) ucmd.Subcommand {
	u8 := func(n string) uint8 { return rapid.Uint8().Draw(t, n) }
	u32 := func(n string) uint32 { return rapid.Uint32().Draw(t, n) }
	i32 := func(n string) int32 { return rapid.Int32().Draw(t, n) }
	u64 := func(n string) uint64 { return rapid.Uint64().Draw(t, n) }
	flag := func(n string) bool { return rapid.Bool().Draw(t, n) }
	s := ucmd.Subcommand{Handle: u32("handle"), Code: rapid.SampledFrom(subcodes).Draw(t, "code")}
	switch s.Code {
	case ucmd.SubOnFree:
		s.PBuf, s.RespDataLen, s.BufferCached, s.Aborted = u64("pbuf"), i32("resp"), flag("cached"), flag("aborted")
		s.Status, s.Delivery = scsi.Status(u8("status")), int8(u8("delivery"))
		return s
	case ucmd.SubOnCachedMemFree:
		s.PBuf = u64("pbuf")
		return s
	}
	s.SessH = u64("sess")
	switch s.Code {
	case ucmd.SubTMReceived, ucmd.SubTMDone:
		s.TMFunc, s.CmdHToAbort, s.CmdSN, s.CmdSNSet = i32("fn"), u32("abort"), u32("sn"), flag("set")
		return s
	case ucmd.SubAttachSess:
		name := rapid.StringMatching(`[a-z0-9.:]{0,255}`)
		s.Sess = &ucmd.SessInfo{LUN: u64("lun"), ThreadsNum: uint16(u32("threads")), ReadOnly: flag("ro"),
			TransportVersion: uint16(u32("transport")), PhysVersion: uint16(u32("phys")), Initiator: name.Draw(t, "ini"), Target: name.Draw(t, "tgt")}
		return s
	case ucmd.SubDetachSess:
		return s
	case ucmd.SubExtCopyRemap:
		s.Remap = &ucmd.RemapSegment{SrcSessH: u64("src"), DstSessH: u64("dst"),
			Descr: ucmd.DataDescr{SrcLBA: u64("slba"), DstLBA: u64("dlba"), DataLen: i32("len")}}
		return s
	}
	copy(s.CDB[:], rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "cdb"))
	s.CDBLen, s.SN = uint16(u32("cdblen")), u32("sn")
	s.Dir, s.QueueType = scsi.Dir(u8("dir")), scsi.QueueType(u8("queue"))
	if s.Code == ucmd.SubAllocMem {
		s.AllocLen = i32("alloc")
		return s
	}
	s.LBA, s.DataLen, s.BufLen, s.OutBufLen, s.Timeout = u64("lba"), int64(u64("data")), i32("buf"), i32("out"), i32("timeout")
	if s.Code == ucmd.SubParse {
		s.OpFlags, s.ExpectedSet, s.ExpectedDir = u32("flags"), flag("set"), scsi.Dir(u8("edir"))
		s.ExpectedLen, s.ExpectedOut = i32("elen"), i32("eout")
		return s
	}
	s.AllocLen, s.PBuf = i32("alloc"), u64("pbuf")
	if s.Dir == scsi.DirBidi {
		s.OutPBuf = u64("outbuf")
	}
	s.ParentHandle, s.ParentDataLen, s.PartialOffset = u32("parent"), i32("plen"), i32("poff")
	return s
}

// R4: subcommands survive the way out and in, and no byte beyond the payload
// is touched.
func TestR4SubcommandRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawSubcommand(t)
		b := bytes.Repeat([]byte{0xA5}, abi.SizeGetCmd+8)
		n, err := abi.EncodeSubcommand(b, &s)
		if err != nil || n != abi.SubcodeOf(s.Code).GetLen() {
			t.Fatal(n, err)
		}
		if !bytes.Equal(b[n:], bytes.Repeat([]byte{0xA5}, len(b)-n)) {
			t.Fatal("bytes beyond the payload were changed")
		}
		got := ucmd.Subcommand{PBuf: 1, Timeout: 7, Aborted: true}
		if err := abi.DecodeSubcommand(b[:n], &got); err != nil || !reflect.DeepEqual(got, s) {
			t.Fatalf("got %+v (%v), want %+v", got, err, s)
		}
		if _, err := abi.EncodeSubcommand(b[:n-1], &s); err != abi.ErrShort {
			t.Fatalf("a byte too few for encode: %v", err)
		}
		if err := abi.DecodeSubcommand(b[:n-1], &got); err != abi.ErrShort {
			t.Fatalf("a byte too few for decode: %v", err)
		}
	})
}

// drawReply draws a reply with exactly the fields that count, and where its
// pieces are.
func drawReply(t *rapid.T) (r ucmd.Reply, p abi.Pointers) {
	u8 := func(n string) uint8 { return rapid.Uint8().Draw(t, n) }
	i32 := func(n string) int32 { return rapid.Int32().Draw(t, n) }
	u64 := func(n string) uint64 { return rapid.Uint64().Draw(t, n) }
	span := func(each, most int) abi.Span {
		n := rapid.IntRange(0, most).Draw(t, "pieces") * each
		if n == 0 {
			return abi.Span{}
		}
		return abi.Span{Addr: abi.Addr(u64("addr")), Len: n}
	}
	r = ucmd.Reply{Handle: rapid.Uint32().Draw(t, "handle"), Code: rapid.SampledFrom(subcodes).Draw(t, "code")}
	switch r.Code {
	case ucmd.SubExec:
		r.Type = ucmd.ReplyType(rapid.IntRange(1, 3).Draw(t, "type"))
		r.RespDataLen, r.PBuf, r.Status = i32("resp"), u64("pbuf"), scsi.Status(u8("status"))
		switch r.Type {
		case ucmd.ReplyDoWriteSame:
			p.WriteSame = span(abi.SizeWriteSameDescr, 256)
			r.WSLen = int32(p.WriteSame.Len)
		case ucmd.ReplyCompleted:
			p.Sense = span(1, abi.MaxSense)
		}
	case ucmd.SubAllocMem:
		r.PBuf = u64("pbuf")
	case ucmd.SubParse:
		if r.Status = scsi.Status(u8("status")); r.Status != scsi.Good {
			p.Sense = span(1, abi.MaxSense)
			return r, p
		}
		r.QueueType, r.Dir, r.CDBLen = scsi.QueueType(u8("queue")), scsi.Dir(u8("dir")), uint16(i32("cdblen"))
		r.LBA, r.DataLen = int64(u64("lba")), int64(u64("data"))
		r.BufLen, r.OutBufLen, r.OpFlags = i32("buf"), i32("out"), uint32(i32("flags"))
	case ucmd.SubExtCopyRemap:
		r.Status = scsi.Status(u8("status"))
		p.Sense, p.Remap = span(1, abi.MaxSense), span(abi.SizeDataDescr, ucmd.PageSize/abi.SizeDataDescr)
		r.RemapLen = int32(p.Remap.Len)
	case ucmd.SubAttachSess, ucmd.SubDetachSess, ucmd.SubTMReceived, ucmd.SubTMDone:
		r.Result = i32("result")
	}
	return r, p
}

func TestReplyRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, p := drawReply(t)
		b := bytes.Repeat([]byte{0xA5}, abi.SizeReplyCmd+8)
		if err := abi.EncodeReply(b, &r, &p); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b[abi.SizeReplyCmd:], bytes.Repeat([]byte{0xA5}, 8)) {
			t.Fatal("bytes beyond the end were changed")
		}
		got, gotP := ucmd.Reply{BadSense: true, Result: 5}, abi.Pointers{Sense: abi.Span{Len: 1}}
		if err := abi.DecodeReply(b[:abi.SizeReplyCmd], &got, &gotP); err != nil || !reflect.DeepEqual(got, r) || gotP != p {
			t.Fatalf("got %+v %+v (%v), want %+v %+v", got, gotP, err, r, p)
		}
		if abi.DecodeReply(b[:abi.SizeReplyCmd-1], &got, &gotP) != abi.ErrShort || abi.EncodeReply(b[:abi.SizeReplyCmd-1], &r, &p) != abi.ErrShort {
			t.Fatal("a byte too few was not refused")
		}
	})
}

// Fact 27: another size in the subcode is another subcode.
func TestR25WrongSubcodes(t *testing.T) {
	for _, c := range subcodes {
		for _, wrong := range []uint32{1 << 16, 1 << 8, 1 << 30, 0x40} {
			b := make([]byte, abi.SizeGetCmd)
			n := uint32(abi.SubcodeOf(c)) ^ wrong
			b[0], b[4], b[5], b[6], b[7] = 9, byte(n), byte(n>>8), byte(n>>16), byte(n>>24)
			var r ucmd.Reply
			if err := abi.DecodeReply(b, &r, new(abi.Pointers)); err != nil || r.Code != 0 || r.Handle != 9 {
				t.Errorf("reply %#x: code %#x handle %d (%v), want code 0", n, r.Code, r.Handle, err)
			}
			var s ucmd.Subcommand
			if err := abi.DecodeSubcommand(b, &s); !errors.Is(err, abi.ErrSubcode) || s.Handle != 9 {
				t.Errorf("subcommand %#x: %v", n, err)
			}
		}
	}
	if _, err := abi.EncodeSubcommand(make([]byte, 600), &ucmd.Subcommand{Code: 7}); !errors.Is(err, abi.ErrSubcode) {
		t.Errorf("encode of a code that there is not: %v", err)
	}
	if err := abi.EncodeReply(make([]byte, 60), &ucmd.Reply{}, new(abi.Pointers)); !errors.Is(err, abi.ErrSubcode) {
		t.Errorf("encode of a reply without code: %v", err)
	}
}

// Fact 37: reply types beyond the three become one that ucmd refuses.
func TestR57UnknownReplyType(t *testing.T) {
	for typ := range 256 {
		b := golden(t, goldenExecReply)
		b[24] = byte(typ)
		var r ucmd.Reply
		var p abi.Pointers
		if err := abi.DecodeReply(b, &r, &p); err != nil {
			t.Fatal(err)
		}
		want := map[int]ucmd.ReplyType{0: ucmd.ReplyBackground, 1: ucmd.ReplyCompleted, 2: ucmd.ReplyDoWriteSame}[typ]
		if r.Type != want {
			t.Errorf("type %d is %d, want %d", typ, r.Type, want)
		}
		if typ > 2 && p != (abi.Pointers{}) {
			t.Errorf("type %d: something is to be fetched: %+v", typ, p)
		}
	}
	b := make([]byte, abi.SizeReplyCmd)
	if err := abi.EncodeReply(b, &ucmd.Reply{Code: ucmd.SubExec}, new(abi.Pointers)); err != nil || b[24] <= abi.ExecReplyDoWriteSame {
		t.Errorf("no type is written as %d (%v)", b[24], err)
	}
}

// R46, R58, R60, R65: how much of what a reply points to is to be read.
func TestPointerLimits(t *testing.T) {
	exec := func(x abi.ExecReply) abi.Answer { return abi.Answer{Subcode: abi.SubcodeExec, Exec: &x} }
	remap := func(n uint16) abi.Answer {
		return abi.Answer{Subcode: abi.SubcodeExtCopyRemap, Remap: &abi.RemapReply{RemapDescriptors: 64, RemapDescriptorsLen: n}}
	}
	ws := func(n uint16) abi.Answer {
		return exec(abi.ExecReply{ReplyType: abi.ExecReplyDoWriteSame, WSDescriptors: 64, WSDescriptorsLen: n})
	}
	at := func(n int) abi.Span { return abi.Span{Addr: 64, Len: n} }
	for name, c := range map[string]struct {
		a    abi.Answer
		want abi.Pointers
	}{
		"sense is cut to 252":           {exec(abi.ExecReply{ReplyType: 1, SenseLen: 255, PSenseBuffer: 64}), abi.Pointers{Sense: at(252)}},
		"no sense, whatever pointer":    {exec(abi.ExecReply{ReplyType: 1, PSenseBuffer: 64}), abi.Pointers{}},
		"background has no sense":       {exec(abi.ExecReply{ReplyType: 0, SenseLen: 18, PSenseBuffer: 64}), abi.Pointers{}},
		"write same: a page":            {ws(4096), abi.Pointers{WriteSame: at(4096)}},
		"write same: over a page":       {ws(4112), abi.Pointers{}},
		"write same: not a multiple":    {ws(24), abi.Pointers{}},
		"write same: the whole range":   {ws(0), abi.Pointers{}},
		"remap: as much as in a page":   {remap(4080), abi.Pointers{Remap: at(4080)}},
		"remap: over a page":            {remap(4104), abi.Pointers{}},
		"remap: not a multiple":         {remap(16), abi.Pointers{}},
		"parse: sense only if not good": {abi.Answer{Subcode: abi.SubcodeParse, Parse: &abi.ParseReply{LBA: 64, QueueType: 18}}, abi.Pointers{}},
		"parse: sense":                  {abi.Answer{Subcode: abi.SubcodeParse, Parse: &abi.ParseReply{Status: 2, PSenseBuffer: 64, SenseLen: 18}}, abi.Pointers{Sense: at(18)}},
	} {
		b := make([]byte, abi.SizeReplyCmd)
		if err := c.a.Encode(b); err != nil {
			t.Fatal(err)
		}
		var r ucmd.Reply
		var p abi.Pointers
		if err := abi.DecodeReply(b, &r, &p); err != nil || p != c.want {
			t.Errorf("%s: %+v (%v), want %+v", name, p, err, c.want)
		}
		if c.a.Exec != nil && r.WSLen != int32(c.a.Exec.WSDescriptorsLen) || c.a.Remap != nil && r.RemapLen != int32(c.a.Remap.RemapDescriptorsLen) {
			t.Errorf("%s: the declared length is lost: %+v", name, r)
		}
	}
}

func TestDescriptorLists(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r, got ucmd.Reply
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			r.WriteSame = append(r.WriteSame, ucmd.WriteSameDescr{LBA: rapid.Uint64().Draw(t, "lba"), Blocks: rapid.Uint64().Draw(t, "blocks")})
			r.Remap = append(r.Remap, ucmd.DataDescr{SrcLBA: rapid.Uint64().Draw(t, "src"), DstLBA: rapid.Uint64().Draw(t, "dst"), DataLen: rapid.Int32().Draw(t, "len")})
		}
		abi.SetWriteSame(&got, abi.AppendWriteSame(nil, &r))
		abi.SetRemap(&got, abi.AppendRemap(nil, &r))
		if !reflect.DeepEqual(got, r) && len(r.Remap) > 0 {
			t.Fatalf("got %+v, want %+v", got, r)
		}
	})
}

// R7, F9, fact 2.
func TestR7Identity(t *testing.T) {
	older := "3.11.0" + abi.Version[len("3.11.0-pre"):]
	newer := "3.12.0" + abi.Version[len("3.11.0-pre"):]
	for name, c := range map[string]struct {
		license, version string
		v                abi.Versions
		known            bool
		want             error
	}{
		"good":                        {"GPL", abi.Version, abi.Versions{}, true, nil},
		"GPL v2":                      {"GPL v2", abi.Version, abi.Versions{}, true, nil},
		"Dual MPL":                    {"Dual MPL/GPL", abi.Version, abi.Versions{}, true, nil},
		"closed":                      {"Proprietary", abi.Version, abi.Versions{}, false, syscall.EPERM},
		"license is checked first":    {"none", "1", abi.Versions{}, false, syscall.EPERM},
		"license: no prefix match":    {"GPL v3", abi.Version, abi.Versions{}, false, syscall.EPERM},
		"one character more is cut":   {"GPL", abi.Version + "x", abi.Versions{}, true, nil},
		"half of the sums":            {"GPL", abi.Version[:60], abi.Versions{}, false, syscall.EINVAL},
		"bytes behind the NUL":        {"GPL\x00rest", abi.Version + "\x00", abi.Versions{}, true, nil},
		"same release, other headers": {"GPL", older, abi.Versions{}, false, nil},
		"other release":               {"GPL", newer, abi.Versions{}, false, syscall.EINVAL},
		"other release, accepted":     {"GPL", newer, abi.Versions{Releases: []string{"3.12."}}, false, nil},
		"empty":                       {"GPL", "", abi.Versions{}, false, syscall.EINVAL},
		"sums are not sums":           {"GPL", "3.11.0-pre" + string(bytes.Repeat([]byte("z"), 80)), abi.Versions{}, false, syscall.EINVAL},
		"strict, listed":              {"GPL", older, abi.Versions{Exact: []string{older}}, true, nil},
		"strict, not listed":          {"GPL", abi.Version, abi.Versions{Exact: []string{older}}, false, syscall.EINVAL},
	} {
		known, err := abi.CheckIdentity([]byte(c.license), []byte(c.version), &c.v)
		if known != c.known || !errors.Is(err, c.want) || c.want == nil && err != nil {
			t.Errorf("%s: known %v, %v; want %v, %v", name, known, err, c.known, c.want)
		}
	}
}

// R8 to R13, fact 6: a description survives; what it has too much is cut.
func TestR11DescRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		b := rapid.SliceOfN(rapid.Byte(), abi.SizeDevDesc, abi.SizeDevDesc).Draw(t, "bytes")
		var x, y abi.DevDesc
		if err := x.Decode(b); err != nil {
			t.Fatal(err)
		}
		d := x.Desc(true)
		if len(d.Name) > ucmd.MaxName || len(d.SGVName) > ucmd.MaxName || !d.NonBlocking {
			t.Fatalf("%+v", d)
		}
		out := make([]byte, abi.SizeDevDesc)
		w := abi.DevDescOf(&d, x.VersionStr, x.LicenseStr)
		if err := w.Encode(out); err != nil {
			t.Fatal(err)
		}
		if err := y.Decode(out); err != nil || y.Desc(true) != d || y.VersionStr != x.VersionStr || y.LicenseStr != x.LicenseStr {
			t.Fatalf("got %+v (%v), want %+v", y, err, x)
		}
		if abi.OptOf(x.Opt.Options()) != x.Opt {
			t.Fatal("options")
		}
	})
}

// R1, R29, fact 12: where MULTI's pieces are and how many there are.
func TestR29Multi(t *testing.T) {
	m := abi.Multi{PReplies: 0x1000, RepliesCnt: -1, CmdsCnt: -32768}
	if m.Replies() != 0 || m.Room() != 0 {
		t.Error("negative counts are not zero")
	}
	m.RepliesCnt, m.CmdsCnt = 3, abi.MultiMax
	if m.Replies() != 3 || m.Room() != 32767 {
		t.Error("counts")
	}
	if abi.MultiCmdAddr(0x100, 2) != 0x100+16+2*544 || m.MultiReplyAddr(2) != 0x1000+2*56 {
		t.Error("addresses")
	}
	b := bytes.Repeat([]byte{0xFF}, 16)
	if err := abi.PutPReply(b, 0x1234); err != nil {
		t.Fatal(err)
	}
	if p, err := abi.PReply(b); p != 0x1234 || err != nil || !bytes.Equal(b[:8], make([]byte, 8)) {
		t.Errorf("preply %#x %v % x", uint64(p), err, b)
	}
	if _, err := abi.PReply(b[:15]); err != abi.ErrShort || abi.PutPReply(b[:15], 0) != abi.ErrShort {
		t.Error("15 bytes were not refused")
	}
}

func TestTextForms(t *testing.T) {
	for _, in := range []string{"EXEC", "0xdeadbeef", "ATTACH_SESS"} {
		var s abi.Subcode
		if err := s.UnmarshalText([]byte(in)); err != nil || s.String() != in {
			t.Errorf("%s: %v %v", in, s, err)
		}
	}
	for _, in := range []string{"REPLY_CMD", "0x00007599"} {
		var i abi.Ioctl
		if err := i.UnmarshalText([]byte(in)); err != nil || i.String() != in {
			t.Errorf("%s: %v %v", in, i, err)
		}
	}
	if new(abi.Ioctl).UnmarshalText([]byte("x")) == nil || new(abi.Subcode).UnmarshalText([]byte("0x1ffffffff")) == nil ||
		new(abi.Addr).UnmarshalText([]byte("12")) == nil || new(abi.CDB).UnmarshalText([]byte("12")) == nil {
		t.Error("bad text was taken")
	}
}
