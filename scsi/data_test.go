package scsi

import (
	"bytes"
	"encoding/hex"
	"math"
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

func TestInquiryGolden(t *testing.T) {
	d := InquiryData{Version: VersionSPC4, HiSup: true, CmdQue: true, Vendor: "SCST_USR", Product: "disk\x011", Revision: "100"}
	want := "00000612" + "1f000002" + hexOf([]byte("SCST_USR")) + hexOf([]byte("disk 1          ")) + hexOf([]byte("100 "))
	if got := hexOf(AppendInquiry(nil, &d)); got != want {
		t.Errorf("short:\n got %s\nwant %s", got, want)
	}
	d.Descriptors = [8]uint16{DescriptorSAM5, DescriptorSPC4, DescriptorSBC3}
	long := AppendInquiry(nil, &d)
	if len(long) != 96 || long[4] != 91 || hexOf(long[58:66]) != "00a0046004c00000" {
		t.Errorf("long: % x", long)
	}
	got, err := ParseInquiry(long)
	d.Product = "disk 1"
	if err != nil || got != d {
		t.Errorf("parsed %+v, %v", got, err)
	}
}

func TestVPDGolden(t *testing.T) {
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"00 supported pages", AppendVPDSupportedPages(nil, 0x00, 0x80, 0x83), "00000003008083"},
		{"80 serial", AppendVPDSerial(nil, "A1\n"), "00800003413120"},
		{"83 device identification", AppendVPDDeviceIdentification(nil, T10Designator("SCST", "d1"), NAALocalDesignator(0xF123456789ABCDEF), EUI64Designator([8]byte{1, 2, 3, 4, 5, 6, 7, 8})),
			"00830026" + "0201000a" + "5343535420202020" + "6431" + "01030008" + "3123456789abcdef" + "01020008" + "0102030405060708"},
		{"86 extended inquiry", AppendVPDExtendedInquiry(nil, &ExtendedInquiry{HeadSup: true, SimpSup: true, NVSup: true}), "0086003c" + "000502" + strings.Repeat("00", 57)},
		{"b0 block limits", AppendVPDBlockLimits(nil, &BlockLimits{WSNZ: true, MaxCompareAndWrite: 1, OptimalGranularity: 8, MaxTransfer: 0x1000,
			OptimalTransfer: 0x100, MaxPrefetch: 9, MaxUnmapBlocks: math.MaxUint32, MaxUnmapDescriptors: 256, UnmapGranularity: 8, UnmapAlignmentValid: true, MaxWriteSame: 1 << 33}),
			"00b0003c" + "01010008" + "00001000" + "00000100" + "00000009" + "ffffffff" + "00000100" + "00000008" + "80000000" + "0000000200000000" + strings.Repeat("00", 20)},
		{"b1 characteristics", AppendVPDBlockCharacteristics(nil, &BlockCharacteristics{RotationRate: RotationNone, FormFactor: 3, FUAB: true, VBULS: true}),
			"00b1003c" + "0001000303" + strings.Repeat("00", 55)},
		{"b2 provisioning", AppendVPDLogicalProvisioning(nil, &LogicalProvisioning{ThresholdExponent: 1, LBPU: true, LBPWS: true, LBPWS10: true, LBPRZ: true, AncSup: true, Type: ProvisioningThin}),
			"00b20004" + "01e60200"},
	}
	for _, tt := range tests {
		if got := hexOf(tt.got); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	if n := len(AppendVPDSerial(nil, strings.Repeat("x", 300))); n != 4+MaxSerialLen {
		t.Errorf("long serial: %d bytes", n)
	}
}

