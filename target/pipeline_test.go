package target

import (
	"strings"
	"testing"

	"scstuser/scsi"
)

// TestStages: the stages of each kind of command, and what ends where.
func TestStages(t *testing.T) {
	for _, k := range []struct {
		name   string
		cdb    scsi.CDB
		parse  func(c *Cmd) // after the standard one
		stages string
		status scsi.Status
	}{
		{"no data", cdbNone, nil, "parse exec xmit free freed", scsi.Good},
		{"read", cdbRead, nil, "parse alloc exec xmit free freed", scsi.Good},
		{"write", cdbWrite, nil, "parse alloc rdy exec xmit free freed", scsi.Good},
		{"read of nothing", scsi.EncodeRead16(0, 0, false), nil, "parse exec xmit free freed", scsi.Good},
		{"write of nothing", scsi.EncodeWrite16(0, 0, false), nil, "parse exec xmit free freed", scsi.Good},
		{"bidi", cdbNone, func(c *Cmd) { c.Dir, c.BufLen, c.OutBufLen = scsi.DirBidi, 10, 20 }, "parse alloc rdy exec xmit free freed", scsi.Good},
		{"bidi, out only", cdbNone, func(c *Cmd) { c.Dir, c.OutBufLen = scsi.DirBidi, 20 }, "parse alloc rdy exec xmit free freed", scsi.Good},
		{"bidi, in only", cdbNone, func(c *Cmd) { c.Dir, c.BufLen = scsi.DirBidi, 10 }, "parse alloc exec xmit free freed", scsi.Good},
		{"refused by parse", cdbWrite, func(c *Cmd) { c.SetSense(scsi.SenseInvalidOpcode); c.Complete() }, "parse xmit free freed", scsi.CheckCondition},
		{"answered by the target", reportLUNs(0, 16), nil, "xmit freed", scsi.Good},
		{"empty cdb", scsi.CDB{}, nil, "parse xmit free freed", scsi.CheckCondition},
		{"short cdb", scsi.CDB{Bytes: [16]byte{byte(scsi.OpRead16)}, Len: 6}, nil, "parse xmit free freed", scsi.CheckCondition},
	} {
		t.Run(k.name, func(t *testing.T) {
			// Each stage goes on by itself, or later, as it may.
			for _, stop := range []bool{false, true} {
				r := newRig(t, Options{})
				var stages []string
				var next func()
				stage := func(name string, resume func()) Verdict {
					stages = append(stages, name)
					if next = resume; stop {
						return Stop
					}
					return Continue
				}
				allocated := false
				r.h.parse = func(c *Cmd) Verdict {
					parseSBC(c)
					if k.parse != nil {
						k.parse(c)
					}
					if c.Completed() {
						stages = append(stages, "parse")
						return Continue
					}
					return stage("parse", c.ParseDone)
				}
				r.h.alloc = func(c *Cmd) Verdict {
					if allocated {
						return Continue // entered again by AllocDone
					}
					allocated = true
					c.Buf, c.OutBuf = make([]byte, c.BufLen), make([]byte, c.OutBufLen)
					return stage("alloc", c.AllocDone)
				}
				r.f.rdy = func(c *Cmd) Verdict { return stage("rdy", c.DataReceived) }
				r.h.exec = func(c *Cmd) {
					if stage("exec", func() { finish(c) }) == Continue {
						finish(c)
					}
				}
				r.f.xmit = func(c *Cmd) {
					if !c.AwaitsDelivery() {
						t.Error("the response does not await its delivery")
					}
					if stage("xmit", func() { c.Delivered(Delivered) }) == Continue {
						c.Delivered(Delivered)
					}
				}
				r.h.onFree = func(*Cmd) { stages = append(stages, "free") }
				c := r.submit(1, k.cdb)
				for stop && next != nil {
					f := next
					next = nil
					f()
				}
				ended(t, c, k.status)
				if r.f.freed[c] == 1 {
					stages = append(stages, "freed")
				}
				if got := strings.Join(stages, " "); got != k.stages {
					t.Errorf("stop=%v: %s\nwant %s", stop, got, k.stages)
				}
			}
		})
	}
}

// TestAbnormalDone: a stage that holds a command can end it.
func TestAbnormalDone(t *testing.T) {
	r := newRig(t, Options{})
	r.h.parse = func(c *Cmd) Verdict {
		parseSBC(c)
		if c.Tag == 1 {
			return Stop
		}
		return Continue
	}
	r.h.alloc = func(*Cmd) Verdict { return Stop }
	for i, c := range []*Cmd{r.submit(1, cdbWrite), r.submit(2, cdbWrite)} {
		if i == 0 {
			c.FailBusy()
		} else {
			c.SetSense(scsi.SenseHardwareInternalFailure)
		}
		c.AbnormalDone()
	}
	ended(t, r.f.sent[0], scsi.TaskSetFull)
	endedWith(t, r.f.sent[1], scsi.SenseHardwareInternalFailure)
	r.took("parse 1", "parse 2", "free 1", "free 2")
}

// TestDelivery: what the front end says of a response reaches OnFree (R61).
func TestDelivery(t *testing.T) {
	for _, d := range []Delivery{Delivered, DeliveryFailed} {
		r := newRig(t, Options{})
		r.f.xmit = func(c *Cmd) { c.Delivered(d) }
		var got Delivery
		r.h.onFree = func(c *Cmd) { got = c.Delivery }
		r.submit(1, cdbNone)
		if got != d {
			t.Errorf("delivery %d, want %d", got, d)
		}
	}
}

// TestI1MisuseIsLoud: a command that is completed or delivered twice is a bug
// that must not go on silently.
func TestI1MisuseIsLoud(t *testing.T) {
	r := newRig(t, Options{})
	c := r.submit(1, cdbNone)
	for name, misuse := range map[string]func(){
		"delivered twice": func() { c.Delivered(Delivered) },
		"resumed":         func() { c.ParseDone() },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if s, ok := recover().(string); !ok || !strings.Contains(s, "finished") {
					t.Errorf("recovered %v", s)
				}
			}()
			misuse()
		})
	}
}
