package nbd

import (
	"bytes"
	"slices"
	"sync"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

// FUA where the device has no FUA bit is a command and a sync behind it; where
// it has one, WRITE carries it and the others still need the sync (row 13).
func TestRow13FUABecomesSCSI(t *testing.T) {
	write := nbdtest.Request{Type: nbdtest.CmdWrite, Length: 4096, Payload: pattern(1, 4096)}
	for _, tc := range []struct {
		name  string
		noFUA bool
		r     nbdtest.Request
		ops   []scsi.Opcode
		fua   bool // of the first command
	}{
		{"WRITE", false, write, []scsi.Opcode{scsi.OpWrite16}, true},
		{"WRITE, no DPOFUA", true, write, []scsi.Opcode{scsi.OpWrite16, scsi.OpSyncCache16}, false},
		{"TRIM", false, nbdtest.Request{Type: nbdtest.CmdTrim, Length: 4096}, []scsi.Opcode{scsi.OpUnmap, scsi.OpSyncCache16}, false},
		{"WRITE_ZEROES", false, nbdtest.Request{Type: nbdtest.CmdWriteZeroes, Length: 4096}, []scsi.Opcode{scsi.OpWriteSame16, scsi.OpSyncCache16}, false},
		{"WRITE_ZEROES of one block", false, nbdtest.Request{Type: nbdtest.CmdWriteZeroes, Length: 512}, []scsi.Opcode{scsi.OpWrite16, scsi.OpSyncCache16}, false},
		{"READ", false, nbdtest.Request{Type: nbdtest.CmdRead, Length: 512}, []scsi.Opcode{scsi.OpRead16}, false},
		{"FLUSH", false, nbdtest.Request{Type: nbdtest.CmdFlush}, []scsi.Opcode{scsi.OpSyncCache16}, false},
		{"CACHE", false, nbdtest.Request{Type: nbdtest.CmdCache, Length: 512}, []scsi.Opcode{scsi.OpPreFetch16}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeRig(t, fakeTraits{noFUA: tc.noFUA}, Options{})
			c := f.open(t)
			f.forget()
			tc.r.Flags = nbdtest.CmdFlagFUA
			if _, e := c.Do(tc.r); e != nbdtest.OK {
				t.Fatal(e)
			}
			if ops := f.ops(); !slices.Equal(ops, tc.ops) {
				t.Errorf("%v, want %v", ops, tc.ops)
			}
			if cmd, err := scsi.Decode(f.executed(0)[0]); err != nil || cmd.FUA != tc.fua {
				t.Errorf("FUA %v, want %v (%v)", cmd.FUA, tc.fua, err)
			}
		})
	}
}

// A failure of the sync is the failure of the request.
func TestRow13FailedSyncFailsTheWrite(t *testing.T) {
	f := newFakeRig(t, fakeTraits{noFUA: true}, Options{})
	c := f.open(t)
	for _, r := range []nbdtest.Request{
		{Type: nbdtest.CmdWrite, Length: 4096, Payload: pattern(1, 4096)},
		{Type: nbdtest.CmdTrim, Length: 4096}, {Type: nbdtest.CmdWriteZeroes, Length: 4096}, {Type: nbdtest.CmdFlush},
	} {
		f.next(scsi.OpSyncCache16, status(scsi.Busy), sense(scsi.SenseWriteError))
		r.Flags = nbdtest.CmdFlagFUA
		if _, e := c.Do(r); e != nbdtest.EIO {
			t.Errorf("command %d: %v, want EIO", r.Type, e)
		}
	}
}

