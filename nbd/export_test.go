package nbd

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

func TestDuplicateExports(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	if _, err := f.srv.AddExport(t.Context(), ExportConfig{Name: "fake", Device: f.dev}); !errors.Is(err, ErrDuplicateExport) {
		t.Errorf("the same name again: %v", err)
	}
	// Many at once: one of them wins.
	var won atomic.Int32
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			switch _, err := f.srv.AddExport(context.Background(), ExportConfig{Name: "x", Device: f.dev}); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, ErrDuplicateExport):
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := won.Load(); n != 1 {
		t.Errorf("%d of 10 exports of one name were added", n)
	}
	// A name is free again after a failure, and once it has been removed.
	bad := newFake(t, fakeTraits{attach: func(*target.Session) error { return errors.New("no") }})
	if _, err := f.srv.AddExport(t.Context(), ExportConfig{Name: "y", Device: bad.dev}); err == nil {
		t.Error("a device that refuses is exported")
	}
	e, err := f.srv.AddExport(t.Context(), ExportConfig{Name: "y", Device: f.dev})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := f.srv.RemoveExport(t.Context(), e); err != nil {
			t.Error(err)
		}
	}
	if _, err := f.srv.AddExport(t.Context(), ExportConfig{Name: "y", Device: f.dev}); err != nil {
		t.Error(err)
	}
	// The empty name is a name, though the default export answers to it too.
	if _, err := f.srv.AddExport(t.Context(), ExportConfig{Device: f.dev}); err != nil {
		t.Error(err)
	}
}

func TestExportNamesAreChecked(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	for _, cfg := range []ExportConfig{{Name: "a\x00b"}, {Name: "\xff"}, {Name: strings.Repeat("x", 4097)}, {Name: "ok", Description: "\x00"}} {
		cfg.Device = f.dev
		if _, err := f.srv.AddExport(t.Context(), cfg); err == nil {
			t.Errorf("%.20q is exported", cfg.Name)
		}
	}
	if n := len(f.dev.Sessions()); n != 1 {
		t.Errorf("%d sessions, want that of the one export", n)
	}
}

// Clients of an export that is removed go on; new ones don't get it.
func TestRemoveExportUnderClients(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.open(t)
	if err := f.srv.RemoveExport(t.Context(), f.export); err != nil {
		t.Fatal(err)
	}
	data := pattern(1, 4096)
	if e := c.Write(0, data, 0); e != nbdtest.OK {
		t.Error(e)
	}
	reads(t, c, 0, data)
	n := f.dial(t)
	n.Hello()
	if _, typ := n.TryInfo(nbdtest.OptGo, "fake"); typ != nbdtest.RepErrUnknown {
		t.Errorf("GO: %#x", typ)
	}
	if _, typ := n.TryInfo(nbdtest.OptGo, ""); typ != nbdtest.RepErrUnknown {
		t.Errorf("GO of the default export: %#x", typ)
	}
}

// A device that changes its size: new clients see it, and the old ones get it
// too, or errors beyond the end (rows 20, 28).
func TestRow28CapacityChange(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	f.mu.Lock()
	f.size = 4 << 20
	f.mu.Unlock()
	f.dev.CapacityChanged()
	eventually(t, "the export has its new size", func() bool { return f.export.Size() == 4<<20 })
	old := f.open(t)
	if _, e := old.Read(4<<20, 512, 0); e != nbdtest.EINVAL {
		t.Errorf("READ beyond the end: %v", e)
	}
	f.resize(8 << 20)
	eventually(t, "it has grown", func() bool { return f.export.Size() == 8<<20 })
	c := f.dial(t)
	c.Hello()
	if e := c.Go(""); e.Size != 8<<20 {
		t.Errorf("a new client sees %d bytes", e.Size)
	}
	reads(t, old, 4<<20, make([]byte, 512))

	f.resize(1 << 20)
	eventually(t, "it has shrunk", func() bool { return f.export.Size() == 1<<20 })
	for _, c := range []*nbdtest.Conn{old, c} {
		if _, e := c.Read(1<<20, 512, 0); e != nbdtest.EINVAL {
			t.Errorf("READ beyond the end: %v", e)
		}
		if e := c.Write(1<<20-512, pattern(1, 1024), 0); e != nbdtest.ENOSPC {
			t.Errorf("WRITE across the end: %v", e)
		}
		reads(t, c, 1<<20-512, make([]byte, 512))
	}
}

// The device has shrunk and the server has not heard of it yet.
func TestDeviceShrinksUnheard(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.open(t)
	f.mu.Lock()
	f.size = 1 << 20
	f.mu.Unlock()
	if _, e := c.Read(2<<20, 512, 0); e != nbdtest.EINVAL {
		t.Errorf("READ beyond the end: %v", e)
	}
	if e := c.Write(2<<20, pattern(1, 512), 0); e != nbdtest.ENOSPC {
		t.Errorf("WRITE beyond the end: %v", e)
	}
	// A handler may tell it with a unit attention instead of an event.
	f.next(scsi.OpRead16, sense(scsi.SenseCapacityChanged))
	reads(t, c, 0, make([]byte, 512))
	eventually(t, "the export has its new size", func() bool { return f.export.Size() == 1<<20 })
}

