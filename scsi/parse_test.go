package scsi

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

// What the real module's parser said, from the recordings (facts 22, 42, 44).
// Flags of 0: not recorded.
func TestParseSBCAsRecorded(t *testing.T) {
	tests := []struct {
		cdb     string
		dir     Dir
		lba     uint64
		data    int64
		buf     int64
		timeout int32
		flags   uint32
		hq      bool
	}{
		{"000000000000", DirNone, 0, 0, 0, 10, 0x70e1, true},
		{"030000006000", DirRead, 0, 96, 96, 10, 0, false},
		{"080000000800", DirRead, 0, 4096, 4096, 60, 0, false},
		{"120000002400", DirRead, 0, 36, 36, 10, 0x71e1, true},
		{"160000000000", DirNone, 0, 0, 0, 10, 0, false},
		{"170000000000", DirNone, 0, 0, 0, 10, 0, false},
		{"1a003f000400", DirRead, 0, 4, 4, 10, 0x2061, false},
		{"1b0000000000", DirNone, 0, 0, 0, 3600, 0, false},
		{"1e0000000100", DirNone, 0, 0, 0, 3600, 0, false},
		{"25000000000000000000", DirRead, 0, 8, 8, 60, 0x70e0, true},
		{"28000000001800000800", DirRead, 24, 4096, 4096, 60, 0x2024, false},
		{"28000000000000000000", DirNone, 0, 0, 0, 60, 0x2024, false},
		{"2a000000001000000800", DirWrite, 16, 4096, 4096, 60, 0x224, false},
		{"2e000000000000000800", DirWrite, 0, 4096, 4096, 60, 0, false},
		{"2f000000000000000800", DirNone, 0, 4096, 0, 60, 0, false},
		{"2f020000000000000800", DirWrite, 0, 4096, 4096, 60, 0, false},
		{"35000000000000000000", DirNone, 0, 0, 0, 60, 0x20, false},
		{"41000000000000001000", DirWrite, 0, 8192, 512, 60, 0, false},
		{"42000000000000001800", DirWrite, 0, 24, 24, 60, 0, false},
		{"5a003f00000000100000", DirRead, 0, 4096, 4096, 10, 0, false},
		{"88000000000000000000000000080000", DirRead, 0, 4096, 4096, 60, 0, false},
		{"8a0000000000000000010000000f0000", DirWrite, 1, 7680, 7680, 60, 0, false},
		{"93000000000000000000000000100000", DirWrite, 0, 8192, 512, 60, 0, false},
		{"9e100000000000000000000000200000", DirRead, 0, 32, 32, 60, 0x70e0, true},
		{"a30c011200000000000a0000", DirRead, 0, 10, 10, 60, 0x2060, false},
	}
	for _, tt := range tests {
		cdb := fromHex(t, tt.cdb)
		got, err := ParseSBC(cdb, 512)
		if err != nil {
			t.Errorf("%s: %v", tt.cdb, err)
			continue
		}
		if tt.flags != 0 && got.OpFlags != tt.flags {
			t.Errorf("%v: op flags %#x, want %#x", Opcode(cdb[0]), got.OpFlags, tt.flags)
		}
		if got.Dir != tt.dir || got.LBA != tt.lba || got.DataLen != tt.data || got.BufLen != tt.buf || got.Timeout != tt.timeout ||
			got.HeadOfQueue != tt.hq || got.CDBLen != len(cdb) {
			t.Errorf("%v: %+v\nwant %+v", Opcode(cdb[0]), got, tt)
		}
	}
}

func TestParseSBCSpecialLengths(t *testing.T) {
	tests := []struct {
		name      string
		c         Command
		bs        uint32
		dir       Dir
		data, buf int64
	}{
		{"READ(6) of 0 is 256 blocks", Command{Op: OpRead6}, 512, DirRead, 131072, 131072},
		{"WRITE(6) of 0 is 256 blocks", Command{Op: OpWrite6}, 512, DirWrite, 131072, 131072},
		{"WRITE(16) of 0 blocks", Command{Op: OpWrite16}, 512, DirNone, 0, 0},
		{"VERIFY BYTCHK 1 of 0 blocks", Command{Op: OpVerify16, BytChk: 1}, 512, DirNone, 0, 0},
		{"VERIFY BYTCHK 3 sends one block", Command{Op: OpVerify16, BytChk: 3, Blocks: 8}, 4096, DirWrite, 32768, 4096},
		{"WRITE SAME with NDOB", Command{Op: OpWriteSame16, NDOB: true, Blocks: 8}, 512, DirNone, 4096, 0},
		{"WRITE SAME to the end", Command{Op: OpWriteSame16}, 512, DirWrite, 0, 512},
		{"WRITE SAME of 2 TiB", Command{Op: OpWriteSame16, Blocks: math.MaxUint32}, 512, DirWrite, math.MaxUint32 * 512, 512},
		{"COMPARE AND WRITE", Command{Op: OpCompareAndWrite, Blocks: 3}, 512, DirWrite, 1536, 3072},
		{"SYNCHRONIZE CACHE of a range", Command{Op: OpSyncCache16, Blocks: math.MaxUint32}, 512, DirNone, math.MaxUint32 * 512, 0},
		{"PRE-FETCH of a range", Command{Op: OpPreFetch10, Blocks: 8}, 512, DirNone, 4096, 0},
		{"INQUIRY without room", Command{Op: OpInquiry}, 512, DirNone, 0, 0},
		{"UNMAP without list", Command{Op: OpUnmap}, 512, DirNone, 0, 0},
		{"the largest buffer", Command{Op: OpRead16, Blocks: math.MaxInt32}, 1, DirRead, math.MaxInt32, math.MaxInt32},
	}
	for _, tt := range tests {
		var cdb [16]byte
		n, err := tt.c.Encode(&cdb)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseSBC(cdb[:n], tt.bs)
		if err != nil || got.Dir != tt.dir || got.DataLen != tt.data || got.BufLen != tt.buf {
			t.Errorf("%s: %+v, %v", tt.name, got, err)
		}
	}
}

