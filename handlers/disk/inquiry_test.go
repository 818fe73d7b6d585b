package disk

import (
	"encoding/hex"
	"strings"
	"testing"

	"scstuser/scsi"
)

func (f *fixture) vpd(page uint8) []byte {
	f.t.Helper()
	return f.good(cdb(scsi.Command{Op: scsi.OpInquiry, EVPD: true, Page: page, AllocLen: 4096}), nil)
}

func text(s string) string { return hex.EncodeToString([]byte(s)) }

func TestStandardInquiry(t *testing.T) {
	f := newFixture(t, full)
	b := f.good(cdb(scsi.Command{Op: scsi.OpInquiry, AllocLen: 4096}), nil)
	wantHex(t, "standard data", b, "000006125b000002", text("SCST_USR"), text("disk1           "), text("3110"),
		strings.Repeat("00", 22), "00a0046004c0", strings.Repeat("00", 32))
	// As SCST's own fileio_tgt was recorded, but for the length (5Bh for its
	// 1Fh) and an obsolete bit in byte 6.
	wantHex(t, "as recorded", f.good(cdb(scsi.Command{Op: scsi.OpInquiry, AllocLen: 36}), nil),
		"000006125b000002534353545f5553526469736b31202020202020202020202033313130")
	f.good(cdb(scsi.Command{Op: scsi.OpInquiry}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(2, 7), cdb(scsi.Command{Op: scsi.OpInquiry, Page: 0x80, AllocLen: 36}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(2, 7), cdb(scsi.Command{Op: scsi.OpInquiry, EVPD: true, Page: 0x85, AllocLen: 36}), nil)
}

func TestVPDPages(t *testing.T) {
	f := newFixture(t, full)
	wantHex(t, "00", f.vpd(0x00), "00000008", "00808386b0b1b2c0")
	for _, p := range f.vpd(0x00)[4:] {
		if b := f.vpd(p); b[1] != p || int(b[2])<<8|int(b[3]) != len(b)-4 {
			t.Errorf("page %02x: % x", p, b)
		}
	}
	serial := f.vpd(0x80)
	if len(serial) != 12 {
		t.Errorf("serial number: %q", serial)
	}
	wantHex(t, "86", f.vpd(0x86), "0086003c", "000701", strings.Repeat("00", 57))
	wantHex(t, "b0", f.vpd(0xB0), "00b0003c", "00000008", "00010000", "00000000", "00000000", "00800000", "00000100", "00000008", "80000000", "0000000000800000", strings.Repeat("00", 20))
	wantHex(t, "b1", f.vpd(0xB1), "00b1003c", "0001000003", strings.Repeat("00", 55))
	wantHex(t, "b2", f.vpd(0xB2), "00b20004", "00e40200")
}

func TestVPDOfOtherOptions(t *testing.T) {
	f := newFixture(t, plain, func(_ *mem, o *Options) {
		*o = Options{Name: "n", Vendor: "ME", Product: "P", Revision: "1", Serial: "S1", BlockSize: 4096, Rotational: true, NVCache: true,
			MaxTransfer: 8192, MaxWriteSame: 4096}
	})
	b := f.good(cdb(scsi.Command{Op: scsi.OpInquiry, AllocLen: 36}), nil)
	wantHex(t, "names", b[8:], text("ME      P               1   "))
	wantHex(t, "80", f.vpd(0x80), "00800002", text("S1"))
	ids, err := scsi.ParseVPDDeviceIdentification(f.vpd(0x83))
	if err != nil || len(ids) != 2 || ids[0].Type != scsi.DesignatorT10 || string(ids[0].Data) != "ME      S1-n" ||
		ids[1].Type != scsi.DesignatorNAA || len(ids[1].Data) != 8 || ids[1].Data[0]>>4 != 3 {
		t.Errorf("83: %+v, %v", ids, err)
	}
	wantHex(t, "86", f.vpd(0x86)[:7], "0086003c", "000702")
	wantHex(t, "b0", f.vpd(0xB0), "00b0003c", "00000001", "00000002", strings.Repeat("00", 24), "0000000000000001", strings.Repeat("00", 20))
	wantHex(t, "b1", f.vpd(0xB1)[4:6], "1c20")
	wantHex(t, "b2", f.vpd(0xB2), "00b20004", "00000000")
}

func TestIdentityIsStable(t *testing.T) {
	a, b := newFixture(t, full), newFixture(t, plain)
	if string(a.vpd(0x83)) != string(b.vpd(0x83)) || string(a.vpd(0x80)) != string(b.vpd(0x80)) {
		t.Error("the same unit is named in two ways")
	}
	for name, edit := range map[string]func(*mem, *Options){
		"name": func(_ *mem, o *Options) { o.Name = "disk2" }, "vdisk id": func(_ *mem, o *Options) { o.VdiskID = 1 },
	} {
		c := newFixture(t, full, edit)
		if string(a.vpd(0x83)) == string(c.vpd(0x83)) || string(a.vpd(0x80)) == string(c.vpd(0x80)) {
			t.Errorf("another %s, the same identity", name)
		}
	}
}
