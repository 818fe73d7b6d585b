package nbd

import (
	"bytes"
	"fmt"
	"testing"

	"scstuser/nbd/nbdtest"
)

// A command that comes during a shutdown is refused, or left for the next server
// to answer; those before it are answered in any case (row 26).
func TestRow26Farewell(t *testing.T) {
	for _, tc := range []struct {
		farewell Farewell
		mode     nbdtest.Mode
		refused  bool
	}{
		{FarewellRefuse, nbdtest.Simple, true},
		{FarewellRefuse, nbdtest.Structured, true},
		{FarewellHangUp, nbdtest.Simple, false},
		{FarewellHangUp, nbdtest.Structured, false},
		{FarewellBySkill, nbdtest.Simple, false},
		{FarewellBySkill, nbdtest.Structured, true},
		{FarewellBySkill, nbdtest.Extended, true},
	} {
		t.Run(fmt.Sprintf("%d, %v", tc.farewell, tc.mode), func(t *testing.T) {
			cfg := oneDisk()
			cfg.server.Farewell = tc.farewell
			r := newRig(t, cfg)
			c := r.dial(t)
			c.Hello()
			c.Negotiate(tc.mode)
			c.Go("")
			data := bytes.Repeat([]byte{1}, 4096) // a hole is not read
			if errno := c.Write(0, data, 0); errno != nbdtest.OK {
				t.Fatal(errno)
			}
			held, release := r.disks[0].stall.Stall()
			defer release()
			before := readOf(1, 0, 512)
			late := []nbdtest.Request{ // the payload must not be taken for a request
				{Type: nbdtest.CmdWrite, Cookie: 2, Length: 4096, Payload: data},
				readOf(3, 512, 512),
			}
			c.SendRequests(before)
			within(t, "the read", func() { <-held })
			go r.stop()
			<-r.srv.quit.Done()
			c.SendRequests(late...)
			if tc.refused {
				for _, reply := range c.Collect(late...) {
					if reply.Errno != nbdtest.ESHUTDOWN {
						t.Errorf("what came late: %v, want ESHUTDOWN", reply.Errno)
					}
				}
			}
			release()
			if reply := c.Collect(before)[0]; reply.Errno != nbdtest.OK {
				t.Errorf("what was under way: %v", reply.Errno)
			}
			c.ExpectClosed()
		})
	}
}