// What the device says later is not taken over if it makes no sense; and the
// last of many changes counts.
func TestStrangeCapacityChanges(t *testing.T) {
	var strange atomic.Bool
	f := newFakeRig(t, fakeTraits{capacity: func(c *scsi.Capacity) {
		if strange.Load() {
			c.BlockSize = 4096
		}
	}}, Options{})
	strange.Store(true)
	f.resize(4 << 20)
	strange.Store(false)
	for size := int64(1 << 20); size <= 3<<20; size += 512 {
		f.resize(size)
	}
	eventually(t, "the export has the last size", func() bool { return f.export.Size() == 3<<20 })
	if b := f.export.BlockSize(); b != 512 {
		t.Errorf("blocks of %d bytes", b)
	}
}

// A device that does not answer holds up AddExport, RemoveExport and Shutdown
// only as long as their contexts last.
func TestDeviceThatDoesNotAnswer(t *testing.T) {
	f := newFake(t, fakeTraits{})
	srv, _ := startServer(t, Options{})
	got := f.hold(scsi.OpServiceActionIn16, 1)
	short := func() context.Context {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		t.Cleanup(cancel)
		return ctx
	}
	if _, err := srv.AddExport(short(), ExportConfig{Name: "x", Device: f.dev}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("AddExport: %v", err)
	}
	(<-got).release()
	eventually(t, "the session has ended", func() bool { return len(f.dev.Sessions()) == 0 })

	e, err := srv.AddExport(t.Context(), ExportConfig{Name: "x", Device: f.dev})
	if err != nil {
		t.Fatal(err)
	}
	got = f.hold(scsi.OpServiceActionIn16, 1)
	f.dev.CapacityChanged()
	h := <-got
	if err := srv.RemoveExport(short(), e); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("RemoveExport: %v", err)
	}
	h.release()
	if err := srv.RemoveExport(t.Context(), e); err != nil {
		t.Error(err)
	}
	eventually(t, "the session has ended", func() bool { return len(f.dev.Sessions()) == 0 })
}

// A handler that refuses a client: it is disconnected, and nothing stays.
func TestRefusedClients(t *testing.T) {
	var refuse atomic.Bool
	f := newFakeRig(t, fakeTraits{attach: func(*target.Session) error {
		if refuse.Load() {
			return fmt.Errorf("enough of them")
		}
		return nil
	}}, Options{MaxConnections: 2})
	refuse.Store(true)
	for range 10 {
		c := f.dial(t)
		c.Hello()
		c.Go("fake")
		c.ExpectClosed()
	}
	refuse.Store(false)
	reads(t, f.open(t), 0, make([]byte, 512))
}

// While a command hangs a new client can't attach; the others have the device
// in between.
func TestAttachDoesNotHoldUpTheOthersForLong(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for an attach to be given up")
	}
	t.Parallel()
	f := newFakeRig(t, fakeTraits{}, Options{})
	got := f.hold(scsi.OpRead16, 1)
	c, other := f.open(t), f.open(t)
	c.SendRequests(readOf(1, 0, 512))
	h := <-got
	var wanting []*nbdtest.Conn
	for range 3 {
		n := f.dial(t)
		n.Hello()
		n.Go("fake")
		wanting = append(wanting, n)
	}
	start := time.Now()
	for range 20 {
		if _, e := other.Read(0, 512, 0); e != nbdtest.OK {
			t.Error(e)
		}
	}
	if d := time.Since(start); d > 5*attachTry {
		t.Errorf("20 READs took %v", d)
	}
	h.release()
	for _, n := range wanting {
		reads(t, n, 0, make([]byte, 512))
	}
}

// A shutdown does not wait for clients that are about to attach.
func TestShutdownWhileAttaching(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	got := f.hold(scsi.OpRead16, 1)
	c := f.open(t)
	c.SendRequests(readOf(1, 0, 512))
	h := <-got
	n := f.dial(t)
	n.Hello()
	n.Go("fake")
	time.Sleep(10 * time.Millisecond)
	down := make(chan error, 1)
	go func() { down <- f.srv.Shutdown(context.Background()) }()
	n.ExpectClosed()
	h.release()
	if e, _ := c.ReadReply(); e != nbdtest.OK {
		t.Error(e)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
}

// A capacity that changes while the export is made is the one that it has.
func TestCapacityChangesWhileItIsAsked(t *testing.T) {
	for range 20 {
		f := newFake(t, fakeTraits{})
		f.next(scsi.OpMaintenanceIn, func(c *target.Cmd) { // the last questions of all
			f.resize(2 << 20)
			f.carryOut(c)
		})
		srv, _ := startServer(t, Options{})
		e, err := srv.AddExport(t.Context(), ExportConfig{Name: "x", Device: f.dev})
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, "it has the new size", func() bool { return e.Size() == 2<<20 })
	}
}

// What keeps a device from answering for a moment does not count.
func TestQuestionsAreRepeated(t *testing.T) {
	f := newFake(t, fakeTraits{readOnly: true})
	for _, op := range []scsi.Opcode{scsi.OpServiceActionIn16, scsi.OpModeSense10, scsi.OpInquiry, scsi.OpMaintenanceIn} {
		f.next(op, status(scsi.Busy), sense(scsi.SensePowerOnReset), status(scsi.TaskSetFull))
	}
	srv, _ := startServer(t, Options{})
	e, err := srv.AddExport(t.Context(), ExportConfig{Name: "x", Device: f.dev})
	if err != nil {
		t.Fatal(err)
	}
	if !e.ReadOnly() || e.Size() != fakeSize || e.flags()&flagSendCache == 0 {
		t.Errorf("read-only %v, %d bytes, flags %#x", e.ReadOnly(), e.Size(), e.flags())
	}
}
