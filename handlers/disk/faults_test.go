package disk

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"scstuser/handlers"
	"scstuser/scsi"
)

// listener keeps what it hears.
type listener struct{ heard []string }

func (l *listener) MediumFault(f Fault) {
	phase := [...]string{"begins", "goes on", "ends"}[f.Phase]
	text := fmt.Sprintf("%s %s, %d failed in %v", f.Kind, phase, f.Failed, f.Lasted)
	if f.Located {
		text += fmt.Sprintf(", at %d", f.LBA)
	}
	l.heard = append(l.heard, text)
}

// expect compares what was heard since the last time.
func (l *listener) expect(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(l.heard, want) {
		t.Errorf("heard\n  %s\nwant\n  %s", strings.Join(l.heard, "\n  "), strings.Join(want, "\n  "))
	}
	l.heard = nil
}

// clock is a time that a test sets.
type clock struct{ at time.Time }

func (c *clock) now() time.Time           { return c.at }
func (c *clock) advance(by time.Duration) { c.at = c.at.Add(by) }

// failing is a disk whose faults are heard.
func failing(t *testing.T) (*fixture, *listener, *clock) {
	t.Helper()
	l, c := &listener{}, &clock{at: time.Unix(1e9, 0)}
	f := newFixture(t, full, func(_ *mem, o *Options) { o.Faults = l })
	f.d.faults.now = c.now
	return f, l, c
}

var (
	readCmd  = scsi.Command{Op: scsi.OpRead10, LBA: 8, Blocks: 2}
	writeCmd = scsi.Command{Op: scsi.OpWrite10, LBA: 8, Blocks: 2}
	syncCmd  = scsi.Command{Op: scsi.OpSyncCache10}
)

// A fault is told when it begins, once in faultRepeat while it lasts, and when
// it has been quiet for faultQuiet and something went well.
func TestFaultsAreToldOnce(t *testing.T) {
	eio := &osError{syscall.EIO}
	f, l, c := failing(t)
	f.m.block = true
	f.m.readErr = badFrom(9*512, eio)
	f.fails(scsi.SenseReadError.WithInfo(9), cdb(readCmd), nil)
	l.expect(t, "read begins, 1 failed in 0s, at 9")
	for range 1000 {
		f.fails(scsi.SenseReadError.WithInfo(9), cdb(readCmd), nil)
	}
	l.expect(t)
	c.advance(faultRepeat)
	f.fails(scsi.SenseReadError.WithInfo(9), cdb(readCmd), nil)
	f.fails(scsi.SenseReadError.WithInfo(9), cdb(readCmd), nil)
	l.expect(t, "read goes on, 1002 failed in 1m0s, at 9")

	// Other blocks can be read, and what fails goes on doing so.
	good := scsi.Command{Op: scsi.OpRead10, LBA: 0, Blocks: 1}
	c.advance(faultQuiet - 1)
	f.good(cdb(good), nil)
	l.expect(t)
	f.good(cdb(writeCmd), nil)
	c.advance(1)
	f.good(cdb(writeCmd), nil) // says nothing about reads
	l.expect(t)
	f.good(cdb(good), nil)
	l.expect(t, "read ends, 1003 failed in 1m0s, at 9")
	f.good(cdb(good), nil)
	l.expect(t)
	f.fails(scsi.SenseReadError.WithInfo(9), cdb(readCmd), nil)
	l.expect(t, "read begins, 1 failed in 0s, at 9")
}

