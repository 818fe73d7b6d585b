package disk

import (
	"testing"

	"scstuser/scsi"
)

func (f *fixture) report(c scsi.Command) []byte {
	c.Op, c.ServiceAction, c.AllocLen = scsi.OpMaintenanceIn, scsi.SAReportSupportedOpcodes, 4096
	return cdb(c)
}

func TestTableIsInOrder(t *testing.T) {
	for i := range commands {
		c := &commands[i]
		if !c.id.Known() || c.run == nil {
			t.Errorf("row %d: %+v", i, c.id)
		}
		if i > 0 && (commands[i-1].id.Op > c.id.Op || commands[i-1].id == c.id) {
			t.Errorf("%v is out of order", c.id)
		}
	}
}

func TestReportAllCommands(t *testing.T) {
	for name, backing := range kinds {
		f := newFixture(t, backing)
		b := f.good(f.report(scsi.Command{}), nil)
		timed := f.good(f.report(scsi.Command{RCTD: true}), nil)
		n := len(b[4:]) / 8
		if n != len(f.d.supported) || len(timed) != 4+n*20 {
			t.Errorf("%s: %d commands of %d, %d bytes with timeouts", name, n, len(f.d.supported), len(timed))
		}
		hasUnmap := false
		for d := b[4:]; len(d) > 0; d = d[8:] {
			op, sa := scsi.Opcode(d[0]), uint16(d[2])<<8|uint16(d[3])
			hasUnmap = hasUnmap || op == scsi.OpUnmap
			// What is reported is not answered with INVALID OPCODE, and one
			// by one it is reported as well.
			c := cdb(scsi.Command{Op: op, ServiceAction: uint8(sa), AllocLen: 512, Blocks: 1})
			if s, _ := f.exec(c, nil).Sense(); s.Is(scsi.SenseInvalidOpcode) {
				t.Errorf("%s: %v is reported and unknown", name, op)
			}
			one := f.good(f.report(scsi.Command{ReportingOptions: scsi.ReportOneEither, ReqOpcode: op, ReqSA: sa}), nil)
			if ok, err := scsi.ParseSupport(one); !ok || err != nil {
				t.Errorf("%s: %v is in the list and not supported", name, op)
			}
		}
		if hasUnmap != (name == "full") {
			t.Errorf("%s: UNMAP is reported: %v", name, hasUnmap)
		}
	}
}

func TestReportOneCommand(t *testing.T) {
	f := newFixture(t, full)
	rc := uint16(scsi.SAReadCapacity16)
	tests := []struct {
		name string
		c    scsi.Command
		want string
	}{
		{"one", scsi.Command{ReportingOptions: 1, ReqOpcode: scsi.OpWrite16}, "00030010" + "8af8ffffffffffffffffffffffff1fff"},
		{"one with timeouts", scsi.Command{ReportingOptions: 1, RCTD: true, ReqOpcode: scsi.OpTestUnitReady}, "00830006" + "0000000000ff" + "000a000000000000" + "0000000a"},
		{"one that is unknown", scsi.Command{ReportingOptions: 1, ReqOpcode: 0xC1}, "00010000"},
		{"one that is not offered", scsi.Command{ReportingOptions: 1, ReqOpcode: scsi.OpCompareAndWrite}, "00010000"},
		{"a service action", scsi.Command{ReportingOptions: 2, ReqOpcode: 0x9E, ReqSA: rc}, "00030010" + "9e100000000000000000ffffffff00ff"},
		{"an unknown service action", scsi.Command{ReportingOptions: 2, ReqOpcode: 0x9E, ReqSA: 1}, "00010000"},
		{"either, without", scsi.Command{ReportingOptions: 3, ReqOpcode: scsi.OpTestUnitReady}, "00030006" + "0000000000ff"},
		{"either, with", scsi.Command{ReportingOptions: 3, ReqOpcode: 0x9E, ReqSA: rc}, "00030010" + "9e100000000000000000ffffffff00ff"},
		{"either, with one that it has not", scsi.Command{ReportingOptions: 3, ReqOpcode: scsi.OpTestUnitReady, ReqSA: 1}, "00010000"},
	}
	for _, tt := range tests {
		wantHex(t, tt.name, f.good(f.report(tt.c), nil), tt.want)
	}
	bad := scsi.SenseInvalidFieldInCDB.AtCDB(2, 2)
	f.fails(bad, f.report(scsi.Command{ReportingOptions: 1, ReqOpcode: 0x9E}), nil)
	f.fails(bad, f.report(scsi.Command{ReportingOptions: 2, ReqOpcode: scsi.OpRead10}), nil)
	f.fails(bad, f.report(scsi.Command{ReportingOptions: 4}), nil)
}
