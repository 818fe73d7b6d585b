package main

import (
	"context"
	"encoding/binary"
	"testing"
	"time"

	"scstuser/handlers/disk"
	"scstuser/scsi"
	"scstuser/target"
)

// NBD has no vendor commands: this test is the initiator itself. That takes a
// front end, whose six methods are all here.

// initiator is a front end that waits for each of its commands.
type initiator struct {
	data []byte // of the last command
	over chan struct{}
}

func (i *initiator) RdyToXfer(*target.Cmd) target.Verdict { return target.Continue } // zeroes, or whatever
func (i *initiator) XmitResponse(c *target.Cmd) {
	i.data = append(i.data[:0], c.Data()...)
	c.Delivered(target.Delivered)
}
func (i *initiator) Freed(*target.Cmd)                              { i.over <- struct{}{} }
func (i *initiator) AEN(*target.Session, target.UnitAttention) bool { return true }
func (i *initiator) SessionGone(*target.Session)                    {}
func (i *initiator) TMDone(*target.MgmtCmd)                         {}

func TestReadCounters(t *testing.T) {
	d, err := disk.New(newRAM(1<<20), disk.Options{Name: "ram"})
	if err != nil {
		t.Fatal(err)
	}
	dev, err := serve("ram", &counter{Disk: d})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	i := &initiator{over: make(chan struct{}, 1)}
	sess, err := dev.Target().NewSession(ctx, i, target.SessionInfo{Initiator: "test"})
	if err != nil {
		t.Fatal(err)
	}
	do := func(cdb []byte) []byte {
		t.Helper()
		var c target.Cmd
		c.Init(cdb, scsi.QueueSimple)
		sess.Submit(&c)
		select {
		case <-i.over:
		case <-time.After(patience):
			t.Fatal("the command does not end")
		}
		if c.Status != scsi.Good {
			t.Fatalf("% x: %v, sense % x", cdb, c.Status, c.Sense())
		}
		return i.data
	}
	read, write := scsi.EncodeRead16(0, 8, false), scsi.EncodeWrite16(0, 8, false)
	for range 3 {
		do(read.Slice())
	}
	do(write.Slice())

	counters := do([]byte{opReadCounters, 8: 255, 9: 0})
	if len(counters) != 16 || binary.BigEndian.Uint64(counters) != 3 || binary.BigEndian.Uint64(counters[8:]) != 1 {
		t.Errorf("the counters are % x, want 3 and 1", counters)
	}
	if cut := do([]byte{opReadCounters, 8: 8, 9: 0}); len(cut) != 8 {
		t.Errorf("%d bytes, want the 8 that were asked for", len(cut))
	}
	if none := do([]byte{opReadCounters, 9: 0}); len(none) != 0 {
		t.Errorf("%d bytes, want none", len(none))
	}

	// What neither the standard parser nor the handler knows fails.
	var c target.Cmd
	c.Init([]byte{opReadCounters + 1, 9: 0}, scsi.QueueSimple)
	sess.Submit(&c)
	<-i.over
	if s, err := scsi.ParseSense(c.Sense()); err != nil || !s.Is(scsi.SenseInvalidOpcode) {
		t.Errorf("another vendor command: %v, %v", c.Status, s)
	}

	if err := sess.Close(ctx); err != nil {
		t.Error(err)
	}
	if err := dev.close(); err != nil {
		t.Error(err)
	}
}