// The reply to a FUA write, or to a FLUSH, comes when the sync is over and not
// before; what else the client sends goes on meanwhile (row 12).
func TestRow12NoReplyBeforeDataIsStable(t *testing.T) {
	for _, noFUA := range []bool{false, true} {
		for _, r := range []nbdtest.Request{
			{Type: nbdtest.CmdWrite, Length: 4096, Payload: pattern(1, 4096), Flags: nbdtest.CmdFlagFUA},
			{Type: nbdtest.CmdTrim, Length: 4096, Flags: nbdtest.CmdFlagFUA},
			{Type: nbdtest.CmdWriteZeroes, Length: 4096, Flags: nbdtest.CmdFlagFUA},
			{Type: nbdtest.CmdFlush},
		} {
			syncing, stable := make(chan struct{}, 1), make(chan struct{})
			f := newFakeRig(t, fakeTraits{noFUA: noFUA, synced: func() {
				syncing <- struct{}{}
				<-stable
			}}, Options{})
			// On a goroutine of its own, as a handler's worker would be.
			elsewhere := func(c *target.Cmd) { go f.carryOut(c) }
			f.next(scsi.OpSyncCache16, elsewhere)
			if r.Type == nbdtest.CmdWrite && !noFUA {
				f.next(scsi.OpWrite16, elsewhere)
			}
			c := f.open(t)
			r.Cookie = 1
			c.SendRequests(r)
			<-syncing
			for i := range uint64(3) {
				c.SendRequests(readOf(2+i, 8192, 512))
				if e, cookie := c.ReadReply(); e != nbdtest.OK || cookie != 2+i {
					t.Fatalf("reply %v to %d while the sync is under way", e, cookie)
				}
				c.Recv(512)
			}
			close(stable)
			if e, cookie := c.ReadReply(); e != nbdtest.OK || cookie != 1 {
				t.Errorf("reply %v to %d after the sync", e, cookie)
			}
		}
	}
}

// journal is a medium that remembers which writes are stable.
type journal struct {
	mu     sync.Mutex
	done   map[uint64]bool // LBA: written
	stable map[uint64]bool
}

// CAN_MULTI_CONN: a FLUSH on one connection covers whatever was answered before
// on any other, when it was sent.
func TestRow12FlushCoversAllConnections(t *testing.T) {
	j := journal{done: map[uint64]bool{}, stable: map[uint64]bool{}}
	f := newFakeRig(t, fakeTraits{}, Options{})
	const rounds, conns = 20, 4
	write := func(c *target.Cmd) {
		go func() {
			j.mu.Lock()
			j.done[c.LBA] = true
			j.mu.Unlock()
			f.carryOut(c)
		}()
	}
	flush := func(c *target.Cmd) {
		go func() {
			j.mu.Lock()
			now := make([]uint64, 0, len(j.done))
			for lba := range j.done {
				now = append(now, lba)
			}
			j.mu.Unlock()
			time.Sleep(time.Millisecond)
			j.mu.Lock()
			for _, lba := range now {
				j.stable[lba] = true
			}
			j.mu.Unlock()
			f.carryOut(c)
		}()
	}
	f.next(scsi.OpWrite16, times(rounds*conns, write)...)
	f.next(scsi.OpSyncCache16, times(rounds, flush)...)
	var clients []*nbdtest.Conn
	for range conns {
		clients = append(clients, f.open(t))
	}
	for round := range uint64(rounds) {
		for i, c := range clients {
			if e := c.Write((round*conns+uint64(i))*512, pattern(1, 512), 0); e != nbdtest.OK {
				t.Fatal(e)
			}
		}
		if e := clients[round%conns].Flush(0); e != nbdtest.OK {
			t.Fatal(e)
		}
		j.mu.Lock()
		if n, want := len(j.stable), int(round+1)*conns; n != want {
			t.Errorf("after FLUSH %d: %d writes are stable, %d were answered", round, n, want)
		}
		j.mu.Unlock()
	}
}

// The reserved fields of FLUSH are ignored: it flushes all.
func TestFlushIsOfEverything(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.open(t)
	f.forget()
	for _, r := range []nbdtest.Request{{}, {Offset: 513, Length: 7}, {Offset: 1 << 63, Length: 1 << 31}} {
		r.Type = nbdtest.CmdFlush
		if _, e := c.Do(r); e != nbdtest.OK {
			t.Errorf("FLUSH with offset %d and length %d: %v", r.Offset, r.Length, e)
		}
	}
	for _, cdb := range f.executed(scsi.OpSyncCache16) {
		if !bytes.Equal(cdb[1:], make([]byte, 15)) {
			t.Errorf("SYNCHRONIZE CACHE % x", cdb)
		}
	}
}
