package nbd

import (
	"context"
	"errors"
	"net"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

// A device that is released under its clients: what is in flight is finished,
// what is new is refused with ESHUTDOWN, then the connection is closed. Other
// exports and the server go on.
func TestReleaseUnderClients(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	second := newFake(t, fakeTraits{})
	if _, err := f.srv.AddExport(t.Context(), ExportConfig{Name: "second", Device: second.dev}); err != nil {
		t.Fatal(err)
	}
	defer second.dev.Unregister(context.Background())
	got := f.hold(scsi.OpRead16, 1)
	busy, idle := f.open(t), f.open(t)
	busy.SendRequests(readOf(1, 0, 512))
	h := <-got
	released := make(chan struct{})
	go func() {
		defer close(released)
		f.unregister()
	}()
	idle.ExpectClosed()
	for i := range uint64(3) {
		r := readOf(2+i, 0, 512)
		if i == 1 {
			r = writeOf(2+i, 0, pattern(1, 8192))
		}
		busy.SendRequests(r)
		if e, cookie := busy.ReadReply(); e != nbdtest.ESHUTDOWN || cookie != 2+i {
			t.Errorf("reply %v to %d, want ESHUTDOWN", e, cookie)
		}
	}
	h.release()
	if e, cookie := busy.ReadReply(); e != nbdtest.OK || cookie != 1 {
		t.Errorf("reply %v to %d, which was in flight", e, cookie)
	}
	busy.Recv(512)
	busy.ExpectClosed()
	within(t, "the release", func() { <-released })

	c := f.dial(t)
	c.Hello()
	if l := c.List(); len(l) != 1 || l[0].Name != "second" {
		t.Errorf("LIST: %v", l)
	}
	if _, typ := c.TryInfo(nbdtest.OptGo, "fake"); typ == nbdtest.RepAck {
		t.Error("the export of a released device can be opened")
	}
	c.Go("second")
	reads(t, c, 0, make([]byte, 4096))
}

// Neither a client that does not read nor one that does not finish its payload
// holds up a release for longer than the Grace.
func TestReleaseUnderStuckClients(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{Grace: 300 * time.Millisecond, Linger: 10 * time.Millisecond})
	silent, half := f.open(t), f.open(t)
	var requests []nbdtest.Request
	for i := range uint64(256) {
		requests = append(requests, readOf(i, 0, 64<<10))
	}
	silent.SendRequests(requests...)
	half.Send(writeOf(1, 0, make([]byte, 1<<20)).Bytes()[:5000])
	reads(t, f.open(t), 0, make([]byte, 512))
	within(t, "the release", f.unregister)
	half.ExpectClosed()
}

// A client that goes on sending its payload may finish it within the Grace.
func TestPayloadMayBeFinishedInShutdown(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{Linger: 5 * time.Millisecond})
	c, refused := f.open(t), f.open(t)
	data := pattern(3, 256<<10)
	b := writeOf(1, 0, data).Bytes()
	r := writeOf(1, fakeSize, data).Bytes()
	c.Send(b[:100<<10])
	refused.Send(r[:100<<10])
	eventually(t, "the WRITE reaches the device", func() bool {
		for _, s := range f.dev.Sessions() {
			if s.Inflight() > 0 {
				return true
			}
		}
		return false
	})
	down := make(chan error, 1)
	go func() { down <- f.srv.Shutdown(context.Background()) }()
	<-f.srv.quit.Done()
	time.Sleep(50 * time.Millisecond)
	c.Send(b[100<<10:])
	refused.Send(r[100<<10:])
	if e, _ := c.ReadReply(); e != nbdtest.OK {
		t.Errorf("WRITE: %v", e)
	}
	if e, _ := refused.ReadReply(); e != nbdtest.ENOSPC && e != nbdtest.ESHUTDOWN {
		t.Errorf("WRITE past the end: %v", e)
	}
	c.ExpectClosed()
	refused.ExpectClosed()
	if err := <-down; err != nil {
		t.Error(err)
	}
	if string(f.bytes(0, len(data))) != string(data) {
		t.Error("the data is not there")
	}
}

