package nbd

import (
	"testing"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
)

// Row 23: FAST_ZERO succeeds where the device is fast and fails at once, without
// a command, where it is not.
func TestRow23FastZero(t *testing.T) {
	const ok, no, refused = nbdtest.OK, nbdtest.ENOTSUP, nbdtest.EINVAL
	for _, tc := range []struct {
		name        string
		traits      fakeTraits
		unmap, keep nbdtest.Errno // without NO_HOLE, and with
		flagIsThere bool
	}{
		{name: "a device that says nothing", unmap: ok, keep: no, flagIsThere: true},
		{name: "fast at both", traits: fakeTraits{zeroing: &scsi.Zeroing{FastUnmap: true, FastKeep: true}}, unmap: ok, keep: ok, flagIsThere: true},
		{name: "fast at unmapping", traits: fakeTraits{zeroing: &scsi.Zeroing{FastUnmap: true}}, unmap: ok, keep: no, flagIsThere: true},
		{name: "fast at keeping", traits: fakeTraits{zeroing: &scsi.Zeroing{FastKeep: true}}, unmap: no, keep: ok, flagIsThere: true},
		{name: "slow", traits: fakeTraits{zeroing: &scsi.Zeroing{}}, unmap: refused, keep: refused},
		{name: "thick", traits: fakeTraits{thick: true}, unmap: refused, keep: refused},
		{name: "thick and fast", traits: fakeTraits{thick: true, zeroing: &scsi.Zeroing{FastKeep: true}}, unmap: ok, keep: ok, flagIsThere: true},
		{name: "no WRITE SAME", traits: fakeTraits{unknown: []scsi.Opcode{scsi.OpWriteSame16}, zeroing: &scsi.Zeroing{FastKeep: true}}, unmap: refused, keep: refused},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inModes(t, func(t *testing.T, m nbdtest.Mode) {
				f := newFakeRig(t, tc.traits, Options{})
				f.put(0, pattern(1, 8192))
				c := f.dial(t)
				c.Hello()
				c.Negotiate(m)
				if got := c.Go("fake").Flags&nbdtest.FlagSendFastZero != 0; got != tc.flagIsThere {
					t.Errorf("SEND_FAST_ZERO: %v", got)
				}
				for flags, want := range map[uint16]nbdtest.Errno{0: tc.unmap, nbdtest.CmdFlagNoHole: tc.keep} {
					f.put(0, pattern(1, 8192))
					f.forget()
					if e := c.WriteZeroes(0, 8192, flags|nbdtest.CmdFlagFastZero); e != want {
						t.Errorf("flags %#x: %v, want %v", flags, e, want)
					}
					if zeroed := f.bytes(0, 1)[0] == 0; zeroed != (want == ok) {
						t.Errorf("flags %#x: zeroed: %v", flags, zeroed)
					}
					if n := len(f.ops()); (n > 0) != (want == ok) {
						t.Errorf("flags %#x: %d commands", flags, n)
					}
					// Without the flag there is no such error.
					if e := c.WriteZeroes(0, 8192, flags); e != ok {
						t.Errorf("flags %#x without FAST_ZERO: %v", flags, e)
					}
				}
			})
		})
	}
}

// A device that turns out not to know the command: still ENOTSUP, and the zeroes
// are not written.
func TestRow23FastZeroTurnsOutToBeSlow(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	f.put(0, pattern(1, 8192))
	c := f.open(t)
	f.forget()
	f.next(scsi.OpWriteSame16, sense(scsi.SenseInvalidOpcode))
	if e := c.WriteZeroes(0, 8192, nbdtest.CmdFlagFastZero); e != nbdtest.ENOTSUP {
		t.Errorf("%v, want ENOTSUP", e)
	}
	if n := len(f.executed(scsi.OpWrite16)); n > 0 {
		t.Errorf("%d WRITEs", n)
	}
}

// ROTATIONAL is offered if the device says that it rotates.
func TestRotational(t *testing.T) {
	for rate, want := range map[uint16]bool{0: false, 1: false, 0x400: false, 0x401: true, 7200: true, 0xfffe: true, 0xffff: false} {
		f := newFakeRig(t, fakeTraits{rotation: rate}, Options{})
		c := f.dial(t)
		c.Hello()
		if got := c.Info("fake").Flags&nbdtest.FlagRotational != 0; got != want {
			t.Errorf("rotation rate %#x: %v", rate, got)
		}
	}
}
