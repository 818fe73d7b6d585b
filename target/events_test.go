package target

import (
	"testing"

	"scstuser/scsi"
)

// TestR36CapacityChanged: every session hears of it once, by an AEN if its
// front end takes that, else with its next command.
func TestR36CapacityChanged(t *testing.T) {
	r := newRig(t, Options{})
	aens := 0
	r.f.aen = func(ua UnitAttention) bool {
		if ua == scsi.SenseCapacityChanged {
			aens++
		}
		return true
	}
	f2 := newFront(t)
	f2.aen = func(ua UnitAttention) bool { return ua != scsi.SenseCapacityChanged }
	s2 := r.attach(f2)
	r.dev.CapacityChanged()
	if aens != 1 {
		t.Errorf("%d events", aens)
	}
	ended(t, r.submit(1, cdbRead), scsi.Good)

	for i, k := range []struct {
		cdb  scsi.CDB
		told bool
	}{
		{cdbInquiry, false}, {scsi.EncodeRequestSense(false, 18), false}, {reportLUNs(0, 16), false},
		{cdbRead, true}, {cdbRead, false},
	} {
		c := command(uint64(i), k.cdb, simple)
		s2.Submit(c)
		if k.told {
			endedWith(t, c, scsi.SenseCapacityChanged)
		} else {
			ended(t, c, scsi.Good)
		}
	}
}

// TestR33UnitAttentionsAreQueued: in order, each once, the rest of a flood is
// dropped. A command that was aborted does not use one up.
func TestR33UnitAttentionsAreQueued(t *testing.T) {
	r := newRig(t, Options{})
	r.f.aen = func(UnitAttention) bool { return false }
	r.sess.Notify(scsi.SenseCapacityChanged)
	r.sess.Notify(scsi.SenseModeParametersChanged)
	r.sess.Notify(scsi.SenseCapacityChanged) // waits already
	r.h.setKeep(true)
	aborted := r.submit(1, cdbNone)
	r.tm(AbortTask, 1)
	r.h.release()
	endedWith(t, aborted, scsi.SenseAbortedInternalFailure)
	endedWith(t, r.submit(2, cdbNone), scsi.SenseCapacityChanged)
	r.sess.Notify(scsi.SenseCapacityChanged) // a new one
	endedWith(t, r.submit(3, cdbNone), scsi.SenseModeParametersChanged)
	endedWith(t, r.submit(4, cdbNone), scsi.SenseCapacityChanged)
	ended(t, r.submit(5, cdbNone), scsi.Good)

	for i := range 2 * maxUA {
		r.sess.Notify(scsi.Sense{Key: scsi.KeyUnitAttention, ASC: scsi.ASC(i)})
	}
	for i := range maxUA {
		endedWith(t, r.submit(6, cdbNone), scsi.Sense{Key: scsi.KeyUnitAttention, ASC: scsi.ASC(i)})
	}
	ended(t, r.submit(7, cdbNone), scsi.Good)
}

// TestPowerOnReset: a new session's first command hears of it (fact 49).
func TestPowerOnReset(t *testing.T) {
	r := newRig(t, Options{})
	f := newFront(t)
	f.aen = func(UnitAttention) bool { return false }
	s := r.attach(f)
	c := command(1, cdbUnitOK, simple)
	s.Submit(c)
	endedWith(t, c, scsi.SensePowerOnReset)
}

// TestInternalCommandsIgnoreEvents: a unit attention is the initiator's.
func TestInternalCommandsIgnoreEvents(t *testing.T) {
	r := newRig(t, Options{})
	r.f.aen = func(UnitAttention) bool { return false }
	r.h.exec = func(c *Cmd) {
		if c.internal {
			finish(c)
			return
		}
		r.sess.Notify(scsi.SenseCapacityChanged)
		r.dev.reservedBy.Store(new(Session))
		c.WriteSame([]Range{{0, 1}})
	}
	ended(t, r.submit(1, writeSame16(0, 1)), scsi.Good)
	r.dev.reservedBy.Store(nil)
	r.h.exec = nil
	endedWith(t, r.submit(2, cdbNone), scsi.SenseCapacityChanged)
}
