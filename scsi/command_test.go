package scsi

import (
	"bytes"
	"encoding/hex"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func fromHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// known lists every command of the table.
func known() []CommandID {
	var ids []CommandID
	for op := range rows {
		r := &rows[op]
		for _, a := range r.actions {
			ids = append(ids, CommandID{Opcode(op), uint16(a.sa)})
		}
		if r.name != "" && r.actions == nil {
			ids = append(ids, CommandID{Op: Opcode(op)})
		}
	}
	return ids
}

func TestTableIsSound(t *testing.T) {
	for _, id := range known() {
		r := id.lookup()
		n := CDBLen(id.Op)
		if n == 0 || n > 16 {
			t.Errorf("%v: cdb of %d bytes", id, n)
		}
		if r.dir < DirWrite || r.dir > DirNone || r.timeout == 0 || r.flags&OpInfoValid == 0 {
			t.Errorf("%v: incomplete row", id)
		}
		used := make([]byte, n)
		for _, f := range r.fields {
			if f.at == 0 || int(f.at)+f.bytes() > n {
				t.Errorf("%v: field %d outside the cdb", id, f.id)
				continue
			}
			var m [16]byte
			f.put(m[:], ^uint64(0))
			for i := range used {
				if used[i]&m[i] != 0 {
					t.Errorf("%v: field %d overlaps another in byte %d", id, f.id, i)
				}
				used[i] |= m[i]
			}
		}
		if used[n-1] != 0xFF {
			t.Errorf("%v: no CONTROL byte at the end", id)
		}
		hasLBA := false
		for _, f := range r.fields {
			hasLBA = hasLBA || f.id == fLBA
		}
		if hasLBA == (r.flags&OpLBANotValid != 0) {
			t.Errorf("%v: LBA field and LBA flag disagree", id)
		}
	}
}

func TestDecodeGolden(t *testing.T) {
	tests := []struct {
		cdb  string
		want Command
	}{
		{"000000000000", Command{Op: OpTestUnitReady}},
		{"030100001200", Command{Op: OpRequestSense, Desc: true, AllocLen: 18}},
		{"081fffff0000", Command{Op: OpRead6, LBA: 0x1FFFFF}},
		{"0ae10203ff80", Command{Op: OpWrite6, LBA: 0x10203, Blocks: 255, Control: 0x80}},
		{"1201b000fc00", Command{Op: OpInquiry, EVPD: true, Page: 0xB0, AllocLen: 252}},
		{"151100001800", Command{Op: OpModeSelect6, PF: true, SP: true, ParamLen: 24}},
		{"1a0848ff2000", Command{Op: OpModeSense6, DBD: true, PC: PCChangeable, Page: 8, SubPage: 0xFF, AllocLen: 32}},
		{"1b010005f700", Command{Op: OpStartStop, Immed: true, PowerCondMod: 5, PowerCond: 15, NoFlush: true, LoEj: true, Start: true}},
		{"25000000000000000000", Command{Op: OpReadCapacity10}},
		{"283c0102030405001000", Command{Op: OpRead10, Protect: 1, DPO: true, FUA: true, RARC: true, LBA: 0x01020304, Group: 5, Blocks: 16}},
		{"2a0800000008000008ff", Command{Op: OpWrite10, FUA: true, LBA: 8, Blocks: 8, Control: 0xFF}},
		{"2e020000000000000800", Command{Op: OpWriteVerify10, BytChk: 1, Blocks: 8}},
		{"2f160000000000000800", Command{Op: OpVerify10, DPO: true, BytChk: 3, Blocks: 8}},
		{"34020000000100000200", Command{Op: OpPreFetch10, Immed: true, LBA: 1, Blocks: 2}},
		{"35020000000100000200", Command{Op: OpSyncCache10, Immed: true, LBA: 1, Blocks: 2}},
		{"41180000000100000200", Command{Op: OpWriteSame10, Anchor: true, Unmap: true, LBA: 1, Blocks: 2}},
		{"42010000000000001800", Command{Op: OpUnmap, Anchor: true, ParamLen: 24}},
		{"551000000000000e1800", Command{Op: OpModeSelect10, PF: true, ParamLen: 0x0E18}},
		{"5a18883f000000100000", Command{Op: OpModeSense10, LLBAA: true, DBD: true, PC: PCDefault, Page: 8, SubPage: 0x3F, AllocLen: 0x1000}},
		{"88180102030405060708090a0b0c1f00", Command{Op: OpRead16, DPO: true, FUA: true, LBA: 0x0102030405060708, Blocks: 0x090A0B0C, Group: 31}},
		{"8900000000000000000100000002" + "0000", Command{Op: OpCompareAndWrite, LBA: 1, Blocks: 2}},
		{"8a080000000000000001000000080000", Command{Op: OpWrite16, FUA: true, LBA: 1, Blocks: 8}},
		{"8f060000000000000001000000080000", Command{Op: OpVerify16, BytChk: 3, LBA: 1, Blocks: 8}},
		{"93090000000000000001000000080000", Command{Op: OpWriteSame16, Unmap: true, NDOB: true, LBA: 1, Blocks: 8}},
		{"9e100000000000000000000000200000", Command{Op: OpServiceActionIn16, ServiceAction: SAReadCapacity16, AllocLen: 32}},
		{"9e120000000000000007000000200000", Command{Op: OpServiceActionIn16, ServiceAction: SAGetLBAStatus, LBA: 7, AllocLen: 32}},
		{"a00002000000000010000000", Command{Op: OpReportLUNs, SelectReport: 2, AllocLen: 0x1000}},
		{"a30c839e0010000002000000", Command{Op: OpMaintenanceIn, ServiceAction: SAReportSupportedOpcodes, RCTD: true, ReportingOptions: 3, ReqOpcode: 0x9E, ReqSA: 0x10, AllocLen: 512}},
		{"a80801020304050607081f00", Command{Op: OpRead12, FUA: true, LBA: 0x01020304, Blocks: 0x05060708, Group: 31}},
	}
	for _, tt := range tests {
		c, err := Decode(fromHex(t, tt.cdb))
		if err != nil || c != tt.want {
			t.Errorf("%s (%v):\n got %+v, %v\nwant %+v", tt.cdb, tt.want.Op, c, err, tt.want)
		}
	}
}

func TestDecodeErrors(t *testing.T) {
	tests := []struct {
		name  string
		cdb   []byte
		err   CDBError
		sense Sense
	}{
		{"empty", nil, ErrShortCDB, SenseInvalidFieldInCDB},
		{"cut READ(10)", make10(OpRead10)[:9], ErrShortCDB, SenseInvalidFieldInCDB},
		{"unknown opcode", []byte{0xC1, 0, 0, 0, 0, 0}, ErrUnknownOpcode, SenseInvalidOpcode},
		{"unknown opcode of one byte", []byte{0xFF}, ErrUnknownOpcode, SenseInvalidOpcode},
		{"unknown service action", append([]byte{0x9E, 0x1F}, make([]byte, 14)...), ErrUnknownServiceAction, SenseInvalidFieldInCDB.AtCDB(1, 4)},
	}
	for _, tt := range tests {
		_, err := Decode(tt.cdb)
		if !errors.Is(err, tt.err) || err.Error() == "" {
			t.Errorf("%s: Decode says %v, want %v", tt.name, err, tt.err)
		}
		if _, err := ParseSBC(tt.cdb, 512); err != tt.err {
			t.Errorf("%s: ParseSBC says %v, want %v", tt.name, err, tt.err)
		}
		if got := SenseOf(err); got != tt.sense {
			t.Errorf("%s: sense %v, want %v", tt.name, got, tt.sense)
		}
	}
}

func TestSenseOfAnotherError(t *testing.T) {
	if got := SenseOf(errors.New("other")); got != SenseInvalidFieldInCDB {
		t.Error(got)
	}
}

func TestCDBLenByGroup(t *testing.T) {
	for op, want := range map[Opcode]int{0x1F: 6, 0x20: 10, 0x5F: 10, 0x7F: 0, 0x80: 16, 0x9F: 16, 0xA0: 12, 0xBF: 12, 0xC0: 0, 0xFF: 0} {
		if got := CDBLen(op); got != want {
			t.Errorf("%#x: %d", uint8(op), got)
		}
	}
}

func make10(op Opcode) []byte { return append([]byte{byte(op)}, make([]byte, 9)...) }

func TestEncodeUnknown(t *testing.T) {
	var cdb [16]byte
	if _, err := (&Command{Op: 0xC1}).Encode(&cdb); err != ErrUnknownOpcode {
		t.Errorf("unknown opcode: %v", err)
	}
	if _, err := (&Command{Op: OpMaintenanceIn}).Encode(&cdb); err != ErrUnknownServiceAction {
		t.Errorf("unknown service action: %v", err)
	}
}

// The encoders' panic can't be reached: each is called here.
func TestEncodersGolden(t *testing.T) {
	tests := []struct {
		name string
		got  CDB
		want string
	}{
		{"TEST UNIT READY", EncodeTestUnitReady(), "000000000000"},
		{"INQUIRY", EncodeInquiry(true, 0xB0, 0x1234), "1201b0123400"},
		{"REQUEST SENSE", EncodeRequestSense(true, 252), "03010000fc00"},
		{"READ(16)", EncodeRead16(1<<40, 1<<20, true), "88080000010000000000001000000000"},
		{"WRITE(16)", EncodeWrite16(7, 8, false), "8a000000000000000007000000080000"},
		{"VERIFY(16)", EncodeVerify16(7, 8, 3), "8f060000000000000007000000080000"},
		{"SYNCHRONIZE CACHE(16)", EncodeSyncCache16(7, 8), "91000000000000000007000000080000"},
		{"PRE-FETCH(16)", EncodePreFetch16(7, 8, true), "90020000000000000007000000080000"},
		{"WRITE SAME(16)", EncodeWriteSame16(7, 8, true, true), "93090000000000000007000000080000"},
		{"UNMAP", EncodeUnmap(24), "42000000000000001800"},
		{"READ CAPACITY(10)", EncodeReadCapacity10(), "25000000000000000000"},
		{"READ CAPACITY(16)", EncodeReadCapacity16(32), "9e100000000000000000000000200000"},
		{"GET LBA STATUS", EncodeGetLBAStatus16(7, 24), "9e120000000000000007000000180000"},
		{"MODE SENSE(10)", EncodeModeSense10(true, PCChangeable, 8, 0, 252), "5a08480000000000fc00"},
		{"MODE SELECT(10)", EncodeModeSelect10(28), "55100000000000001c00"},
		{"START STOP UNIT", EncodeStartStop(true, false), "1b0000000100"},
		{"REPORT LUNS", EncodeReportLUNs(2, 4096), "a00002000000000010000000"},
		{"REPORT SUPPORTED OPERATION CODES", EncodeReportSupportedOpcodes(ReportOneSA, 0x9E, 0x12, true, 64), "a30c829e0012000000400000"},
	}
	for _, tt := range tests {
		if got := hex.EncodeToString(tt.got.Slice()); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.name, got, tt.want)
		}
	}
}

