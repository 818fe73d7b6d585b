package nbd

import (
	"encoding/binary"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

// Replies leave in the order in which the commands end.
func TestRow12RepliesOutOfOrder(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	f.put(0, pattern(1, 8*512))
	got := f.hold(scsi.OpRead16, 8)
	c := f.open(t)
	var kept []held
	for i := range uint64(8) {
		c.SendRequests(readOf(i, i*512, 512))
		kept = append(kept, <-got)
	}
	for i := 7; i >= 0; i-- {
		kept[i].release()
		if e, cookie := c.ReadReply(); e != nbdtest.OK || cookie != uint64(i) {
			t.Fatalf("reply %v to %d, want %d", e, cookie, i)
		}
		c.ExpectBytes(pattern(1, 8*512)[i*512:][:512])
	}
}

// A slow command holds up nobody: not what comes behind it on its connection,
// not other connections.
func TestSlowCommandDelaysNobody(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	slow := f.hold(scsi.OpRead16, 2)
	c, other := f.open(t), f.open(t)
	c.SendRequests(readOf(1000, 0, 4096), readOf(1001, 0, 4096))
	kept := []held{<-slow, <-slow}
	for _, conn := range []*nbdtest.Conn{c, other} {
		var requests []nbdtest.Request
		for i := range uint64(1000) {
			requests = append(requests, readOf(i, i*512, 512))
		}
		for i, r := range conn.Exchange(requests...) {
			if r.Errno != nbdtest.OK {
				t.Fatalf("READ %d: %v", i, r.Errno)
			}
		}
		if e := conn.Write(0, pattern(1, 64<<10), 0); e != nbdtest.OK {
			t.Error(e)
		}
	}
	for i := range kept {
		kept[len(kept)-1-i].release()
		if e, cookie := c.ReadReply(); e != nbdtest.OK || cookie != uint64(1001-i) {
			t.Errorf("reply %v to %d", e, cookie)
		}
		c.Recv(4096)
	}
}

// deaf opens a connection and asks for much more than fits into the sockets'
// buffers, without reading any of it.
func deaf(t testing.TB, f *fakeRig, length int) *nbdtest.Conn {
	c := f.open(t)
	var requests []nbdtest.Request
	for i := range uint64(256) {
		requests = append(requests, readOf(i, 0, length))
	}
	c.SendRequests(requests...)
	return c
}

// A client that never reads holds up nobody else, neither on the connections'
// goroutines nor on the handler's; and it gets its due when it reads at last.
func TestDeafClientDelaysNobody(t *testing.T) {
	for _, workers := range []bool{false, true} {
		f := newFakeRig(t, fakeTraits{}, Options{})
		// One worker, which sends the replies of what it has carried out.
		work := make(chan *target.Cmd, 1<<16)
		stop, stopped := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(stopped)
			for {
				select {
				case c := <-work:
					f.carryOut(c)
				case <-stop:
					return
				}
			}
		}()
		if workers {
			f.next(scsi.OpRead16, times(5000, func(c *target.Cmd) { work <- c })...)
		}
		silent := []*nbdtest.Conn{deaf(t, f, 64<<10), deaf(t, f, 64<<10)}
		within(t, "the others' requests", func() {
			c := f.open(t)
			for i := range uint64(500) {
				if _, e := c.Read(i*512, 512, 0); e != nbdtest.OK {
					t.Errorf("READ: %v", e)
				}
			}
		})
		for _, c := range silent {
			for range 256 {
				if e, _ := c.ReadReply(); e != nbdtest.OK {
					t.Fatal(e)
				}
				c.Recv(64 << 10)
			}
			c.Disc(0)
		}
		close(stop)
		<-stopped
	}
}

