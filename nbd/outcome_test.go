package nbd

import (
	"bytes"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

// pattern returns n bytes that depend on seed.
func pattern(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i) + byte(i>>8)*31
	}
	return b
}

// writeOf is a WRITE.
func writeOf(cookie, offset uint64, data []byte) nbdtest.Request {
	return nbdtest.Request{Type: nbdtest.CmdWrite, Cookie: cookie, Offset: offset, Length: uint32(len(data)), Payload: data}
}

// readOf is a READ.
func readOf(cookie, offset uint64, length int) nbdtest.Request {
	return nbdtest.Request{Type: nbdtest.CmdRead, Cookie: cookie, Offset: offset, Length: uint32(length)}
}

// reads requires that the fake answers a READ with data.
func reads(t testing.TB, c *nbdtest.Conn, offset uint64, want []byte) {
	t.Helper()
	if got, e := c.Read(offset, uint32(len(want)), 0); e != nbdtest.OK || !bytes.Equal(got, want) {
		t.Errorf("READ of %d bytes at %d: %v, or other data", len(want), offset, e)
	}
}

// A target that is busy is tried again, with the payload that came with the
// request. What follows on the connection is not held up by it.
func TestBusyIsRetriedWithThePayload(t *testing.T) {
	for _, st := range []scsi.Status{scsi.Busy, scsi.TaskSetFull} {
		t.Run(st.String(), func(t *testing.T) {
			f := newFakeRig(t, fakeTraits{}, Options{})
			f.next(scsi.OpWrite16, times(3, status(st))...)
			f.next(scsi.OpRead16, times(2, status(st))...)
			c := f.open(t)
			data := pattern(1, 64<<10)
			replies := c.Exchange(writeOf(1, 4096, data), readOf(2, 1<<20, 4096), readOf(3, 2<<20, 512))
			for i, r := range replies {
				if r.Errno != nbdtest.OK {
					t.Errorf("request %d: %v", i, r.Errno)
				}
			}
			if n := len(f.executed(scsi.OpWrite16)); n != 4 {
				t.Errorf("%d WRITEs reached the handler, want 4", n)
			}
			reads(t, c, 4096, data)
		})
	}
}

// One that has no buffer for a WRITE ends it before its payload is taken.
func TestBusyBeforeTheBufferIsRetriedWithThePayload(t *testing.T) {
	refusals := 2
	f := newFakeRig(t, fakeTraits{alloc: func(c *target.Cmd) bool {
		if c.Op() != scsi.OpWrite16 || refusals == 0 {
			return true
		}
		refusals--
		c.SetStatus(scsi.Busy)
		return false
	}}, Options{})
	c := f.open(t)
	data := pattern(2, 8192)
	for i, r := range c.Exchange(writeOf(1, 0, data), readOf(2, 1<<20, 512)) {
		if r.Errno != nbdtest.OK {
			t.Errorf("request %d: %v", i, r.Errno)
		}
	}
	reads(t, c, 0, data)
}

func TestBusyForEverIsENOMEM(t *testing.T) {
	if testing.Short() {
		t.Skip("takes the seconds that a client is kept waiting")
	}
	t.Parallel()
	f := newFakeRig(t, fakeTraits{}, Options{})
	f.next(scsi.OpRead16, times(maxTries+1, status(scsi.Busy))...)
	c := f.open(t)
	start := time.Now()
	if _, e := c.Read(0, 512, 0); e != nbdtest.ENOMEM {
		t.Errorf("READ: %v, want ENOMEM", e)
	}
	if d := time.Since(start); d < time.Second {
		t.Errorf("given up after %v", d)
	}
	if n := len(f.executed(scsi.OpRead16)); n != maxTries+1 {
		t.Errorf("%d READs reached the handler, want %d", n, maxTries+1)
	}
	reads(t, c, 0, make([]byte, 512))
}

// A unit attention is not an outcome: the command was not carried out.
func TestUnitAttentionIsSwallowed(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.open(t)
	data := pattern(3, 4096)
	for _, op := range []scsi.Opcode{scsi.OpWrite16, scsi.OpRead16, scsi.OpSyncCache16, scsi.OpUnmap, scsi.OpWriteSame16} {
		f.next(op, sense(scsi.SensePowerOnReset), sense(scsi.SenseModeParametersChanged))
	}
	if e := c.Write(0, data, 0); e != nbdtest.OK {
		t.Errorf("WRITE: %v", e)
	}
	reads(t, c, 0, data)
	for name, e := range map[string]nbdtest.Errno{
		"FLUSH": c.Flush(0), "TRIM": c.Trim(0, 4096, 0), "WRITE_ZEROES": c.WriteZeroes(4096, 8192, 0),
	} {
		if e != nbdtest.OK {
			t.Errorf("%s: %v", name, e)
		}
	}
	f.next(scsi.OpRead16, times(maxTries+1, sense(scsi.SensePowerOnReset))...)
	if _, e := c.Read(0, 512, 0); e != nbdtest.EIO {
		t.Errorf("READ with nothing but unit attentions: %v, want EIO", e)
	}
}