func TestParseSBCTooLong(t *testing.T) {
	for _, tt := range []struct {
		c  Command
		bs uint32
	}{
		{Command{Op: OpRead16, Blocks: 1 << 22}, 512},
		{Command{Op: OpWrite12, Blocks: math.MaxUint32}, 512},
		{Command{Op: OpSyncCache16, Blocks: math.MaxUint32}, math.MaxUint32},
		{Command{Op: OpServiceActionIn16, ServiceAction: SAReadCapacity16, AllocLen: 1 << 31}, 512},
		{Command{Op: OpCompareAndWrite, Blocks: 255}, 1 << 30},
		{Command{Op: OpWriteSame16, Blocks: 1}, 1 << 31},
	} {
		var cdb [16]byte
		n, _ := tt.c.Encode(&cdb)
		if got, err := ParseSBC(cdb[:n], tt.bs); err != ErrTooLong || got != (Transfer{}) {
			t.Errorf("%v: %+v, %v", tt.c.Op, got, err)
		}
	}
	if ErrTooLong.Sense() != SenseInvalidFieldInCDB {
		t.Errorf("sense %v", ErrTooLong.Sense())
	}
}

func TestParseSBCMedium(t *testing.T) {
	for _, tt := range []struct {
		op           Opcode
		reads, write bool
	}{
		{OpRead10, true, false},
		{OpWrite10, false, true},
		{OpVerify10, true, false},
		{OpWriteVerify16, false, true},
		{OpCompareAndWrite, true, true},
		{OpWriteSame16, false, true},
		{OpUnmap, false, true},
		{OpSyncCache10, false, false},
		{OpInquiry, false, false},
	} {
		var cdb [16]byte
		n, _ := (&Command{Op: tt.op}).Encode(&cdb)
		got, err := ParseSBC(cdb[:n], 512)
		if err != nil || got.ReadsMedium != tt.reads || got.WriteMedium != tt.write {
			t.Errorf("%v: %+v, %v", tt.op, got, err)
		}
	}
}

func checkTransfer(t interface{ Fatalf(string, ...any) }, cdb []byte, bs uint32) {
	tr, err := ParseSBC(cdb, bs)
	c, derr := Decode(cdb)
	if (derr != nil) != (err != nil && err != ErrTooLong) {
		t.Fatalf("% x: Decode says %v, ParseSBC %v", cdb, derr, err)
	}
	if err != nil {
		if tr != (Transfer{}) {
			t.Fatalf("% x: transfer %+v with error", cdb, tr)
		}
		return
	}
	if !tr.Dir.Valid() || (tr.Dir == DirNone) != (tr.BufLen == 0) || tr.BufLen < 0 || tr.BufLen > math.MaxInt32 || tr.DataLen < 0 ||
		tr.LBA != c.LBA || tr.CDBLen > len(cdb) || tr.OpFlags&OpInfoValid == 0 {
		t.Fatalf("% x: %+v", cdb, tr)
	}
}

func TestParseSBCProperties(t *testing.T) {
	ids := known()
	rapid.Check(t, func(t *rapid.T) {
		cdb := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "cdb")
		if rapid.Bool().Draw(t, "known") {
			cdb[0] = byte(rapid.SampledFrom(ids).Draw(t, "op").Op)
		}
		checkTransfer(t, cdb, rapid.Uint32().Draw(t, "block size"))
	})
}

func FuzzParseSBC(f *testing.F) {
	for _, id := range known() {
		f.Add(AppendCDBUsage(nil, id), uint32(512))
	}
	f.Add([]byte{}, uint32(0))
	f.Fuzz(func(t *testing.T, cdb []byte, bs uint32) { checkTransfer(t, cdb, bs) })
}