// A command that ends long after the Grace is answered all the same.
func TestRow26LateCommandsAreAnswered(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{Linger: time.Millisecond, Grace: 300 * time.Millisecond})
	got := f.hold(scsi.OpRead16, 1)
	c := f.open(t)
	c.SendRequests(readOf(1, 0, 1<<20))
	h := <-got
	down := make(chan error, 1)
	go func() { down <- f.srv.Shutdown(context.Background()) }()
	<-f.srv.quit.Done()
	time.Sleep(400 * time.Millisecond)
	if _, e := c.Read(0, 512, 0); e != nbdtest.ESHUTDOWN {
		t.Errorf("READ: %v, want ESHUTDOWN", e)
	}
	h.release()
	if e, cookie := c.ReadReply(); e != nbdtest.OK || cookie != 1 {
		t.Errorf("reply %v to %d", e, cookie)
	}
	c.Recv(1 << 20)
	c.ExpectClosed()
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// Commands that wait for their next try are in flight: a shutdown waits for
// them, and they are answered.
func TestShutdownWaitsForRetries(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{Linger: time.Millisecond})
	f.next(scsi.OpWrite16, times(4, status(scsi.Busy))...)
	c := f.open(t)
	c.SendRequests(writeOf(1, 0, pattern(1, 4096)))
	eventually(t, "the first try", func() bool { return len(f.executed(scsi.OpWrite16)) > 0 })
	if err := f.srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if e, cookie := c.ReadReply(); e != nbdtest.OK || cookie != 1 {
		t.Errorf("reply %v to %d", e, cookie)
	}
	c.ExpectClosed()
}

// So does a release; what is tried again then fails.
func TestReleaseEndsRetries(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{Linger: time.Millisecond})
	f.next(scsi.OpWrite16, times(100, status(scsi.Busy))...)
	c := f.open(t)
	c.SendRequests(writeOf(1, 0, pattern(1, 4096)))
	eventually(t, "the first try", func() bool { return len(f.executed(scsi.OpWrite16)) > 0 })
	f.unregister()
	if e, cookie := c.ReadReply(); e != nbdtest.ESHUTDOWN || cookie != 1 {
		t.Errorf("reply %v to %d, want ESHUTDOWN", e, cookie)
	}
	c.ExpectClosed()
}

// A shutdown whose time runs out cuts the clients off and says so.
func TestShutdownThatRunsOutOfTime(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	got := f.hold(scsi.OpRead16, 1)
	c, idle := f.open(t), f.open(t)
	c.SendRequests(readOf(1, 0, 512))
	<-got
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := f.srv.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Shutdown: %v", err)
	}
	if err := f.srv.Shutdown(t.Context()); !errors.Is(err, ErrServerClosed) {
		t.Errorf("second Shutdown: %v", err)
	}
	c.ExpectClosed()
	idle.ExpectClosed()
}

// After Shutdown there is no way in.
func TestNothingBeginsAfterShutdown(t *testing.T) {
	f := newFake(t, fakeTraits{})
	srv, socket := startServer(t, Options{})
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := srv.AddExport(t.Context(), ExportConfig{Name: "x", Device: f.dev}); !errors.Is(err, ErrServerClosed) {
		t.Errorf("AddExport: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := srv.Serve(l); err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener has not been closed")
	}
	eventually(t, "the socket is closed", func() bool { // its Serve may only begin now
		c, err := net.Dial("unix", socket)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
}

// AddExport may be at it when Shutdown comes; its session does not stay.
func TestAddExportDuringShutdown(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	f := newFake(t, fakeTraits{attach: func(*target.Session) error {
		close(asked)
		<-answer
		return nil
	}})
	srv, _ := startServer(t, Options{})
	added := make(chan error, 1)
	go func() {
		_, err := srv.AddExport(context.Background(), ExportConfig{Name: "x", Device: f.dev})
		added <- err
	}()
	<-asked
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	close(answer)
	if err := <-added; !errors.Is(err, ErrServerClosed) {
		t.Errorf("AddExport: %v", err)
	}
	if l := f.dev.Sessions(); len(l) > 0 {
		t.Error("its session is left")
	}
}