// Each kind has its own life.
func TestFaultKinds(t *testing.T) {
	for _, tc := range []struct {
		err          error
		write, synch string
		sense        scsi.Sense
	}{
		{&osError{syscall.EIO}, "write begins, 1 failed in 0s, at 8", "lost begins, 1 failed in 0s", scsi.SenseWriteError},
		{&osError{syscall.ENOSPC}, "space begins, 1 failed in 0s, at 8", "lost begins, 1 failed in 0s", scsi.SenseSpaceAllocFailed},
		{fmt.Errorf("%w, %w", &osError{syscall.EIO}, handlers.ErrLost), "lost begins, 1 failed in 0s", "", scsi.SenseWriteError},
	} {
		f, l, c := failing(t)
		f.m.block = true
		f.m.writeErr, f.m.syncErr = badFrom(0, tc.err), tc.err
		var want []string
		at := tc.sense
		if at == scsi.SenseWriteError {
			at = at.WithInfo(8)
		}
		f.fails(at, cdb(writeCmd), nil)
		want = append(want, tc.write)
		f.fails(tc.sense, cdb(syncCmd), nil)
		if tc.synch != "" {
			want = append(want, tc.synch)
		}
		l.expect(t, want...)

		// What was lost is never told to be back.
		f.m.writeErr, f.m.syncErr = nil, nil
		c.advance(faultQuiet)
		f.good(cdb(writeCmd), nil)
		f.good(cdb(syncCmd), nil)
		if strings.HasPrefix(tc.write, "lost") {
			l.expect(t)
		} else {
			l.expect(t, strings.Replace(tc.write, "begins", "ends", 1))
		}
	}
}

// What a disk says of its faults, with an observer or without.
func TestFaultStates(t *testing.T) {
	for _, observed := range []bool{true, false} {
		f, _, c := failing(t)
		if !observed {
			f.d.faults.observer = nil
		}
		expect := func(want ...FaultState) {
			t.Helper()
			if got := f.d.Faults(); !slices.Equal(got, want) {
				t.Errorf("observed %v: got\n%+v, want\n%+v", observed, got, want)
			}
		}
		none := []FaultState{{Kind: FaultRead}, {Kind: FaultWrite}, {Kind: FaultSpace}, {Kind: FaultLost}}
		expect(none...)

		var eio error = &osError{syscall.EIO}
		f.m.block = true
		f.m.readErr, f.m.syncErr = badFrom(8*512, eio), eio
		began := c.at
		f.fails(scsi.SenseReadError.WithInfo(8), cdb(readCmd), nil)
		c.advance(time.Second)
		f.fails(scsi.SenseReadError.WithInfo(8), cdb(readCmd), nil)
		f.fails(scsi.SenseWriteError, cdb(syncCmd), nil)
		read := FaultState{Kind: FaultRead, Present: true, Failed: 2, Since: began, Last: c.at, Err: eio}
		lost := FaultState{Kind: FaultLost, Present: true, Failed: 1, Since: c.at, Last: c.at, Err: eio}
		expect(read, none[1], none[2], lost)

		f.m.readErr, f.m.syncErr = nil, nil
		c.advance(faultQuiet)
		f.good(cdb(readCmd), nil)
		f.good(cdb(syncCmd), nil)
		read.Present = false
		expect(read, none[1], none[2], lost)

		f.m.readErr = badFrom(8*512, eio)
		f.fails(scsi.SenseReadError.WithInfo(8), cdb(readCmd), nil)
		read.Present, read.Failed, read.Since, read.Last = true, 3, c.at, c.at
		expect(read, none[1], none[2], lost)
	}
}

// Who goes well waits for no observer.
func TestFaultsDoNotHoldUpOthers(t *testing.T) {
	f, _, c := failing(t)
	f.m.readErr, f.m.block = badFrom(9*512, errors.New("bad")), true
	f.fails(scsi.SenseReadError.WithInfo(9), cdb(readCmd), nil)
	c.advance(faultQuiet)
	f.d.faults.mu.Lock()
	defer f.d.faults.mu.Unlock()
	f.good(cdb(scsi.Command{Op: scsi.OpRead10, LBA: 0, Blocks: 1}), nil)
}

// Events come one at a time.
func TestFaultsAreSerial(t *testing.T) {
	f, l, _ := failing(t)
	f.d.faults.now = time.Now
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				f.d.faults.failed(FaultWrite, syscall.EIO, 1, true)
				f.d.faults.worked(writeWorked)
			}
		})
	}
	wg.Wait()
	if len(l.heard) != 1 || f.d.faults.kinds[FaultWrite].failed != 8000 {
		t.Errorf("%d events, %d failures", len(l.heard), f.d.faults.kinds[FaultWrite].failed)
	}
}