func TestModeGolden(t *testing.T) {
	h := ModeHeader{WriteProtected: true, DPOFUA: true, BlockDescriptorLen: 8}
	if got := hexOf(AppendModeHeader6(nil, &h, 28)); got != "1f009008" {
		t.Errorf("header 6: %s", got)
	}
	if got := hexOf(AppendModeHeader6(nil, &h, 1000)); got != "ff009008" {
		t.Errorf("header 6 of too much: %s", got)
	}
	h.LongLBA, h.BlockDescriptorLen = true, 16
	if got := hexOf(AppendModeHeader10(nil, &h, 36)); got != "002a009001000010" {
		t.Errorf("header 10: %s", got)
	}
	d := BlockDescriptor{Blocks: 1 << 33, BlockSize: 4096}
	if got := hexOf(AppendBlockDescriptor(nil, d, false)); got != "ffffffff00001000" {
		t.Errorf("short block descriptor: %s", got)
	}
	if got := hexOf(AppendBlockDescriptor(nil, d, true)); got != "00000002000000000000000000001000" {
		t.Errorf("long block descriptor: %s", got)
	}
	if got := hexOf(AppendCachingPage(nil, CachingPage{WCE: true, RCD: true, DRA: true, NVDis: true})); got != "0812"+"05"+strings.Repeat("00", 9)+"21"+strings.Repeat("00", 7) {
		t.Errorf("caching: %s", got)
	}
	c := ControlPage{TST: 1, TMFOnly: true, DSense: true, GLTSD: true, QueueAlgorithm: 1, QErr: 3, UAIntlck: 2, SWP: true, TAS: true, BusyTimeout: 0x102, SelfTestSeconds: 0x304}
	if got := hexOf(AppendControlPage(nil, c)); got != "0a0a"+"3616"+"2840"+"0000"+"01020304" {
		t.Errorf("control: %s", got)
	}
}

