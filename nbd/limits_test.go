package nbd

import (
	"runtime"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
)

// inFlight waits until the device has n commands, and then a little: there must
// not be more.
func inFlight(t testing.TB, got <-chan held, n int) (l []held) {
	t.Helper()
	for range n {
		select {
		case h := <-got:
			l = append(l, h)
		case <-time.After(nbdtest.DefaultTimeout):
			t.Fatalf("%d commands reach the device, want %d", len(l), n)
		}
	}
	select {
	case <-got:
		t.Fatalf("more than %d commands are in flight", n)
	case <-time.After(20 * time.Millisecond):
	}
	return l
}

func TestMaxInflight(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{MaxInflight: 5})
	got := f.hold(scsi.OpRead16, 20)
	c, other := f.open(t), f.open(t)
	var requests []nbdtest.Request
	for i := range uint64(20) {
		requests = append(requests, readOf(i, 0, 512))
	}
	c.SendRequests(requests...)
	kept := inFlight(t, got, 5)
	// Others have limits of their own.
	if e := other.Write(0, pattern(1, 512), 0); e != nbdtest.OK {
		t.Error(e)
	}
	kept[3].release()
	kept[1].release()
	kept = append(inFlight(t, got, 2), kept[0], kept[2], kept[4])
	for _, h := range kept {
		h.release()
	}
	for range 13 {
		(<-got).release()
	}
	c.Collect(requests...)
}

func TestMaxInflightBytes(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{MaxInflightBytes: 64 << 10})
	got := f.hold(scsi.OpWrite16, 10)
	c := f.open(t)
	var requests []nbdtest.Request
	for i := range uint64(10) {
		requests = append(requests, writeOf(i, i<<14, pattern(byte(i), 16<<10)))
	}
	// One that is larger than the limit goes alone; those without payload and
	// those that are refused are not counted.
	requests = append(requests, writeOf(10, 6<<20, pattern(10, 256<<10)),
		nbdtest.Request{Type: nbdtest.CmdTrim, Cookie: 11, Length: 4 << 20}, readOf(12, fakeSize, 1<<20))
	sent := make(chan error, 1)
	go func() { sent <- c.TrySend(nbdtest.RequestBytes(requests...)) }()
	kept := inFlight(t, got, 4)
	kept[0].release()
	kept = append(inFlight(t, got, 1), kept[1:]...)
	for _, h := range kept {
		h.release()
	}
	for range 5 {
		(<-got).release()
	}
	for i, r := range c.Collect(requests...) {
		if want := [...]nbdtest.Errno{12: nbdtest.EINVAL}; r.Errno != want[min(i, 12)] {
			t.Errorf("request %d: %v", i, r.Errno)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if got := f.bytes(6<<20, 256<<10); string(got) != string(pattern(10, 256<<10)) {
		t.Error("the large WRITE is not there")
	}
}

// A device may take less than the server does.
func TestMaxPayload(t *testing.T) {
	for _, tc := range []struct {
		name      string
		traits    fakeTraits
		opt       Options
		max, pref uint32
	}{
		{"default", fakeTraits{}, Options{}, 32 << 20, 4096},
		{"of the server", fakeTraits{}, Options{MaxPayload: 64 << 10}, 64 << 10, 4096},
		{"of the device", fakeTraits{limits: scsi.BlockLimits{MaxTransfer: 256}}, Options{}, 128 << 10, 4096},
		{"no whole number of blocks", fakeTraits{}, Options{MaxPayload: 100_000}, 195 * 512, 4096},
		{"less than a page", fakeTraits{limits: scsi.BlockLimits{MaxTransfer: 5}}, Options{}, 5 * 512, 2048},
		{"one block", fakeTraits{limits: scsi.BlockLimits{MaxTransfer: 1}}, Options{}, 512, 512},
		{"large blocks", fakeTraits{block: 64 << 10}, Options{}, 32 << 20, 64 << 10},
		{"no Block Limits page", fakeTraits{noLimits: true}, Options{}, 32 << 20, 4096},
		{"absurd", fakeTraits{}, Options{MaxPayload: 1<<32 - 1}, 1 << 30, 4096},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeRig(t, tc.traits, tc.opt)
			c := f.dial(t)
			c.Hello()
			e := c.Go("fake", nbdtest.InfoBlockSize)
			if want := (nbdtest.Blocks{Min: f.block, Preferred: tc.pref, Max: tc.max}); *e.Blocks != want {
				t.Errorf("%+v, want %+v", *e.Blocks, want)
			}
			if tc.max > fakeSize {
				return
			}
			data := pattern(1, int(tc.max))
			if e := c.Write(0, data, 0); e != nbdtest.OK {
				t.Errorf("WRITE of %d bytes: %v", tc.max, e)
			}
			reads(t, c, 0, data)
			if _, e := c.Read(0, tc.max+f.block, 0); e != nbdtest.EINVAL {
				t.Errorf("longer READ: %v, want EINVAL", e)
			}
			if e := c.Write(0, make([]byte, tc.max+f.block), 0); e != nbdtest.EINVAL {
				t.Errorf("longer WRITE: %v, want EINVAL", e)
			}
			reads(t, c, 0, data)
		})
	}
	t.Run("less than a block", func(t *testing.T) {
		f := newFake(t, fakeTraits{})
		srv, _ := startServer(t, Options{MaxPayload: 511})
		if _, err := srv.AddExport(t.Context(), ExportConfig{Name: "x", Device: f.dev}); err == nil {
			t.Error("it is exported")
		}
	})
}