// Sense to errno, and that the stream stays where it has to be.
func TestSenseReachesTheClientAsErrno(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.open(t)
	for _, tc := range []struct {
		name        string
		end         func(*target.Cmd)
		read, write nbdtest.Errno
	}{
		{"medium error", sense(scsi.SenseReadError.WithInfo(7)), nbdtest.EIO, nbdtest.EIO},
		{"write protected", sense(scsi.SenseWriteProtected), nbdtest.EPERM, nbdtest.EPERM},
		{"no space", sense(scsi.SenseSpaceAllocFailed), nbdtest.ENOSPC, nbdtest.ENOSPC},
		{"out of range", sense(scsi.SenseLBAOutOfRange), nbdtest.EINVAL, nbdtest.ENOSPC},
		{"invalid field", sense(scsi.SenseInvalidFieldInCDB), nbdtest.EINVAL, nbdtest.EINVAL},
		{"invalid opcode", sense(scsi.SenseInvalidOpcode), nbdtest.EIO, nbdtest.EIO},
		{"no such unit", sense(scsi.SenseLUNotSupported), nbdtest.ESHUTDOWN, nbdtest.ESHUTDOWN},
		{"aborted", sense(scsi.SenseAbortedInternalFailure), nbdtest.EIO, nbdtest.EIO},
		{"reservation conflict", status(scsi.ReservationConflict), nbdtest.EIO, nbdtest.EIO},
		{"task aborted", status(scsi.TaskAborted), nbdtest.EIO, nbdtest.EIO},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f.next(scsi.OpRead16, tc.end)
			f.next(scsi.OpWrite16, tc.end)
			replies := c.Exchange(
				readOf(1, 0, 4096), writeOf(2, 0, pattern(4, 4096)), nbdtest.Request{Type: nbdtest.CmdFlush, Cookie: 3},
			)
			for i, want := range []nbdtest.Errno{tc.read, tc.write, nbdtest.OK} {
				if replies[i].Errno != want {
					t.Errorf("request %d: %v, want %v", i, replies[i].Errno, want)
				}
			}
			reads(t, c, 0, make([]byte, 4096))
		})
	}
}

// RECOVERED ERROR comes with CHECK CONDITION and is a success, data and all.
func TestRecoveredErrorIsSuccess(t *testing.T) {
	f := newFakeRig(t, fakeTraits{limits: scsi.BlockLimits{MaxWriteSame: 4}}, Options{})
	recovered := func(c *target.Cmd) {
		f.mu.Lock()
		defer f.mu.Unlock()
		cmd, _ := scsi.Decode(c.CDB())
		f.access(c, &cmd)
		c.SetSense(scsi.Sense{Key: scsi.KeyRecovered, ASC: 0x1700})
		if c.Op() == scsi.OpRead16 {
			c.RespLen = c.BufLen
		}
		go c.Done()
	}
	c := f.open(t)
	data := pattern(5, 8192)
	f.next(scsi.OpWrite16, recovered)
	if e := c.Write(0, data, 0); e != nbdtest.OK {
		t.Errorf("WRITE: %v", e)
	}
	f.next(scsi.OpRead16, recovered)
	reads(t, c, 0, data)
	f.next(scsi.OpWriteSame16, recovered)
	if e := c.WriteZeroes(0, 8192, 0); e != nbdtest.OK {
		t.Errorf("WRITE_ZEROES: %v", e)
	}
	reads(t, c, 0, make([]byte, 8192))
}

// GOOD with fewer bytes than were asked for is an error (row 14: found before
// the reply's header leaves).
func TestShortReadIsEIO(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.open(t)
	for _, n := range []int32{0, 1, 4095} {
		f.next(scsi.OpRead16, func(cmd *target.Cmd) {
			cmd.RespLen = n
			cmd.Done()
		})
		if _, e := c.Read(0, 4096, 0); e != nbdtest.EIO {
			t.Errorf("READ that got %d bytes: %v, want EIO", n, e)
		}
	}
	reads(t, c, 0, make([]byte, 4096))
}

