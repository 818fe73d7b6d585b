package target

import (
	"encoding/binary"
	"encoding/hex"
	"testing"

	"scstuser/scsi"
)

func reportLUNs(selectReport byte, alloc uint32) scsi.CDB {
	return scsi.EncodeReportLUNs(selectReport, alloc)
}

// TestFact23ReportLUNs: the handler never hears of REPORT LUNS.
func TestFact23ReportLUNs(t *testing.T) {
	for _, k := range []struct {
		name string
		lun  uint64
		cdb  scsi.CDB
		want string // the data; "" is INVALID FIELD IN CDB
	}{
		{"lun 0", 0, reportLUNs(0, 16), "00000008000000000000000000000000"},
		{"lun 5", 5, reportLUNs(2, 4096), "00000008000000000005000000000000"},
		{"lun 255", 255, reportLUNs(0, 16), "000000080000000000ff000000000000"},
		{"lun 256, flat space", 256, reportLUNs(0, 16), "00000008000000004100000000000000"},
		{"well known only", 0, reportLUNs(1, 16), "0000000000000000"},
		{"reserved report", 0, reportLUNs(3, 16), ""},
		{"allocation too short", 0, reportLUNs(0, 15), ""},
		{"no allocation", 0, reportLUNs(0, 0), ""},
		{"short cdb", 0, scsi.CDB{Bytes: [16]byte{byte(scsi.OpReportLUNs), 9: 16}, Len: 11}, ""},
		{"one byte", 0, scsi.CDB{Bytes: [16]byte{byte(scsi.OpReportLUNs)}, Len: 1}, ""},
	} {
		t.Run(k.name, func(t *testing.T) {
			r := newRig(t, Options{})
			f := newFront(t)
			s, err := r.dev.NewSession(soon(t), f, SessionInfo{LUN: k.lun})
			if err != nil {
				t.Fatal(err)
			}
			r.h.took()
			c := command(1, k.cdb, simple)
			s.Submit(c)
			r.took()
			if k.want == "" {
				endedWith(t, c, scsi.SenseInvalidFieldInCDB)
				return
			}
			ended(t, c, scsi.Good)
			if got := hex.EncodeToString(c.Data()); got != k.want || c.Dir != scsi.DirRead || c.BufLen != c.RespLen {
				t.Errorf("got %s, want %s; %v, %d, %d", got, k.want, c.Dir, c.BufLen, c.RespLen)
			}
		})
	}
}

// TestReportLUNsAfterSuspension: one that was held is answered here, too.
func TestReportLUNsAfterSuspension(t *testing.T) {
	r := newRig(t, Options{})
	resume := r.suspend()
	c := r.submit(1, reportLUNs(0, 16))
	resume()
	ended(t, c, scsi.Good)
	if binary.BigEndian.Uint32(c.Data()) != 8 {
		t.Errorf("data %x", c.Data())
	}
	r.took()
}