// With several listeners the limit is for all of them together, and none of
// them holds a place for a client that is not there.
func TestMaxConnections(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{MaxConnections: 2})
	second, third := serveUnix(t, f.srv), serveUnix(t, f.srv)
	greeted := func(socket string) *nbdtest.Conn {
		c := nbdtest.Dial(t, "unix", socket)
		c.Hello()
		return c
	}
	within(t, "two clients, on whatever listeners", func() {
		greeted(second).Abort()
		greeted(third).Abort()
		a, b := greeted(third), greeted(third)
		a.Abort()
		b.Abort()
	})
	a, b := greeted(f.socket), greeted(second)
	c := nbdtest.Dial(t, "unix", third)
	c.Timeout = 50 * time.Millisecond
	if got, err := c.TryRecv(1); err == nil {
		t.Fatalf("a third client is greeted: %x", got)
	}
	a.Abort()
	c.Timeout = nbdtest.DefaultTimeout
	c.Hello()
	b.Abort()
	c.Abort()
}

// A client that waits for a place when the server shuts down is let go.
func TestMaxConnectionsAndShutdown(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{MaxConnections: 1})
	a := f.open(t)
	waiting := f.dial(t)
	time.Sleep(10 * time.Millisecond) // or it is in the backlog, which is as good
	within(t, "the shutdown", func() {
		if err := f.srv.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	})
	a.ExpectClosed()
	waiting.ExpectClosed()
}

// What a client costs that is idle, having been busy before: its receive
// buffer has been given back.
func TestIdleConnectionsAreCheap(t *testing.T) {
	const n = 200
	f := newFakeRig(t, fakeTraits{}, Options{})
	measure := func() uint64 {
		for range 3 { // pools are emptied in two steps
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapInuse + m.StackInuse
	}
	before := measure()
	var clients []*nbdtest.Conn
	for range n {
		c := f.open(t)
		var requests []nbdtest.Request
		for i := range uint64(16) {
			requests = append(requests, readOf(2*i, 0, 4096), writeOf(2*i+1, 0, pattern(1, 4096)))
		}
		c.Exchange(requests...)
		clients = append(clients, c)
	}
	per := (int64(measure()) - int64(before)) / n
	t.Logf("%d bytes per connection, the client's side included", per)
	if per > 16<<10 && !raceEnabled {
		t.Errorf("an idle connection costs %d bytes", per)
	}
	runtime.KeepAlive(clients)
}