// A handler's parse may say that a command transfers something else than the
// client has sent or wants: an error, and the stream goes on where it was.
func TestParseThatChangesTheTransfer(t *testing.T) {
	for _, tc := range []struct {
		name  string
		op    scsi.Opcode
		parse func(*target.Cmd)
	}{
		{"shorter WRITE", scsi.OpWrite16, func(c *target.Cmd) { c.BufLen /= 2 }},
		{"longer WRITE", scsi.OpWrite16, func(c *target.Cmd) { c.BufLen *= 2 }},
		{"WRITE without data", scsi.OpWrite16, func(c *target.Cmd) { c.Dir, c.BufLen = scsi.DirNone, 0 }},
		{"WRITE that reads", scsi.OpWrite16, func(c *target.Cmd) { c.Dir = scsi.DirRead }},
		{"shorter READ", scsi.OpRead16, func(c *target.Cmd) { c.BufLen /= 2 }},
		{"longer READ", scsi.OpRead16, func(c *target.Cmd) { c.BufLen *= 2 }},
		{"READ without data", scsi.OpRead16, func(c *target.Cmd) { c.Dir, c.BufLen = scsi.DirNone, 0 }},
		{"READ that writes", scsi.OpRead16, func(c *target.Cmd) { c.Dir = scsi.DirWrite }},
		{"READ both ways", scsi.OpRead16, func(c *target.Cmd) { c.Dir = scsi.DirBidi }},
		{"FLUSH that writes", scsi.OpSyncCache16, func(c *target.Cmd) { c.Dir, c.BufLen = scsi.DirWrite, 512 }},
		{"CACHE that writes", scsi.OpPreFetch16, func(c *target.Cmd) { c.Dir, c.BufLen = scsi.DirWrite, 4096 }},
		{"WRITE_ZEROES that writes it all", scsi.OpWriteSame16, func(c *target.Cmd) { c.Dir, c.BufLen = scsi.DirWrite, 4096 }},
		{"longer UNMAP", scsi.OpUnmap, func(c *target.Cmd) { c.BufLen = 40 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var wrong atomic.Bool
			f := newFakeRig(t, fakeTraits{parse: func(c *target.Cmd) {
				if wrong.Load() && c.Op() == tc.op {
					tc.parse(c)
				}
			}}, Options{})
			// Whatever it is, the handler does as it was told.
			c := f.open(t)
			before := pattern(6, 8192)
			if e := c.Write(0, before, 0); e != nbdtest.OK {
				t.Fatal(e)
			}
			wrong.Store(true)
			f.next(tc.op, func(cmd *target.Cmd) {
				cmd.SetStatus(scsi.Good)
				if cmd.Dir == scsi.DirRead {
					cmd.RespLen = cmd.BufLen
				}
				cmd.Done()
			})
			_, e := c.Do(map[scsi.Opcode]nbdtest.Request{
				scsi.OpWrite16:     writeOf(0, 0, pattern(7, 4096)),
				scsi.OpRead16:      readOf(0, 0, 4096),
				scsi.OpSyncCache16: {Type: nbdtest.CmdFlush},
				scsi.OpPreFetch16:  {Type: nbdtest.CmdCache, Length: 4096},
				scsi.OpWriteSame16: {Type: nbdtest.CmdWriteZeroes, Length: 4096},
				scsi.OpUnmap:       {Type: nbdtest.CmdTrim, Length: 4096},
			}[tc.op])
			if e != nbdtest.EIO {
				t.Errorf("%v, want EIO", e)
			}
			wrong.Store(false)
			f.behave()
			reads(t, c, 0, before)
		})
	}
}

// A handler that does not know NDOB parses WRITE SAME as taking a block; it
// gets one, of zeroes.
func TestWriteSameWithoutNDOB(t *testing.T) {
	f := newFakeRig(t, fakeTraits{parse: func(c *target.Cmd) {
		if c.Op() == scsi.OpWriteSame16 {
			c.Dir, c.BufLen = scsi.DirWrite, 512
		}
	}}, Options{})
	f.next(scsi.OpWriteSame16, func(c *target.Cmd) {
		for off := 0; off < 4096; off += 512 {
			f.put(off, c.Buf)
		}
		c.Done()
	})
	c := f.open(t)
	if e := c.Write(0, pattern(8, 8192), 0); e != nbdtest.OK {
		t.Fatal(e)
	}
	if e := c.WriteZeroes(0, 4096, 0); e != nbdtest.OK {
		t.Errorf("WRITE_ZEROES: %v", e)
	}
	reads(t, c, 0, slices.Concat(make([]byte, 4096), pattern(8, 8192)[4096:]))
}