// A connection that is kept busy does not starve the others.
func TestBusyClientDoesNotStarveOthers(t *testing.T) {
	r := newRig(t, oneDisk())
	stop := make(chan struct{})
	over := make(chan struct{})
	busy := newLean(t, r, cmdRead, 64, 4096)
	go func() {
		defer close(over)
		for {
			select {
			case <-stop:
				return
			default:
				busy.round(t)
			}
		}
	}()
	c := r.open(t)
	var worst time.Duration
	for i := range uint64(100) {
		start := time.Now()
		if _, e := c.Read(i*4096, 4096, 0); e != nbdtest.OK {
			t.Error(e)
		}
		worst = max(worst, time.Since(start))
	}
	close(stop)
	<-over
	if worst > time.Second {
		t.Errorf("a READ took %v", worst)
	}
}

// A WRITE whose payload comes in pieces is not taken for anything else, and
// does not keep others from the device.
func TestPayloadInPieces(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c, other := f.open(t), f.open(t)
	data := pattern(9, 3000*512)
	b := writeOf(1, 0, data).Bytes()
	for i := 0; len(b) > 0; i++ {
		n := min(len(b), 1+i*i*137%70000)
		c.Send(b[:n])
		b = b[n:]
		if i%10 == 0 {
			reads(t, other, 4<<20, make([]byte, 512))
			// A new client needs the device to be quiet for a moment.
			extra := f.open(t)
			extra.Disc(0)
		}
	}
	if e, cookie := c.ReadReply(); e != nbdtest.OK || cookie != 1 {
		t.Errorf("reply %v to %d", e, cookie)
	}
	reads(t, c, 0, data)
}

// Headers in pieces, several in one piece, and the end of one with the start of
// the next.
func TestHeadersInPieces(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	f.put(0, pattern(1, 1<<20))
	c := f.open(t)
	var b []byte
	const n = 200
	for i := range uint64(n) {
		b = append(b, readOf(i, i*512, 512).Bytes()...)
	}
	for i := 0; len(b) > 0; i++ {
		k := min(len(b), 1+i*31%97)
		c.Send(b[:k])
		b = b[k:]
	}
	seen := map[uint64]bool{}
	for range n {
		e, cookie := c.ReadReply()
		if e != nbdtest.OK || seen[cookie] {
			t.Fatalf("reply %v to %d", e, cookie)
		}
		seen[cookie] = true
		c.ExpectBytes(pattern(1, 1<<20)[cookie*512:][:512])
	}
}

// A client that closes the connection in the middle of anything leaves nothing
// behind: newFakeRig and goleak look.
func TestClientsThatVanish(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	data := pattern(1, 64<<10)
	whole := nbdtest.RequestBytes(readOf(1, 0, 4096), writeOf(2, 0, data), readOf(3, 0, 1<<20), nbdtest.Request{Type: nbdtest.CmdFlush, Cookie: 4})
	for _, cut := range []int{0, 1, 27, 28, 29, 56, 57, 1000, len(whole) - 29, len(whole) - 1, len(whole)} {
		for _, slow := range []bool{false, true} {
			if slow {
				hand := func(c *target.Cmd) { time.AfterFunc(2*time.Millisecond, func() { f.carryOut(c) }) }
				for _, op := range []scsi.Opcode{scsi.OpRead16, scsi.OpWrite16, scsi.OpSyncCache16} {
					f.next(op, hand)
				}
			}
			c := f.open(t)
			c.Send(whole[:cut])
			c.Close()
			f.behave()
		}
	}
	c := f.open(t)
	if e := c.Write(0, data, 0); e != nbdtest.OK {
		t.Error(e)
	}
	reads(t, c, 0, data)
	eventually(t, "the other clients' sessions end", func() bool { return len(f.dev.Sessions()) == 2 })
}

// Bytes that are no request end their own connection, and what was good before
// them is answered.
func TestBadMagicBehindGoodRequests(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	slow := f.hold(scsi.OpRead16, 1)
	c := f.open(t)
	bad := readOf(2, 0, 512).Bytes()
	binary.BigEndian.PutUint32(bad, 0x25609512)
	c.Send(append(readOf(1, 0, 512).Bytes(), bad...))
	(<-slow).release()
	if e, cookie := c.ReadReply(); e != nbdtest.OK || cookie != 1 {
		t.Errorf("reply %v to %d", e, cookie)
	}
	c.Recv(512)
	c.ExpectClosed()
}
