package ucmd

import (
	"errors"
	"math"
	"testing"

	"scstuser/scsi"
)

// remapBench brings a command to EXT_COPY_REMAP. EXTENDED COPY itself is the
// target's; here the test asks, in its place.
func remapBench(t *testing.T) (b *bench, s Subcommand, over func() (calls int, left []DataDescr, err error)) {
	t.Helper()
	b = newBench(t, withDesc(func(d *Desc) { d.Opt.ExtCopyRemap = 1 }))
	c := b.submit(syncCDB)
	s = b.get(SubExec)
	b.dev.mu.Lock()
	u := b.dev.find(s.Handle)
	u.sentToUser = false // the target has it
	b.dev.mu.Unlock()
	var left []DataDescr
	var got error
	calls := 0
	b.dev.queueRemap(u, RemapSegment{SrcSessH: 1, DstSessH: 2, Descr: DataDescr{SrcLBA: 10, DstLBA: 20, DataLen: 8192}},
		func(l []DataDescr, err error) {
			left, got = l, err
			calls++
			c.Done()
		})
	s = b.get(SubExtCopyRemap)
	if s.Remap == nil || s.Remap.Descr.DataLen != 8192 || s.SessH != b.sess.Handle() {
		t.Fatalf("EXT_COPY_REMAP %+v", s)
	}
	return b, s, func() (int, []DataDescr, error) { return calls, left, got }
}

func TestR65Remap(t *testing.T) {
	sense := scsi.Sense{Key: scsi.KeyMediumError, ASC: scsi.ASCUnrecoveredRead}.AppendFixed(nil)
	big := make([]DataDescr, 171)
	for _, x := range []struct {
		name  string
		r     Reply
		want  error // of the reply
		left  int
		over  error // for the target; nil: left counts
		sense string
	}{
		{"fully remapped", Reply{}, nil, 0, nil, ""},
		{"all of it", Reply{Remap: []DataDescr{{10, 20, 8192}}, RemapLen: 24}, nil, 1, nil, ""},
		{"two pieces", Reply{Remap: []DataDescr{{10, 20, 512}, {11, 21, 512}}, RemapLen: 48}, nil, 2, nil, ""},
		{"not whole descriptors", Reply{Remap: []DataDescr{{10, 20, 512}}, RemapLen: 25}, errEINVAL, 0, errEINVAL, senseHardware},
		{"longer than the list", Reply{Remap: []DataDescr{{10, 20, 512}}, RemapLen: 48}, errEINVAL, 0, errEINVAL, senseHardware},
		{"negative length", Reply{RemapLen: -24}, errEINVAL, 0, errEINVAL, senseHardware},
		{"longer than a page", Reply{Remap: big, RemapLen: 171 * 24}, errEOVERFLOW, 0, errEOVERFLOW, senseHardware},
		{"empty piece", Reply{Remap: []DataDescr{{10, 20, 0}}, RemapLen: 24}, errEINVAL, 0, errEINVAL, senseHardware},
		{"negative piece", Reply{Remap: []DataDescr{{10, 20, -512}}, RemapLen: 24}, errEINVAL, 0, errEINVAL, senseHardware},
		{"more than the segment", Reply{Remap: []DataDescr{{10, 20, 8193}}, RemapLen: 24}, errEINVAL, 0, errEINVAL, senseHardware},
		{"sum overflows", Reply{Remap: []DataDescr{{0, 0, math.MaxInt32}, {0, 0, math.MaxInt32}, {0, 0, 3}}, RemapLen: 72}, errEINVAL, 0, errEINVAL, senseHardware},
		{"status", Reply{Status: scsi.CheckCondition, Sense: sense}, nil, 0, errRemapStatus, "03/11/00"},
		{"sense alone", Reply{Sense: sense}, nil, 0, errRemapStatus, "03/11/00"},
		{"bad sense pointer", Reply{Status: scsi.CheckCondition, BadSense: true}, errEFAULT, 0, errEFAULT, senseAborted},
	} {
		t.Run(x.name, func(t *testing.T) {
			b, s, over := remapBench(t)
			defer b.close()
			x.r.Handle, x.r.Code = s.Handle, SubExtCopyRemap
			b.refused(x.r, x.want)
			calls, left, err := over()
			if len(left) != x.left || !errors.Is(err, x.over) || calls != 1 {
				t.Errorf("the target got %v, %v (%d times)", left, err, calls)
			}
		})
	}
}

// 2.5: a remap that is given up ends the command; the target is not called
// back about it.
func TestR65RemapUnjam(t *testing.T) {
	b, s, over := remapBench(t)
	b.refused(Reply{Handle: s.Handle, Code: SubExec}, errEINVAL)
	if calls, _, _ := over(); calls != 0 {
		t.Errorf("the target was called %d times", calls)
	}
	if n := b.fe.freedCount(); n != 1 {
		t.Errorf("%d commands freed", n)
	}
	b.close()
}
