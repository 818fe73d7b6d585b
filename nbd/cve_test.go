package nbd

import (
	"bytes"
	"context"
	"math"
	"net"
	"slices"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

// Faults that other servers had, and what happens here (docs/security.md).

// nbdkit opened its backend for everybody who connected, so that clients which
// never got as far as to choose an export could wear it out.
func TestCVE2019_14850(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	f.forget()
	for i := range 40 {
		c := f.dial(t)
		if i%4 == 0 {
			continue // does not even read the greeting
		}
		c.Hello()
		switch i % 4 {
		case 1:
			c.Negotiate(nbdtest.Extended)
			c.SetAllocation("fake")
		case 2:
			c.Info("fake", nbdtest.InfoBlockSize)
			c.List()
		case 3:
			c.Send(nbdtest.OptionBytes(nbdtest.OptGo, nbdtest.InfoData("fake"))[:20])
		}
	}
	if n := len(f.dev.Sessions()); n != 1 {
		t.Errorf("the device has %d sessions, want the export's own", n)
	}
	if ops := f.ops(); len(ops) > 0 {
		t.Errorf("the device is asked for %v", ops)
	}
}

// nbdkit failed an assertion when an INFO of one export was followed by a GO, or
// another INFO, of the same or another one.
func TestCVE2019_14851(t *testing.T) {
	cfg := oneDisk()
	cfg.names = []string{"one", "two"}
	r := newRig(t, cfg)
	for _, info := range []string{"one", "two", "", "none"} {
		for _, chosen := range []string{"one", "two", ""} {
			c := r.dial(t)
			c.Hello()
			c.Negotiate(nbdtest.Structured)
			for range 3 {
				c.TryInfo(nbdtest.OptInfo, info, nbdtest.InfoName)
				c.TryMeta(nbdtest.OptSetMetaContext, info, nbdtest.Allocation)
			}
			c.TryInfo(nbdtest.OptGo, "none")
			e := c.Go(chosen, nbdtest.InfoName)
			if want := map[string]string{"": "one"}[chosen]; *e.Name != chosen && *e.Name != want {
				t.Errorf("INFO %q, GO %q: %q", info, chosen, *e.Name)
			}
			if _, errno := c.Read(0, 512, 0); errno != nbdtest.OK {
				t.Errorf("INFO %q, GO %q: READ: %v", info, chosen, errno)
			}
			c.Disc(0)
		}
	}
}

// qemu's server crashed, or was kept up, by clients that were connected when it
// was told to stop, wherever in the protocol they were.
func TestCVE2024_7409(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{Linger: 50 * time.Millisecond, Grace: 100 * time.Millisecond})
	phases := map[string]func(c *nbdtest.Conn){
		"silent":          func(*nbdtest.Conn) {},
		"greeted":         func(c *nbdtest.Conn) { c.Hello() },
		"half an option":  func(c *nbdtest.Conn) { c.Hello(); c.Send(nbdtest.OptionBytes(nbdtest.OptList, nil)[:7]) },
		"negotiated":      func(c *nbdtest.Conn) { c.Hello(); c.Negotiate(nbdtest.Extended); c.SetAllocation("fake") },
		"idle":            func(c *nbdtest.Conn) { c.Hello(); c.Go("fake") },
		"half a request":  func(c *nbdtest.Conn) { c.Hello(); c.Go("fake"); c.Send(readOf(1, 0, 512).Bytes()[:13]) },
		"half a payload":  func(c *nbdtest.Conn) { c.Hello(); c.Go("fake"); c.Send(writeOf(1, 0, make([]byte, 512)).Bytes()[:100]) },
		"half, unaligned": func(c *nbdtest.Conn) { c.Hello(); c.Go("fake"); c.Send(writeOf(1, 3, make([]byte, 512)).Bytes()[:100]) },
		"does not receive": func(c *nbdtest.Conn) {
			c.Hello()
			c.Go("fake")
			c.SendRequests(readOf(1, 0, 4<<20), readOf(2, 0, 4<<20))
		},
	}
	for _, enter := range phases {
		for range 5 {
			enter(f.dial(t))
		}
	}
	shut := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), nbdtest.DefaultTimeout)
		defer cancel()
		shut <- f.srv.Shutdown(ctx)
	}()
	for range 20 { // more come meanwhile
		if c, err := net.Dial("unix", f.socket); err == nil {
			c.Close()
		}
	}
	if err := <-shut; err != nil {
		t.Errorf("shutdown: %v", err)
	}
}

// nbdkit failed an assertion, or an addition overflowed in one of its filters, when
// the status of close to 2^32 bytes was asked for and the backend knew of an extent
// as long.
func TestCVE2025_47711and47712(t *testing.T) {
	const size = 1 << 45
	answer := []scsi.LBAStatus{{Blocks: math.MaxUint32, Status: scsi.LBADeallocated}, {Blocks: math.MaxUint32}, {Blocks: 1, Status: scsi.LBADeallocated}}
	f := newFakeRig(t, fakeTraits{
		capacity: func(c *scsi.Capacity) { c.LastLBA = size/512 - 1 },
		mood: func(cmd *target.Cmd) bool {
			c, err := scsi.Decode(cmd.CDB())
			if err != nil || c.Op != scsi.OpServiceActionIn16 || c.ServiceAction != scsi.SAGetLBAStatus {
				return false
			}
			runs := slices.Clone(answer)
			at := c.LBA
			for i := range runs {
				runs[i].LBA = at
				at += uint64(runs[i].Blocks)
			}
			cmd.SetStatus(scsi.Good)
			cmd.RespLen = int32(copy(cmd.Buf, scsi.AppendLBAStatus(nil, runs...)))
			cmd.Done()
			return true
		},
	}, Options{})
	for _, m := range nbdtest.Modes[1:] {
		c := openIn(m, "fake", f.dial)(t) // has not asked for block sizes: anything goes
		for _, offset := range []uint64{0, 1, 511, 512, 1<<32 - 1, 1 << 32, 1<<41 - 513, size - 1<<32, size - 1<<32 + 1} {
			for _, length := range []uint64{1, 511, 1<<31 - 1, 1<<32 - 513, 1<<32 - 512, 1<<32 - 511, 1<<32 - 1, 1 << 32, 1<<40 + 1, size} {
				if length > math.MaxUint32 && m != nbdtest.Extended || length > size-offset {
					continue
				}
				for _, flags := range []uint16{0, nbdtest.CmdFlagReqOne} {
					// The rules for the answer are checked by nbdtest.
					if _, e := c.BlockStatus(offset, length, flags); e != nbdtest.OK {
						t.Fatalf("%v: BLOCK_STATUS of %d bytes at %d: %v", m, length, offset, e)
					}
				}
				for _, r := range []nbdtest.Request{{Type: nbdtest.CmdTrim}, {Type: nbdtest.CmdCache}} {
					r.Offset, r.Length64 = offset, length
					f.next(scsi.OpUnmap, times(4, status(scsi.Good))...)
					f.next(scsi.OpPreFetch16, times(4, status(scsi.Good))...)
					if length < 1<<33 {
						if _, e := c.Do(r); e != nbdtest.OK {
							t.Fatalf("%v: command %d of %d bytes at %d: %v", m, r.Type, length, offset, e)
						}
					}
					f.behave()
				}
			}
		}
		c.Disc(0)
	}
	if !bytes.Equal(f.bytes(0, 4096), make([]byte, 4096)) {
		t.Error("the medium has changed")
	}
}
