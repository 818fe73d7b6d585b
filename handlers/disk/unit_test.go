package disk

import (
	"errors"
	"testing"

	"scstuser/scsi"
)

func TestStartStop(t *testing.T) {
	f := newFixture(t, full)
	f.good(cdb(scsi.Command{Op: scsi.OpWrite10, Blocks: 1}), pattern(1, 1))
	f.good(cdb(scsi.Command{Op: scsi.OpStartStop}), nil)
	if !f.m.isStable() {
		t.Error("stopped without a flush")
	}
	for _, cmd := range commands {
		if cmd.id.Op == scsi.OpStartStop {
			continue
		}
		r := f.run(scsi.Command{Op: cmd.id.Op, ServiceAction: uint8(cmd.id.SA), Blocks: 1, AllocLen: 8, PF: true}, nil)
		if s, _ := r.Sense(); (s == scsi.SenseNotReady) != (cmd.traits&medium != 0) {
			t.Errorf("stopped: %v gives %v, %v", cmd.id, r.Status, s)
		}
	}
	f.fails(scsi.SenseNotReady, cdb(scsi.Command{Op: scsi.OpTestUnitReady}), nil)
	f.fails(scsi.SenseNotReady, cdb(scsi.Command{Op: scsi.OpRead10, Blocks: 1}), nil)
	if s, err := scsi.ParseSense(f.good(cdb(scsi.Command{Op: scsi.OpRequestSense, AllocLen: 252}), nil)); err != nil || s != scsi.SenseNotReady {
		t.Errorf("REQUEST SENSE while stopped: %v, %v", s, err)
	}
	f.good(cdb(scsi.Command{Op: scsi.OpStartStop, Start: true, Immed: true}), nil)
	f.good(cdb(scsi.Command{Op: scsi.OpTestUnitReady}), nil)

	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(4, 7), cdb(scsi.Command{Op: scsi.OpStartStop, PowerCond: 1}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(4, 1), cdb(scsi.Command{Op: scsi.OpStartStop, LoEj: true}), nil)
	syncs := f.m.syncs
	f.good(cdb(scsi.Command{Op: scsi.OpStartStop, NoFlush: true}), nil)
	if f.m.syncs != syncs {
		t.Error("flushed despite NO_FLUSH")
	}
}

func TestStopThatCannotFlush(t *testing.T) {
	f := newFixture(t, full)
	f.m.syncErr = errors.New("lost")
	f.fails(scsi.SenseWriteError, cdb(scsi.Command{Op: scsi.OpStartStop}), nil)
	f.good(cdb(scsi.Command{Op: scsi.OpTestUnitReady}), nil)
}

func TestRequestSense(t *testing.T) {
	f := newFixture(t, full)
	wantHex(t, "fixed", f.good(cdb(scsi.Command{Op: scsi.OpRequestSense, AllocLen: 252}), nil), "700000000000000a00000000000000000000")
	wantHex(t, "descriptor", f.good(cdb(scsi.Command{Op: scsi.OpRequestSense, Desc: true, AllocLen: 252}), nil), "7200000000000000")
	wantHex(t, "cut", f.good(cdb(scsi.Command{Op: scsi.OpRequestSense, AllocLen: 3}), nil), "700000")
	f.good(cdb(scsi.Command{Op: scsi.OpRequestSense}), nil)
}

func TestNeitherACANorProtection(t *testing.T) {
	f := newFixture(t, full)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(5, 2), cdb(scsi.Command{Op: scsi.OpTestUnitReady, Control: scsi.NACA}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(15, 2), cdb(scsi.Command{Op: scsi.OpRead16, Control: scsi.NACA}), nil)
	f.good(cdb(scsi.Command{Op: scsi.OpTestUnitReady, Control: 0xC0}), nil)
	for _, op := range []scsi.Opcode{scsi.OpRead10, scsi.OpWrite12, scsi.OpVerify16, scsi.OpWriteSame16} {
		f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(1, 7), cdb(scsi.Command{Op: op, Protect: 1, Blocks: 1}), nil)
	}
}

func TestUnknownCommands(t *testing.T) {
	f := newFixture(t, full)
	f.fails(scsi.SenseInvalidOpcode, []byte{0xC1, 0, 0, 0, 0, 0}, nil)
	f.fails(scsi.SenseInvalidOpcode, cdb(scsi.Command{Op: scsi.OpCompareAndWrite}), nil)
	f.fails(scsi.SenseInvalidOpcode, cdb(scsi.Command{Op: scsi.OpReportLUNs}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(1, 4), append([]byte{0x9E, 0x1F}, make([]byte, 14)...), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(1, 4), cdb(scsi.Command{Op: scsi.OpMaintenanceIn, ServiceAction: scsi.SAReportSupportedTMFs}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB, []byte{0x88, 0}, nil)
}
