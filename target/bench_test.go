package target

import (
	"context"
	"testing"

	"scstuser/scsi"
)

// instantHandler does every command at once.
type instantHandler struct {
	dir scsi.Dir
	buf [4096]byte
}

func (h *instantHandler) Parse(c *Cmd) Verdict {
	c.Dir = h.dir
	if h.dir != scsi.DirNone {
		c.BufLen = 4096
	}
	return Continue
}
func (h *instantHandler) AllocBuf(c *Cmd) Verdict {
	c.Buf = h.buf[:]
	return Continue
}
func (h *instantHandler) Exec(c *Cmd) {
	if !c.CheckLocalEvents() && c.Dir == scsi.DirRead {
		c.RespLen = c.BufLen
	}
	c.Done()
}
func (h *instantHandler) OnFree(*Cmd)                        {}
func (h *instantHandler) TaskMgmtReceived(*MgmtCmd)          {}
func (h *instantHandler) TaskMgmtDone(m *MgmtCmd)            { m.Done(TMSuccess) }
func (h *instantHandler) Attach(*Session) error              { return nil }
func (h *instantHandler) Detach(_ *Session, answered func()) { answered() }

// instantFront takes every response at once.
type instantFront struct{ verdict Verdict }

func (f *instantFront) RdyToXfer(*Cmd) Verdict           { return f.verdict }
func (f *instantFront) XmitResponse(c *Cmd)              { c.Delivered(Delivered) }
func (f *instantFront) Freed(*Cmd)                       {}
func (f *instantFront) AEN(*Session, UnitAttention) bool { return true }
func (f *instantFront) SessionGone(*Session)             {}
func (f *instantFront) TMDone(*MgmtCmd)                  {}

// BenchmarkSubmit is what the target itself costs per command, from Submit to
// Freed, with a handler and a front end that do nothing.
func BenchmarkSubmit(b *testing.B) {
	for _, k := range []struct {
		name    string
		cdb     scsi.CDB
		dir     scsi.Dir
		verdict Verdict
	}{
		{"none", scsi.EncodeSyncCache16(0, 0), scsi.DirNone, Continue},
		{"read", scsi.EncodeRead16(0, 8, false), scsi.DirRead, Continue},
		{"write", scsi.EncodeWrite16(0, 8, false), scsi.DirWrite, Continue},
		{"write-later", scsi.EncodeWrite16(0, 8, false), scsi.DirWrite, Stop},
	} {
		b.Run(k.name, func(b *testing.B) {
			d := NewDevice("bench", &instantHandler{dir: k.dir}, Options{})
			s, err := d.NewSession(context.Background(), &instantFront{k.verdict}, SessionInfo{})
			if err != nil {
				b.Fatal(err)
			}
			var c Cmd
			cdb := k.cdb.Slice()
			b.ReportAllocs()
			for b.Loop() {
				c.Init(cdb, scsi.QueueSimple)
				s.Submit(&c)
				if k.verdict == Stop {
					c.DataReceived()
				}
			}
			b.StopTimer()
			if err := s.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// TestNoAllocationPerCommand: what the benchmark reports must stay so.
func TestNoAllocationPerCommand(t *testing.T) {
	d := NewDevice("disk", &instantHandler{dir: scsi.DirWrite}, Options{})
	s, err := d.NewSession(context.Background(), &instantFront{Stop}, SessionInfo{})
	if err != nil {
		t.Fatal(err)
	}
	var c Cmd
	cdb := cdbWrite.Slice()
	if n := testing.AllocsPerRun(100, func() {
		c.Init(cdb, scsi.QueueSimple)
		s.Submit(&c)
		c.DataReceived()
	}); n != 0 {
		t.Errorf("%v allocations per command", n)
	}
	if err := s.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
}
