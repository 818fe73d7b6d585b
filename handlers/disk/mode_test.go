package disk

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"scstuser/scsi"
)

const (
	zeros9  = "000000000000000000"
	zeros17 = "0000000000000000000000000000000000"
)

func TestModeSenseGolden(t *testing.T) {
	f := newFixture(t, full)
	caching := "081204" + zeros17
	control := "0a0a201000000000" + "00000000"
	bd := "0000004000000200"
	tests := []struct {
		name string
		c    scsi.Command
		want string
	}{
		{"6, all pages", scsi.Command{Op: scsi.OpModeSense6, Page: 0x3F, AllocLen: 255}, "2b001008" + bd + caching + control},
		{"6, caching", scsi.Command{Op: scsi.OpModeSense6, Page: 8, AllocLen: 255}, "1f001008" + bd + caching},
		{"6, without block descriptor", scsi.Command{Op: scsi.OpModeSense6, DBD: true, Page: 0x0A, AllocLen: 255}, "0f001000" + control},
		{"6, cut", scsi.Command{Op: scsi.OpModeSense6, Page: 0x3F, AllocLen: 4}, "2b001008"},
		{"10, all pages and subpages", scsi.Command{Op: scsi.OpModeSense10, Page: 0x3F, SubPage: 0xFF, AllocLen: 255}, "002e001000000008" + bd + caching + control},
		{"10, long block descriptor", scsi.Command{Op: scsi.OpModeSense10, LLBAA: true, Page: 8, AllocLen: 255}, "002a001001000010" + "00000000000000400000000000000200" + caching},
		{"10, without block descriptor", scsi.Command{Op: scsi.OpModeSense10, LLBAA: true, DBD: true, Page: 8, AllocLen: 255}, "001a001000000000" + caching},
		{"changeable", scsi.Command{Op: scsi.OpModeSense10, DBD: true, PC: scsi.PCChangeable, Page: 0x3F, AllocLen: 255}, "0026001000000000" + "081204" + zeros17 + "0a0a04000800" + "000000000000"},
		{"default", scsi.Command{Op: scsi.OpModeSense10, DBD: true, PC: scsi.PCDefault, Page: 0x3F, AllocLen: 255}, "0026001000000000" + caching + control},
	}
	for _, tt := range tests {
		wantHex(t, tt.name, f.good(cdb(tt.c), nil), tt.want)
	}
	f.fails(scsi.SenseSavingNotSupported, cdb(scsi.Command{Op: scsi.OpModeSense6, PC: scsi.PCSaved, Page: 8, AllocLen: 255}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(2, 5), cdb(scsi.Command{Op: scsi.OpModeSense6, Page: 1, AllocLen: 255}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(2, 5), cdb(scsi.Command{Op: scsi.OpModeSense10, Page: 8, SubPage: 1, AllocLen: 255}), nil)
}

func TestModeSenseOfOtherOptions(t *testing.T) {
	f := newFixture(t, full, writeThrough, func(_ *mem, o *Options) { o.Control = &scsi.ControlPage{DSense: true, TAS: true} })
	wantHex(t, "write through, D_SENSE", f.good(cdb(scsi.Command{Op: scsi.OpModeSense10, DBD: true, Page: 0x3F, AllocLen: 255}), nil),
		"0026001000000000"+"081200"+zeros17+"0a0a04000040"+"000000000000")
	if !f.d.DSense() {
		t.Error("DSense is not as the control page says")
	}
}

func (f *fixture) modeSelect(pages ...[]byte) []byte {
	list := scsi.AppendModeHeader10(nil, &scsi.ModeHeader{}, 0)
	for _, p := range pages {
		list = append(list, p...)
	}
	return list
}

func caching(wce bool) []byte { return scsi.AppendCachingPage(nil, scsi.CachingPage{WCE: wce}) }

func control(edit func(*scsi.ControlPage)) []byte {
	c := DefaultControl
	edit(&c)
	return scsi.AppendControlPage(nil, c)
}

func select10(list []byte) []byte {
	return cdb(scsi.Command{Op: scsi.OpModeSelect10, PF: true, ParamLen: uint32(len(list))})
}

func TestModeSelectOfWCE(t *testing.T) {
	f := newFixture(t, full)
	f.good(cdb(scsi.Command{Op: scsi.OpWrite10, Blocks: 1}), pattern(1, 1))
	off := f.modeSelect(caching(false))
	f.good(select10(off), off)
	if !f.m.isStable() {
		t.Error("the cache was turned off and not flushed")
	}
	f.good(cdb(scsi.Command{Op: scsi.OpWrite10, Blocks: 1}), pattern(2, 1))
	f.good(cdb(scsi.Command{Op: scsi.OpWriteSame10, Blocks: 3}), pattern(3, 1))
	if !f.m.isStable() {
		t.Error("WCE=0, and a write is not stable")
	}
	if b := f.good(cdb(scsi.Command{Op: scsi.OpModeSense10, DBD: true, Page: 8, AllocLen: 255}), nil); b[10] != 0 {
		t.Errorf("caching page: % x", b)
	}
	if b := f.good(cdb(scsi.Command{Op: scsi.OpModeSense10, DBD: true, PC: scsi.PCDefault, Page: 8, AllocLen: 255}), nil); b[10] != 4 {
		t.Errorf("default caching page: % x", b)
	}
	on := append([]byte{0, 0, 0, 0}, caching(true)...)
	f.good(cdb(scsi.Command{Op: scsi.OpModeSelect6, PF: true, ParamLen: uint32(len(on))}), on)
	f.good(cdb(scsi.Command{Op: scsi.OpWrite10, Blocks: 1}), pattern(4, 1))
	if f.m.isStable() {
		t.Error("WCE=1, and a write still goes through")
	}
}

func TestModeSelectOfWCEThatCannotFlush(t *testing.T) {
	f := newFixture(t, full)
	f.m.syncErr = errors.New("lost")
	off := f.modeSelect(caching(false), control(func(c *scsi.ControlPage) { c.DSense = true }))
	f.fails(scsi.SenseWriteError, select10(off), off)
	if !f.d.has(stateWCE) || f.d.DSense() {
		t.Error("a MODE SELECT that failed changed something")
	}
}

func TestModeSelectOfControl(t *testing.T) {
	f := newFixture(t, full)
	list := f.modeSelect(control(func(c *scsi.ControlPage) { c.DSense, c.SWP = true, true }))
	f.good(select10(list), list)
	if !f.d.DSense() {
		t.Error("D_SENSE was not set")
	}
	f.fails(scsi.SenseWriteProtected, cdb(scsi.Command{Op: scsi.OpWrite10, Blocks: 1}), nil)
	list = f.modeSelect(control(func(*scsi.ControlPage) {}))
	f.good(select10(list), list)
	f.good(cdb(scsi.Command{Op: scsi.OpWrite10, Blocks: 1}), nil)
}

func TestModeSelectTakesWhatModeSenseGave(t *testing.T) {
	for _, long := range []bool{false, true} {
		f := newFixture(t, full)
		list := bytes.Clone(f.good(cdb(scsi.Command{Op: scsi.OpModeSense10, LLBAA: long, Page: 0x3F, AllocLen: 255}), nil))
		f.good(select10(list), list)
	}
}

func TestModeSelectErrors(t *testing.T) {
	f := newFixture(t, full)
	good := f.modeSelect(caching(true))
	patched := func(at int, b byte) []byte {
		l := bytes.Clone(good)
		l[at] = b
		return l
	}
	header := func(h scsi.ModeHeader, rest ...[]byte) []byte {
		return append(scsi.AppendModeHeader10(nil, &h, 0), bytes.Join(rest, nil)...)
	}
	bd := func(blocks uint64, size uint32, long bool) []byte {
		return scsi.AppendBlockDescriptor(nil, scsi.BlockDescriptor{Blocks: blocks, BlockSize: size}, long)
	}
	param := scsi.SenseInvalidFieldInParameterList.AtParameter
	tests := []struct {
		name string
		list []byte
		want scsi.Sense
	}{
		{"cut header", good[:7], scsi.SenseParameterListLength},
		{"cut page", good[:len(good)-1], scsi.SenseParameterListLength},
		{"cut page header", good[:9], scsi.SenseParameterListLength},
		{"cut block descriptor", header(scsi.ModeHeader{BlockDescriptorLen: 8}), scsi.SenseParameterListLength},
		{"unknown page", patched(8, 0x01), param(8, -1)},
		{"subpage format", append(header(scsi.ModeHeader{}), 0x48, 1, 0, 2, 0, 0), param(8, -1)},
		{"other page length", append(header(scsi.ModeHeader{}), 0x08, 1, 4), param(9, -1)},
		{"change of what can't be changed", patched(8+12, 0x20), param(20, -1)},
		{"change in the same byte", patched(8+2, 0x05), param(10, -1)},
		{"second page", f.modeSelect(caching(false), control(func(c *scsi.ControlPage) { c.TAS = true })), param(28+5, -1)},
		{"other block size", header(scsi.ModeHeader{BlockDescriptorLen: 8}, bd(0, 4096, false)), param(8, -1)},
		{"other capacity", header(scsi.ModeHeader{BlockDescriptorLen: 8}, bd(1, 512, false)), param(8, -1)},
		{"long descriptor without LONGLBA", header(scsi.ModeHeader{BlockDescriptorLen: 16}, bd(0, 512, true)), param(8, -1)},
		{"two block descriptors", header(scsi.ModeHeader{BlockDescriptorLen: 16}, bd(0, 512, false), bd(0, 512, false)), param(8, -1)},
	}
	for _, tt := range tests {
		before := f.d.state.Load()
		r := f.exec(select10(tt.list), tt.list)
		if s, _ := r.Sense(); s != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, s, tt.want)
		}
		if f.d.state.Load() != before {
			t.Errorf("%s: changed something", tt.name)
		}
	}
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(1, 4), cdb(scsi.Command{Op: scsi.OpModeSelect10, ParamLen: 28}), good)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(1, 0), cdb(scsi.Command{Op: scsi.OpModeSelect10, PF: true, SP: true, ParamLen: 28}), good)
	f.good(cdb(scsi.Command{Op: scsi.OpModeSelect10, PF: true}), nil)
	// The capacity may be given as unknown or as all ones, and PS is reserved.
	for _, l := range [][]byte{
		header(scsi.ModeHeader{BlockDescriptorLen: 8}, bd(0, 512, false)),
		header(scsi.ModeHeader{BlockDescriptorLen: 8}, bd(1<<32-1, 512, false)),
		header(scsi.ModeHeader{BlockDescriptorLen: 16, LongLBA: true}, bd(1<<64-1, 512, true)),
		patched(8, 0x88),
	} {
		f.good(select10(l), l)
	}
}

func TestReadCapacity(t *testing.T) {
	f := newFixture(t, full)
	wantHex(t, "10", f.good(cdb(scsi.Command{Op: scsi.OpReadCapacity10}), nil), "0000003f00000200")
	rc16 := cdb(scsi.Command{Op: scsi.OpServiceActionIn16, ServiceAction: scsi.SAReadCapacity16, AllocLen: 64})
	wantHex(t, "16", f.good(rc16, nil), "000000000000003f000002000003c000", strings.Repeat("00", 16))
	wantHex(t, "16 of a backing that can't unmap", newFixture(t, plain).good(rc16, nil), "000000000000003f0000020000030000", strings.Repeat("00", 16))
	rc16[13] = 12
	if n := len(f.good(rc16, nil)); n != 12 {
		t.Errorf("%d bytes, 12 are wanted", n)
	}
	big := newFixture(t, full)
	big.d.blocks.Store(1 << 32)
	wantHex(t, "10 of a large unit", big.good(cdb(scsi.Command{Op: scsi.OpReadCapacity10}), nil), "ffffffff00000200")
}
