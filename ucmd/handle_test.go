package ucmd

import (
	"math"
	"testing"

	"scstuser/scsi"
)

// R31, fact 23: a counter per device, from 0, one more for each ucmd.
func TestR31HandlesCount(t *testing.T) {
	b := newBareBench(t)
	defer b.close()
	b.sess = b.attach(b.fe) // 0
	var got []uint32
	for _, s := range b.execs(3) {
		got = append(got, s.Handle)
		b.execDone(s)
	}
	b.submit(unknownCDB)                       // 4, never seen
	b.submit(scsi.EncodeReportLUNs(0, 64))     // none
	_, _ = b.dev.Prealloc(0x1000, 4096, false) // 5, failed
	got = append(got, b.execs(1)[0].Handle)    // 6
	b.submit(scsi.EncodeTestUnitReady())       // 7
	got = append(got, b.get(SubExec).Handle)   //
	want := []uint32{1, 2, 3, 6, 7}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("handles %v, want %v", got, want)
		}
	}
	b.dev.Release()
	<-b.dev.Released()
}

// R31: the counter wraps, and skips what is alive; 0 is a valid handle.
func TestR31HandlesWrap(t *testing.T) {
	b := newBench(t)
	defer b.close()
	b.dev.mu.Lock()
	b.dev.nextH = math.MaxUint32 - 1
	b.dev.mu.Unlock()
	// A live one on each side of the wrap.
	subs := b.execs(4)
	for i, want := range []uint32{math.MaxUint32 - 1, math.MaxUint32, 0, 1} {
		if subs[i].Handle != want {
			t.Fatalf("handle %d is %d, want %d", i, subs[i].Handle, want)
		}
	}
	b.execDone(subs[0])
	b.execDone(subs[2])
	b.dev.mu.Lock()
	b.dev.nextH = math.MaxUint32 - 1
	b.dev.mu.Unlock()
	again := b.execs(3)
	for i, want := range []uint32{math.MaxUint32 - 1, 0, 2} { // the largest and 1 live
		if again[i].Handle != want {
			t.Errorf("handle %d is %d, want %d", i, again[i].Handle, want)
		}
	}
	for _, s := range append(again, subs[1], subs[3]) {
		b.execDone(s)
	}
	if l := b.dev.Commands(); len(l) > 0 {
		t.Errorf("left: %v", l)
	}
}

// MaxUcmds counts the owners of idle buffers too; their flush makes room.
func TestMaxUcmds(t *testing.T) {
	b := newBench(t, withLimits(Limits{MaxUcmds: 2}))
	defer b.close()
	_, s1 := b.writeExec(8)
	_, s2 := b.writeExec(8)
	c := b.write(8)
	b.ended(c, scsi.TaskSetFull, "")
	b.execDone(s1)
	b.execDone(s2)
	c = b.write(8)
	b.ended(c, scsi.Busy, "")
	if n := b.fe.freedCount(); n != 4 {
		t.Errorf("%d commands freed, want 4", n)
	}
	if err := b.dev.FlushCache(); err != nil {
		t.Fatal(err)
	}
	b.settleFree()
	b.doWrite(8)
}
