package nbd

import (
	"io"
	"net"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
)

// FuzzTransmissionInModes is FuzzTransmission for structured replies and extended
// headers.
func FuzzTransmissionInModes(f *testing.F) {
	seeds := []nbdtest.Request{
		readOf(1, 0, 1<<20), readOf(2, 5, 700), writeOf(3, 100, pattern(1, 1000)),
		{Type: nbdtest.CmdBlockStatus, Cookie: 4, Length: 1 << 20},
		{Type: nbdtest.CmdBlockStatus, Cookie: 5, Flags: nbdtest.CmdFlagPayloadLen, Length: 12, Payload: []byte{0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1}},
		{Type: nbdtest.CmdTrim, Cookie: 6, Length64: 1 << 33}, {Type: nbdtest.CmdWriteZeroes, Flags: 0x12, Offset: 3, Length: 70000},
		{Type: nbdtest.CmdRead, Flags: nbdtest.CmdFlagDF, Length: 4096}, {Type: nbdtest.CmdDisc},
	}
	for _, m := range nbdtest.Modes[1:] {
		f.Add(uint8(m), m.Encode(seeds...))
		for _, r := range seeds {
			f.Add(uint8(m), m.Encode(r, r))
		}
	}
	rig := newFakeRig(f, fakeTraits{}, Options{MaxInflight: 8, MaxInflightBytes: 1 << 20})
	rig.put(4096, pattern(1, 100_000))
	f.Fuzz(func(t *testing.T, mode uint8, stream []byte) {
		other := rig.open(t)
		nc, err := net.Dial("unix", rig.socket)
		if err != nil {
			t.Fatal(err)
		}
		c := nbdtest.NewConn(t, nc)
		c.Hello()
		c.Negotiate(nbdtest.Modes[1+(mode+1)%2])
		c.SetAllocation("fake")
		c.Go("fake")
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			_ = c.TrySend(stream)
			_ = nc.(*net.UnixConn).CloseWrite()
		}()
		_ = nc.SetReadDeadline(time.Now().Add(nbdtest.DefaultTimeout))
		if _, err := io.Copy(io.Discard, nc); isTimeout(err) {
			t.Errorf("the connection does not end: %v", err)
		}
		<-sent
		if _, e := other.Read(0, 512, 0); e != nbdtest.OK {
			t.Errorf("another client's READ: %v", e)
		}
		other.Close()
	})
}