// Encoding what was decoded, and decoding that, gives the same command; and the
// encoded bytes are those bytes of the original that the table knows of.
func checkRoundTrip(t interface{ Fatalf(string, ...any) }, cdb []byte) {
	c, err := Decode(cdb)
	if err != nil {
		return
	}
	var out [16]byte
	n, err := c.Encode(&out)
	if err != nil {
		t.Fatalf("encode %+v: %v", c, err)
	}
	again, err := Decode(out[:n])
	if err != nil || again != c {
		t.Fatalf("% x decodes to %+v, encodes to % x, decodes to %+v, %v", cdb, c, out[:n], again, err)
	}
	usage := AppendCDBUsage(nil, CommandID{c.Op, uint16(c.ServiceAction)})
	if len(usage) != n {
		t.Fatalf("%v: usage data of %d bytes for a cdb of %d", c.Op, len(usage), n)
	}
	for i := 1; i < n; i++ {
		m := usage[i]
		if i == 1 && HasServiceActions(c.Op) {
			m |= 0x1F
		}
		if cdb[i]&m != out[i] {
			t.Fatalf("% x: byte %d encoded as %02x, usage %02x", cdb, i, out[i], m)
		}
	}
}

func TestRoundTripOfEveryCommand(t *testing.T) {
	ids := known()
	rapid.Check(t, func(t *rapid.T) {
		id := rapid.SampledFrom(ids).Draw(t, "command")
		cdb := rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "cdb")
		cdb[0] = byte(id.Op)
		if HasServiceActions(id.Op) {
			cdb[1] = cdb[1]&0xE0 | byte(id.SA)
		}
		if _, err := Decode(cdb); err != nil {
			t.Fatalf("%v: %v", id, err)
		}
		checkRoundTrip(t, cdb)
	})
}

