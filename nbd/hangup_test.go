package nbd

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"syscall"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
)

// Requests that arrive just as a connection stops reading, because the device
// leaves, are answered with ESHUTDOWN or met by the end of the stream, never by
// a reset.
func TestRequestAtTheEndOfLingerIsNotReset(t *testing.T) {
	const linger, clients = 100 * time.Millisecond, 100
	f := newFakeRig(t, fakeTraits{}, Options{Linger: linger, MaxConnections: 2 * clients})
	conns := make([]*nbdtest.Conn, clients)
	for i := range conns {
		conns[i] = f.open(t)
	}
	var wg sync.WaitGroup
	begin := time.Now()
	var mu sync.Mutex // guards what follows
	answered, ended, late := 0, 0, 0
	for i, c := range conns {
		wg.Go(func() {
			defer c.Close()
			// From 4/5 to 6/5 of the Linger.
			time.Sleep(time.Until(begin.Add(linger*4/5 + linger*2/5*time.Duration(i)/clients)))
			sendErr := c.TrySend(readOf(1, 0, 512).Bytes())
			after := time.Since(begin)
			reply, err := c.TryRecv(16)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case after > linger*9/5: // the machine is slow: it had been told long before
				late++
			case err == nil && binary.BigEndian.Uint32(reply[4:]) == uint32(nbdtest.ESHUTDOWN):
				answered++
			case err == nil:
				t.Errorf("reply % x", reply)
			case errors.Is(err, syscall.ECONNRESET) || sendErr != nil:
				t.Errorf("asked after %v: %v, %v", after, sendErr, err)
			case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
				ended++
			default:
				t.Errorf("asked after %v: %v", after, err)
			}
		})
	}
	f.unregister()
	wg.Wait()
	t.Logf("%d answered, %d met the end, %d were too late", answered, ended, late)
	if late < clients/2 && answered == 0 {
		t.Error("nobody was answered")
	}
}

// What a client has sent within the Linger is answered even if the connection's
// goroutine was not there to read it in time: it waited for the client to take
// earlier replies.
func TestRequestUnreadAtTheEndOfLingerIsAnswered(t *testing.T) {
	const linger = 50 * time.Millisecond
	f := newFakeRig(t, fakeTraits{}, Options{Linger: linger})
	c := f.open(t)
	// More than the socket takes, and too few for sendHalfway, which would have
	// somebody else wait.
	const large, count = 2 << 20, halfwayMin - 1
	var requests []nbdtest.Request
	for i := range uint64(count) {
		requests = append(requests, readOf(i, 0, large))
	}
	c.SendRequests(requests...)
	if errno, cookie := c.ReadReply(); errno != nbdtest.OK || cookie != 0 {
		t.Fatalf("reply %v to %d", errno, cookie)
	}
	// Now it sends the rest of that reply, and can't.
	c.SendRequests(readOf(count, 0, 512))
	released := make(chan struct{})
	go func() {
		defer close(released)
		f.unregister()
	}()
	f.waitLeaving(t)
	time.Sleep(2 * linger)
	c.Recv(large)
	for i := uint64(1); i < count; i++ {
		switch errno, cookie := c.ReadReply(); {
		case errno == nbdtest.OK && cookie == i:
			c.Recv(large)
		case errno != nbdtest.ESHUTDOWN || cookie != i: // those that it had not begun
			t.Fatalf("reply %v to %d", errno, cookie)
		}
	}
	if errno, cookie := c.ReadReply(); errno != nbdtest.ESHUTDOWN || cookie != count {
		t.Errorf("reply %v to %d, want ESHUTDOWN", errno, cookie)
	}
	c.ExpectClosed()
	within(t, "the release", func() { <-released })
}

// waitLeaving returns when every connection knows that it has to come to its
// end.
func (f *fakeRig) waitLeaving(t *testing.T) {
	t.Helper()
	eventually(t, "the connections leave", func() bool {
		f.srv.mu.Lock()
		defer f.srv.mu.Unlock()
		for cl := range f.srv.clients {
			if cl.conn == nil || !cl.conn.leaving() {
				return false
			}
		}
		return true
	})
}