func TestCapacityGolden(t *testing.T) {
	c := Capacity{LastLBA: 1 << 32, BlockSize: 512, PhysicalExponent: 3, LowestAligned: 1, LBPME: true, LBPRZ: true}
	if got := hexOf(AppendReadCapacity10(nil, c)); got != "ffffffff00000200" {
		t.Errorf("10: %s", got)
	}
	if got := hexOf(AppendReadCapacity16(nil, c)); got != "0000000100000000"+"00000200"+"0003c001"+strings.Repeat("00", 16) {
		t.Errorf("16: %s", got)
	}
	c.LastLBA = math.MaxUint32 - 1
	if got, err := ParseReadCapacity10(AppendReadCapacity10(nil, c)); err != nil || got.LastLBA != c.LastLBA || got.BlockSize != 512 {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestLBAStatusAndLUNsGolden(t *testing.T) {
	runs := []LBAStatus{{LBA: 8, Blocks: 16}, {LBA: 24, Blocks: 1, Status: LBADeallocated}}
	b := AppendLBAStatus(nil, runs...)
	if got := hexOf(b); got != "0000002400000000"+"0000000000000008"+"00000010"+"00000000"+"0000000000000018"+"00000001"+"01000000" {
		t.Errorf("lba status: %s", got)
	}
	if got, err := ParseLBAStatus(nil, b[:len(b)-1]); err != nil || !reflect.DeepEqual(got, runs[:1]) {
		t.Errorf("cut: %v, %v", got, err)
	}
	l := AppendReportLUNs(nil, 0, 1<<48)
	if got := hexOf(l); got != "0000001000000000"+"0000000000000000"+"0001000000000000" {
		t.Errorf("luns: %s", got)
	}
	if got, err := ParseReportLUNs(nil, l); err != nil || !reflect.DeepEqual(got, []uint64{0, 1 << 48}) {
		t.Errorf("%v, %v", got, err)
	}
}

func TestReportOpcodesGolden(t *testing.T) {
	read16, rc16 := CommandID{Op: OpRead16}, CommandID{OpServiceActionIn16, SAReadCapacity16}
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"all", AppendSupportedCommands(nil, false, read16, rc16, CommandID{Op: 0xC1}), "00000010" + "8800000000000010" + "9e00001000010010"},
		{"all with timeouts", AppendSupportedCommands(nil, true, rc16), "00000014" + "9e00001000030010" + "000a00000000" + "00000000003c"},
		{"one", AppendSupportedCommand(nil, false, read16), "00030010" + "88fcffffffffffffffffffffffff1fff"},
		{"one with service action", AppendSupportedCommand(nil, false, rc16), "00030010" + "9e100000000000000000ffffffff00ff"},
		{"one with timeouts", AppendSupportedCommand(nil, true, CommandID{Op: OpTestUnitReady}), "00830006" + "0000000000ff" + "000a00000000" + "00000000000a"},
		{"unknown", AppendSupportedCommand(nil, true, CommandID{Op: 0xC1}), "00010000"},
	}
	for _, tt := range tests {
		if got := hexOf(tt.got); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	for _, id := range []CommandID{{0xC1, 0}, {OpServiceActionIn16, 0x1F}, {OpServiceActionIn16, 0x110}} {
		if id.Known() || AppendCDBUsage(nil, id) != nil {
			t.Errorf("%v is known", id)
		}
	}
	if ok, err := ParseSupport(AppendSupportedCommand(nil, false, read16)); !ok || err != nil {
		t.Error("a supported command is not", err)
	}
	if ok, err := ParseSupport(AppendUnsupportedCommand(nil)); ok || err != nil {
		t.Error("an unsupported command is", err)
	}
}

func TestUnmapList(t *testing.T) {
	buf := make([]byte, 64)
	n := PutUnmapDescriptors(buf, UnmapDescriptor{1, 2}, UnmapDescriptor{1 << 40, 4})
	want := "0026" + "0020" + "00000000" + "0000000000000001" + "00000002" + "00000000" + "0000010000000000" + "00000004" + "00000000"
	if got := hexOf(buf[:n]); got != want {
		t.Errorf("\n got %s\nwant %s", got, want)
	}
	if PutUnmapDescriptors(buf, make([]UnmapDescriptor, 4)...) != 0 {
		t.Error("a list was put into a buffer that is too small")
	}
	tests := []struct {
		name, b string
		n       int
		err     error
	}{
		{"no list", "", 0, nil},
		{"no descriptors", "0006000000000000", 0, nil},
		{"cut header", "00060000000000", 0, ErrUnmapListLength},
		{"descriptors cut", want[:2*24], 0, ErrUnmapDataLength},
		{"data length too small for the descriptors", "00060010" + want[8:2*24], 0, ErrUnmapDataLength},
		{"part of a descriptor is ignored", "00260018" + want[8:2*40], 1, nil},
		{"bytes behind the descriptors are ignored", want + "ff", 2, nil},
	}
	for _, tt := range tests {
		l, err := ParseUnmapList(fromHex(t, tt.b))
		if l.Len() != tt.n || err != tt.err {
			t.Errorf("%s: %d descriptors, %v", tt.name, l.Len(), err)
		}
	}
}

func TestUnmapRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ds := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) UnmapDescriptor {
			return UnmapDescriptor{rapid.Uint64().Draw(t, "lba"), rapid.Uint32().Draw(t, "blocks")}
		}), 0, 20).Draw(t, "descriptors")
		buf := bytes.Repeat([]byte{0xFF}, 512)
		l, err := ParseUnmapList(buf[:PutUnmapDescriptors(buf, ds...)])
		if err != nil || l.Len() != len(ds) {
			t.Fatalf("%d descriptors, %v", l.Len(), err)
		}
		for i := range ds {
			if l.At(i) != ds[i] {
				t.Fatalf("descriptor %d: %v, want %v", i, l.At(i), ds[i])
			}
		}
	})
}