func TestCountOfTheSixByteCommands(t *testing.T) {
	for _, tt := range []struct {
		c    Command
		want uint64
	}{
		{Command{Op: OpRead6}, 256},
		{Command{Op: OpWrite6}, 256},
		{Command{Op: OpRead6, Blocks: 1}, 1},
		{Command{Op: OpRead10}, 0},
	} {
		if got := tt.c.Count(); got != tt.want {
			t.Errorf("%v with %d: %d", tt.c.Op, tt.c.Blocks, got)
		}
	}
}

func TestNames(t *testing.T) {
	seen := map[string]bool{}
	for i := range 256 {
		for _, name := range []string{Status(i).String(), Dir(i).String(), QueueType(i).String(), Opcode(i).String(), CDBError(i).Error()} {
			if name == "" || seen[name] && name != "invalid cdb" {
				t.Errorf("%d: the name %q is empty, or another's", i, name)
			}
			seen[name] = true
		}
		d, q := Dir(i), QueueType(i)
		if d.Valid() != (d >= 1 && d <= 4) || d.Writes() != (d&^2 == 1) || d.Reads() != (d == 2 || d == 3) || q.Valid() != (i < 5) {
			t.Errorf("%v, %v", d, q)
		}
	}
	for got, want := range map[string]string{
		OpRead16.String():                         "READ(16)",
		Opcode(0xC1).String():                     "OPCODE 0xc1",
		CommandID{OpMaintenanceIn, 0x0C}.String(): "REPORT SUPPORTED OPERATION CODES",
		CommandID{OpMaintenanceIn, 0x01}.String(): "MAINTENANCE IN",
		TaskSetFull.String():                      "TASK SET FULL",
		Status(0x22).String():                     "STATUS 0x22",
		DirBidi.String():                          "bidi",
		QueueHeadOfQueue.String():                 "HEAD OF QUEUE",
		KeyDataProtect.String():                   "DATA PROTECT",
		ASCLBAOutOfRange.String():                 "LOGICAL BLOCK ADDRESS OUT OF RANGE",
		ASC(0x1234).String():                      "ASC 0x12 ASCQ 0x34",
	} {
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, id := range known() {
		f.Add(AppendCDBUsage(nil, id))
	}
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, cdb []byte) {
		keep := bytes.Clone(cdb)
		checkRoundTrip(t, cdb)
		if !bytes.Equal(cdb, keep) {
			t.Fatal("Decode wrote to the cdb")
		}
	})
}

func TestDecodeDoesNotAllocate(t *testing.T) {
	read, bad := EncodeRead16(1, 2, true), []byte{0xC1}
	if n := testing.AllocsPerRun(100, func() {
		c, _ := Decode(read.Slice())
		var b [16]byte
		_, _ = c.Encode(&b)
		_, _ = ParseSBC(read.Slice(), 512)
		_, _ = Decode(bad)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkDecodeRead16(b *testing.B) {
	b.ReportAllocs()
	d := EncodeRead16(1, 2, true)
	for b.Loop() {
		_, _ = Decode(d.Slice())
	}
}

func BenchmarkParseSBCRead16(b *testing.B) {
	b.ReportAllocs()
	d := EncodeRead16(1, 2, true)
	for b.Loop() {
		_, _ = ParseSBC(d.Slice(), 512)
	}
}
