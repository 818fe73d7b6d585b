package target

import (
	"sync"
	"sync/atomic"
	"testing"

	"scstuser/scsi"
)

func plain(op scsi.Opcode) scsi.CDB {
	c := scsi.CDB{Len: max(scsi.CDBLen(op), 6)}
	c.Bytes[0] = byte(op)
	return c
}

// TestReservation: while one session has the unit, the others' commands
// conflict, but for those that every reservation lets through (SPC-2 5.5.1).
func TestReservation(t *testing.T) {
	for _, pair := range [][2]scsi.Opcode{{scsi.OpReserve6, scsi.OpRelease6}, {scsi.OpReserve10, scsi.OpRelease10}} {
		t.Run(pair[0].String(), func(t *testing.T) {
			r := newRig(t, Options{})
			s2 := r.attach(newFront(t))
			other := func(cdb scsi.CDB, want scsi.Status) {
				t.Helper()
				c := command(2, cdb, simple)
				s2.Submit(c)
				ended(t, c, want)
			}
			own := func(cdb scsi.CDB, want scsi.Status) {
				t.Helper()
				ended(t, r.submit(1, cdb), want)
			}
			own(plain(pair[0]), scsi.Good)
			own(plain(pair[0]), scsi.Good) // again
			own(cdbWrite, scsi.Good)
			other(cdbWrite, scsi.ReservationConflict)
			other(cdbRead, scsi.ReservationConflict)
			other(plain(pair[0]), scsi.ReservationConflict)
			for _, cdb := range []scsi.CDB{
				cdbInquiry, scsi.EncodeRequestSense(false, 18), reportLUNs(0, 16), cdbUnitOK, scsi.EncodeReadCapacity10(),
			} {
				other(cdb, scsi.Good)
			}
			other(plain(pair[1]), scsi.Good) // does nothing
			other(cdbRead, scsi.ReservationConflict)
			own(plain(pair[1]), scsi.Good)
			other(cdbRead, scsi.Good)
			other(plain(pair[0]), scsi.Good)
			own(cdbRead, scsi.ReservationConflict)
			own(plain(pair[1]), scsi.Good)
			if err := s2.Close(soon(t)); err != nil {
				t.Fatal(err)
			}
			own(cdbRead, scsi.Good) // it went with its session
		})
	}
}

// TestReserveThatFails: a handler that refuses RESERVE leaves the unit as it
// was, free or reserved.
func TestReserveThatFails(t *testing.T) {
	for _, had := range []bool{false, true} {
		r := newRig(t, Options{})
		if had {
			ended(t, r.submit(1, plain(scsi.OpReserve6)), scsi.Good)
		}
		r.h.exec = func(c *Cmd) {
			if !c.CheckLocalEvents() {
				c.SetSense(scsi.SenseInvalidOpcode)
			}
			c.Done()
		}
		endedWith(t, r.submit(2, plain(scsi.OpReserve6)), scsi.SenseInvalidOpcode)
		if got := r.dev.reservedBy.Load() == r.sess; got != had {
			t.Errorf("reserved: %v, want %v", got, had)
		}
	}
}

// TestReserveRace: of several sessions one gets it.
func TestReserveRace(t *testing.T) {
	r := newRig(t, Options{})
	var granted atomic.Int32
	var wg sync.WaitGroup
	var sessions []*Session
	for range 4 {
		sessions = append(sessions, r.attach(newFront(t)))
	}
	for _, s := range sessions {
		wg.Go(func() {
			c := command(1, plain(scsi.OpReserve6), simple)
			s.Submit(c)
			switch c.Status {
			case scsi.Good:
				granted.Add(1)
			case scsi.ReservationConflict:
			default:
				t.Error("status", c.Status)
			}
		})
	}
	wg.Wait()
	if granted.Load() != 1 {
		t.Errorf("granted %d times", granted.Load())
	}
}
