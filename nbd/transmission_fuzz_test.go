package nbd

import (
	"io"
	"net"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
)

// FuzzTransmission sends whatever bytes behind the negotiation: the server
// neither crashes nor hangs, the connection ends when its client does, and
// another client does not notice (I7).
func FuzzTransmission(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"))
	f.Add(readOf(1, 0, 512).Bytes()[:27])
	f.Add(nbdtest.RequestBytes(readOf(1, 0, 512), writeOf(2, 512, pattern(1, 1024)), nbdtest.Request{Type: nbdtest.CmdFlush, Cookie: 3}))
	f.Add(nbdtest.RequestBytes(nbdtest.Request{Type: nbdtest.CmdWrite, Length: 1<<32 - 1}, readOf(1, 0, 512)))
	f.Add(nbdtest.RequestBytes(nbdtest.Request{Type: nbdtest.CmdTrim, Length: 4096}, nbdtest.Request{Type: nbdtest.CmdWriteZeroes, Flags: 3, Length: 1 << 20},
		nbdtest.Request{Type: nbdtest.CmdCache, Offset: 1 << 63, Length: 1}, nbdtest.Request{Type: nbdtest.CmdDisc, Flags: 0xffff}, readOf(1, 0, 512)))
	f.Add(nbdtest.RequestBytes(readOf(1, 0, 4<<20), readOf(2, 0, 4<<20), nbdtest.Request{Magic: 1}))
	f.Add(nbdtest.RequestBytes(nbdtest.Request{Type: 7, Flags: 8}, nbdtest.Request{Type: 0xffff}, writeOf(1, fakeSize, pattern(1, 100))))
	rig := newFakeRig(f, fakeTraits{}, Options{MaxInflight: 8, MaxInflightBytes: 1 << 20})
	f.Fuzz(func(t *testing.T, stream []byte) {
		other := rig.open(t)
		nc, err := net.Dial("unix", rig.socket)
		if err != nil {
			t.Fatal(err)
		}
		c := nbdtest.NewConn(t, nc)
		c.Hello()
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

func isTimeout(err error) bool {
	ne, ok := err.(net.Error)
	return ok && ne.Timeout()
}