func TestBlockLimitsOfSBC2(t *testing.T) {
	b := AppendVPDBlockLimits(nil, &BlockLimits{OptimalGranularity: 1, MaxTransfer: 2, OptimalTransfer: 3, MaxUnmapBlocks: 4})[:16]
	if got, err := ParseVPDBlockLimits(b); err != nil || got != (BlockLimits{OptimalGranularity: 1, MaxTransfer: 2, OptimalTransfer: 3}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// Every pair of Append and Parse: what was appended is parsed to the same value.
func TestDataRoundTrips(t *testing.T) {
	check := func(t *rapid.T, what string, got any, err error, want any) {
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%s: %+v, %v\nwant %+v", what, got, err, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		b := func(n string) bool { return rapid.Bool().Draw(t, n) }
		u8 := func(n string, hi uint8) uint8 { return rapid.Uint8Max(hi).Draw(t, n) }
		u16, u32, u64 := rapid.Uint16().Draw(t, "u16"), rapid.Uint32().Draw(t, "u32"), rapid.Uint64().Draw(t, "u64")

		limits := BlockLimits{WSNZ: b("wsnz"), MaxCompareAndWrite: u8("caw", 255), OptimalGranularity: u16, MaxTransfer: u32, OptimalTransfer: u32 + 1,
			MaxPrefetch: u32 + 2, MaxUnmapBlocks: u32 + 3, MaxUnmapDescriptors: u32 + 4, UnmapGranularity: u32 + 5, MaxWriteSame: u64,
			MaxAtomicTransfer: u32 + 6, AtomicAlignment: u32 + 7, AtomicGranularity: u32 + 8}
		if limits.UnmapAlignmentValid = b("ugavalid"); limits.UnmapAlignmentValid {
			limits.UnmapAlignment = u32 & (1<<31 - 1)
		}
		gotLimits, err := ParseVPDBlockLimits(AppendVPDBlockLimits(nil, &limits))
		check(t, "block limits", gotLimits, err, limits)

		chars := BlockCharacteristics{RotationRate: u16, FormFactor: u8("form", 15), FUAB: b("fuab"), VBULS: b("vbuls")}
		gotChars, err := ParseVPDBlockCharacteristics(AppendVPDBlockCharacteristics(nil, &chars))
		check(t, "characteristics", gotChars, err, chars)

		prov := LogicalProvisioning{ThresholdExponent: u8("exp", 255), LBPU: b("lbpu"), LBPWS: b("lbpws"), LBPWS10: b("lbpws10"), LBPRZ: b("lbprz"), AncSup: b("anc"), Type: u8("type", 7)}
		gotProv, err := ParseVPDLogicalProvisioning(AppendVPDLogicalProvisioning(nil, &prov))
		check(t, "provisioning", gotProv, err, prov)

		ext := ExtendedInquiry{b("head"), b("ord"), b("simp"), b("nv"), b("v")}
		gotExt, err := ParseVPDExtendedInquiry(AppendVPDExtendedInquiry(nil, &ext))
		check(t, "extended inquiry", gotExt, err, ext)

		cap16 := Capacity{LastLBA: u64, BlockSize: u32, PhysicalExponent: u8("phys", 15), LowestAligned: u16 & 0x3FFF, LBPME: b("lbpme"), LBPRZ: b("lbprz16")}
		gotCap, err := ParseReadCapacity16(AppendReadCapacity16(nil, cap16))
		check(t, "capacity", gotCap, err, cap16)

		caching := CachingPage{b("wce"), b("rcd"), b("dra"), b("nvdis")}
		control := ControlPage{TST: u8("tst", 7), TMFOnly: b("tmf"), DSense: b("dsense"), GLTSD: b("gltsd"), QueueAlgorithm: u8("qalg", 15), QErr: u8("qerr", 3),
			UAIntlck: u8("ua", 3), SWP: b("swp"), TAS: b("tas"), BusyTimeout: u16, SelfTestSeconds: u16 + 1}
		h := ModeHeader{MediumType: u8("medium", 255), WriteProtected: b("wp"), DPOFUA: b("dpofua"), LongLBA: b("long")}
		bd := BlockDescriptor{Blocks: u64, BlockSize: u32}
		desc := AppendBlockDescriptor(nil, bd, true)
		h.BlockDescriptorLen = uint16(len(desc))
		pages := AppendControlPage(AppendCachingPage(nil, caching), control)
		data := append(append(AppendModeHeader10(nil, &h, len(desc)+len(pages)), desc...), pages...)
		gotH, gotDesc, gotPages, err := ParseModeHeader10(append(data, 0xFF))
		check(t, "mode header", gotH, err, h)
		check(t, "pages", gotPages, nil, pages)
		gotBD, err := ParseBlockDescriptor(gotDesc)
		check(t, "block descriptor", gotBD, err, bd)
		gotCaching, err := ParseCachingPage(FindModePage(gotPages, ModePageCaching, 0))
		check(t, "caching", gotCaching, err, caching)
		gotControl, err := ParseControlPage(FindModePage(gotPages, ModePageControl, 0))
		check(t, "control", gotControl, err, control)
		h.LongLBA = false
		gotH, _, gotPages, err = ParseModeHeader6(append(append(AppendModeHeader6(nil, &h, len(desc)+len(pages)), desc...), pages...))
		check(t, "mode header 6", gotH, err, h)
		check(t, "pages 6", gotPages, nil, pages)

		// In a MODE SELECT list the mode data length is reserved, whatever it is.
		data[0], data[1] = u8("length", 255), u8("length", 255)
		_, _, gotPages, err = ParseModeSelect10(data)
		check(t, "pages of MODE SELECT", gotPages, err, pages)

		ds := []Designator{T10Designator("v", "id"), NAALocalDesignator(u64), {CodeSet: u8("cs", 15), Association: u8("assoc", 3), Type: u8("dtype", 15), Data: []byte{}}}
		runs := []LBAStatus{{LBA: u64, Blocks: u32, Status: u8("status", 15)}, {LBA: u64 + 1, Blocks: u32}}
		gotRuns, err := ParseLBAStatus(nil, append(AppendLBAStatus(nil, runs...), 0xFF))
		check(t, "lba status", gotRuns, err, runs)
		luns := []uint64{u64, u64 + 1}
		gotLUNs, err := ParseReportLUNs(nil, append(AppendReportLUNs(nil, luns...), make([]byte, 8)...))
		check(t, "luns", gotLUNs, err, luns)

		gotDs, err := ParseVPDDeviceIdentification(AppendVPDDeviceIdentification(nil, ds...))
		check(t, "designators", gotDs, err, ds)
	})
}

func TestParseErrors(t *testing.T) {
	serial := AppendVPDSerial(nil, "12345678901234567890")
	for what, err := range map[string]error{
		"block limits":    second(ParseVPDBlockLimits(serial)),
		"characteristics": second(ParseVPDBlockCharacteristics(serial)),
		"provisioning":    second(ParseVPDLogicalProvisioning(serial)),
		"zeroing":         second(ParseVPDZeroing(serial)),
		"extended":        second(ParseVPDExtendedInquiry(serial)),
		"designators":     second(ParseVPDDeviceIdentification(serial)),
		"caching":         second(ParseCachingPage(AppendControlPage(nil, ControlPage{}))),
		"control":         second(ParseControlPage(AppendCachingPage(nil, CachingPage{}))),
	} {
		if err != ErrWrongPage {
			t.Errorf("%s of another page: %v", what, err)
		}
	}
	// Every prefix that is too short for the fields is an error, and cut strings
	// and lists are not.
	for what, short := range map[string]error{
		"inquiry":          second(ParseInquiry(make([]byte, 35))),
		"inquiry, its own": second(ParseInquiry(make([]byte, 36))),
		"capacity 10":      second(ParseReadCapacity10(make([]byte, 7))),
		"capacity 16":      second(ParseReadCapacity16(make([]byte, 11))),
		"lba status":       second(ParseLBAStatus(nil, make([]byte, 7))),
		"luns":             second(ParseReportLUNs(nil, make([]byte, 7))),
		"support":          second(ParseSupport(make([]byte, 3))),
		"block limits":     second(ParseVPDBlockLimits([]byte{0, 0xB0, 0, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})),
		"zeroing":          second(ParseVPDZeroing(append([]byte{0, 0xC0, 0, 12}, "ANOTHER'S PAGE"...))),
		"vpd header":       second(ParseVPDBlockLimits(make([]byte, 3))),
		"block descriptor": second(ParseBlockDescriptor(make([]byte, 9))),
		"caching":          second(ParseCachingPage(make([]byte, 2))),
		"control":          second(ParseControlPage(make([]byte, 11))),
	} {
		if short != ErrShortData {
			t.Errorf("%s cut: %v", what, short)
		}
	}
	if ds, err := ParseVPDDeviceIdentification([]byte{0, 0x83, 0, 5, 1, 3, 0, 8, 0}); len(ds) != 0 || err != nil {
		t.Errorf("a designator that is cut off: %v, %v", ds, err)
	}
	for _, parse := range []func([]byte) (ModeHeader, []byte, []byte, error){ParseModeHeader6, ParseModeSelect6, ParseModeHeader10, ParseModeSelect10} {
		if _, _, _, err := parse(make([]byte, 3)); err != ErrShortData {
			t.Errorf("mode header cut: %v", err)
		}
	}
	if FindModePage([]byte{0x48, 1, 0, 0, 8, 0}, 8, 0) == nil || FindModePage([]byte{0x48, 1, 0, 2, 0}, 8, 0) != nil {
		t.Error("subpages are not skipped by their length")
	}
}

func second[T any](_ T, err error) error { return err }

// Every Parse function takes any bytes, and none of their prefixes makes it
// panic.
func FuzzParseData(f *testing.F) {
	f.Add(AppendVPDBlockLimits(nil, &BlockLimits{}))
	f.Add(AppendVPDDeviceIdentification(nil, T10Designator("v", "id")))
	f.Add(AppendVPDLogicalProvisioning(nil, &LogicalProvisioning{}))
	f.Add(AppendInquiry(nil, &InquiryData{Descriptors: [8]uint16{1}}))
	f.Add(AppendReadCapacity16(nil, Capacity{}))
	f.Add(AppendLBAStatus(nil, LBAStatus{}))
	f.Add(AppendReportLUNs(nil, 1))
	f.Add(AppendControlPage(AppendCachingPage(AppendModeHeader10(nil, &ModeHeader{}, 32), CachingPage{}), ControlPage{}))
	unmap := make([]byte, 24)
	PutUnmapDescriptors(unmap, UnmapDescriptor{1, 2})
	f.Add(unmap)
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ParseInquiry(b)
		_, _, _ = VPDPage(b)
		_, _ = ParseVPDBlockLimits(b)
		_, _ = ParseVPDBlockCharacteristics(b)
		_, _ = ParseVPDLogicalProvisioning(b)
		_, _ = ParseVPDZeroing(b)
		_, _ = ParseVPDExtendedInquiry(b)
		_, _ = ParseVPDDeviceIdentification(b)
		_, _ = ParseReadCapacity10(b)
		_, _ = ParseReadCapacity16(b)
		_, _ = ParseLBAStatus(nil, b)
		_, _ = ParseReportLUNs(nil, b)
		_, _ = ParseBlockDescriptor(b)
		_, _ = ParseSupport(b)
		if l, err := ParseUnmapList(b); err == nil {
			for i := range l.Len() {
				_ = l.At(i)
			}
		}
		_, _, p6, _ := ParseModeHeader6(b)
		_, _, p10, _ := ParseModeHeader10(b)
		_, _, s6, _ := ParseModeSelect6(b)
		_, _, s10, _ := ParseModeSelect10(b)
		for _, pages := range [][]byte{p6, p10, s6, s10, b} {
			_, _ = ParseCachingPage(FindModePage(pages, ModePageCaching, 0))
			_, _ = ParseControlPage(FindModePage(pages, ModePageControl, 0))
			_, _ = ParseCachingPage(pages)
			_, _ = ParseControlPage(pages)
		}
	})
}
