package nbd

import (
	"testing"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
)

// Row 15: an error chunk says what is wrong with the request, or what the device
// said.
func TestRow15Messages(t *testing.T) {
	f := newFakeRig(t, fakeTraits{unknown: []scsi.Opcode{scsi.OpUnmap, scsi.OpPreFetch16}}, Options{})
	c := f.dial(t)
	c.Hello()
	c.Negotiate(nbdtest.Extended)
	c.Go("fake", nbdtest.InfoBlockSize)
	for _, tc := range []struct {
		r    nbdtest.Request
		want refusal
	}{
		{nbdtest.Request{Type: 9}, refuseCommand},
		{nbdtest.Request{Type: nbdtest.CmdRead, Flags: nbdtest.CmdFlagNoHole, Length: 512}, refuseFlags},
		{nbdtest.Request{Type: nbdtest.CmdRead, Flags: nbdtest.CmdFlagPayloadLen, Length: 5, Payload: []byte("hello")}, refusePayload},
		{nbdtest.Request{Type: nbdtest.CmdWrite, Bare: true, Length: 512}, refuseNoPayload},
		{nbdtest.Request{Type: nbdtest.CmdTrim, Length: 512}, refuseTrim},
		{nbdtest.Request{Type: nbdtest.CmdCache, Length: 512}, refuseCache},
		{nbdtest.Request{Type: nbdtest.CmdRead, Length: 64 << 20}, refuseTooLong},
		{nbdtest.Request{Type: nbdtest.CmdRead, Offset: fakeSize, Length: 512}, refusePastEnd},
		{writeOf(0, fakeSize, make([]byte, 512)), refuseNoRoom},
		{nbdtest.Request{Type: nbdtest.CmdRead, Offset: 1, Length: 512}, refuseUnaligned},
		{nbdtest.Request{Type: nbdtest.CmdWriteZeroes, Flags: nbdtest.CmdFlagFastZero | nbdtest.CmdFlagNoHole, Length: 512}, refuseSlowZeroes},
		{nbdtest.Request{Type: nbdtest.CmdBlockStatus, Length: 512}, refuseNoContext},
	} {
		got := c.Ask(tc.r)
		if uint32(got.Errno) != tc.want.errno || got.Message != tc.want.why {
			t.Errorf("%+v: %v %q, want %v %q", tc.r, got.Errno, got.Message, nbdtest.Errno(tc.want.errno), tc.want.why)
		}
	}
	for _, tc := range []struct {
		sense scsi.Sense
		at    uint64 // in blocks; 0: not told
	}{
		{scsi.SenseReadError, 0}, {scsi.SenseReadError.WithInfo(9), 9}, {scsi.SenseReadError.WithInfo(7), 0},
		{scsi.SenseReadError.WithInfo(16), 0}, {scsi.SenseReadError.WithInfo(1<<32 - 1), 0}, {scsi.SenseWriteProtected.WithInfo(9), 0},
	} {
		f.next(scsi.OpRead16, sense(tc.sense))
		got := c.Ask(nbdtest.Request{Type: nbdtest.CmdRead, Flags: nbdtest.CmdFlagDF, Offset: 8 * 512, Length: 8 * 512})
		if want := "the device reported " + tc.sense.String(); got.Message != want {
			t.Errorf("message %q, want %q", got.Message, want)
		}
		if (got.ErrorAt != nil) != (tc.at != 0) || tc.at != 0 && *got.ErrorAt != tc.at*512 {
			t.Errorf("%v: the error is at %v", tc.sense, got.ErrorAt)
		}
	}
	f.next(scsi.OpRead16, status(scsi.ReservationConflict))
	if got := c.Ask(nbdtest.Request{Type: nbdtest.CmdRead, Flags: nbdtest.CmdFlagDF, Length: 512}); got.Errno != nbdtest.EIO || got.Message == "" {
		t.Errorf("%v %q", got.Errno, got.Message)
	}
}
