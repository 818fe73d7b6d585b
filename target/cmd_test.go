package target

import (
	"bytes"
	"reflect"
	"testing"
	"unsafe"

	"scstuser/scsi"
)

// TestInitResetsEverything: a command that was used for anything at all is like
// new after Init, but for Front and bytes that no length covers.
func TestInitResetsEverything(t *testing.T) {
	var used, fresh Cmd
	v := reflect.ValueOf(&used).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		b := unsafe.Slice((*byte)(f.Addr().UnsafePointer()), f.Type().Size())
		switch f.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Interface:
			continue // set below: they must be valid
		}
		for j := range b {
			b[j] = 1
		}
	}
	other := new(Cmd)
	used.Front, used.Priv = "front", "priv"
	used.Buf, used.OutBuf, used.ext = []byte{1}, []byte{1}, []byte{1}
	used.sess, used.prev, used.next, used.qnext = new(Session), other, other, other
	used.abortedBy = []*MgmtCmd{{}}

	cdb := []byte{0x28, 2, 3, 4, 5, 6, 7, 8, 9, 10}
	used.Init(cdb, scsi.QueueOrdered)
	fresh.Init(cdb, scsi.QueueOrdered)
	if used.Front != "front" {
		t.Error("Front is gone")
	}
	used.Front = nil
	clear(used.cdb[used.cdbLen:])
	clear(used.sense[used.senseLen:])
	for i := range v.NumField() {
		a, b := v.Field(i), reflect.ValueOf(&fresh).Elem().Field(i)
		size := a.Type().Size()
		if !bytes.Equal(unsafe.Slice((*byte)(a.Addr().UnsafePointer()), size), unsafe.Slice((*byte)(b.Addr().UnsafePointer()), size)) {
			t.Errorf("Init leaves %s as it was", v.Type().Field(i).Name)
		}
	}
}

// TestReuse: a command's memory serves the next one from Freed on.
func TestReuse(t *testing.T) {
	r := newRig(t, Options{})
	c := r.submit(1, scsi.EncodeRead16(0, 8, false))
	ended(t, c, scsi.Good)
	if c.RespLen != 4096 {
		t.Fatalf("%d bytes", c.RespLen)
	}
	delete(r.f.freed, c)
	c.Init(cdbNone.Slice(), simple)
	c.Tag = 2
	r.sess.Submit(c)
	ended(t, c, scsi.Good)
	if len(c.Data()) != 0 || c.Dir != scsi.DirNone || len(c.Sense()) != 0 {
		t.Error("something of the first command is left")
	}
}

// TestCDB: any length is kept as it came, up to MaxCDB.
func TestCDB(t *testing.T) {
	long := make([]byte, MaxCDB+10)
	for i := range long {
		long[i] = byte(i + 1)
	}
	for _, n := range []int{0, 1, 6, 15, 16, 17, 32, MaxCDB, MaxCDB + 1, len(long)} {
		var c Cmd
		c.Init(long[:n], simple)
		want := long[:min(n, MaxCDB)]
		if !bytes.Equal(c.CDB(), want) {
			t.Errorf("%d bytes: got %d", n, len(c.CDB()))
		}
		if op := c.Op(); n == 0 && op != 0 || n > 0 && op != 1 {
			t.Errorf("%d bytes: operation code %v", n, op)
		}
		// Rule R45: a PARSE reply may shorten it, and nothing else.
		for _, m := range []int{-1, 0, n + 1} {
			if c.SetCDBLen(m); len(c.CDB()) != len(want) {
				t.Errorf("%d bytes, set to %d: got %d", n, m, len(c.CDB()))
			}
		}
		if n > 1 {
			if c.SetCDBLen(1); len(c.CDB()) != 1 {
				t.Errorf("%d bytes, set to 1: got %d", n, len(c.CDB()))
			}
		}
	}
}

// TestSenseFormat: D_SENSE selects it, from the next command on (rule R18).
func TestSenseFormat(t *testing.T) {
	r := newRig(t, Options{DSense: true})
	r.h.exec = func(c *Cmd) { c.SetSense(scsi.SenseWriteError); c.Done() }
	if c := r.submit(1, cdbNone); c.Sense()[0] != 0x72 {
		t.Errorf("sense %x", c.Sense())
	}
	r.dev.SetControl(false, false, false)
	if c := r.submit(2, cdbNone); c.Sense()[0] != 0x70 {
		t.Errorf("sense %x", c.Sense())
	}
	var loose Cmd // before Submit
	loose.SetSense(scsi.SenseWriteError)
	if loose.Sense()[0] != 0x70 {
		t.Errorf("sense %x", loose.Sense())
	}
}

// TestOutcome: SetStatus, SetSenseBytes and Data keep within their bounds.
func TestOutcome(t *testing.T) {
	var c Cmd
	c.SetSenseBytes(make([]byte, 300))
	if len(c.Sense()) != MaxSense {
		t.Errorf("%d bytes of sense", len(c.Sense()))
	}
	c.Buf, c.RespLen = []byte{1, 2, 3}, 2
	if !bytes.Equal(c.Data(), []byte{1, 2}) {
		t.Errorf("data %v", c.Data())
	}
	c.RespLen = 10
	if !bytes.Equal(c.Data(), []byte{1, 2, 3}) {
		t.Errorf("data %v", c.Data())
	}
	c.SetStatus(scsi.Busy)
	if len(c.Sense()) != 0 || len(c.Data()) != 0 || c.Status != scsi.Busy {
		t.Error("SetStatus leaves something behind")
	}
}

// TestFailBusy: TASK SET FULL only if waiting for another command helps.
func TestFailBusy(t *testing.T) {
	r := newRig(t, Options{})
	r.h.parse = func(c *Cmd) Verdict {
		if c.Tag != 1 {
			c.FailBusy()
			c.Complete()
		}
		return Continue
	}
	ended(t, r.submit(2, cdbNone), scsi.Busy)
	r.f.hold = true
	r.submit(1, cdbNone)
	r.f.hold = false
	ended(t, r.submit(3, cdbNone), scsi.Busy) // the first is done, only not delivered
	r.f.deliver()
	r.h.setKeep(true)
	r.submit(1, cdbNone)
	ended(t, r.submit(4, cdbNone), scsi.TaskSetFull)
	r.h.release()
}
