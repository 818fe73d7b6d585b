package client

import (
	"context"
	"syscall"
	"time"

	"scstuser/ioctl/abi"
)

// watch is a context that somebody waits with. It stays for the next call, until
// another context comes.
type watch struct {
	done  <-chan struct{}
	stop  func() bool
	users int // guarded by Device.mu
}

// watch makes the end of ctx wake those who wait, until unwatch.
func (d *Device) watch(ctx context.Context) *watch {
	done := ctx.Done()
	if done == nil {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	kept := d.watches[:0]
	var w *watch
	for _, x := range d.watches {
		switch {
		case x.done == done:
			w = x
		case x.users == 0:
			x.stop()
			continue
		}
		kept = append(kept, x)
	}
	if w == nil {
		w = &watch{done: done, stop: context.AfterFunc(ctx, d.interrupt)}
		kept = append(kept, w)
	}
	d.watches = kept
	w.users++
	return w
}

// unwatch ends what watch began; nil is none.
func (d *Device) unwatch(w *watch) {
	if w == nil {
		return
	}
	d.mu.Lock()
	w.users--
	d.mu.Unlock()
}

// interrupt wakes those who wait: a context has ended.
func (d *Device) interrupt() {
	f, err := d.enter() // keeps the descriptor open
	if err != nil {
		return // Close wakes them
	}
	defer d.leave(f)
	d.unblock()
}

// unblock makes the device non-blocking, which wakes all who are in a get (rule
// R15), and ends a poll under way. The caller is inside.
func (d *Device) unblock() {
	if !d.polling.Swap(true) {
		d.sys.ioctl(d.fd, abi.IoctlUnregisterDevice, 0) // a node that is gone has woken them itself
	}
	d.sys.wake()
}

// How long a poller sleeps when the node says "ready" and then has nothing (F5),
// doubling from the first to the last.
const (
	firstSleep = time.Millisecond
	lastSleep  = 16 * time.Millisecond
)

// waiting is one ReplyAndGet that waits without blocking. It is the one that
// polls from its first wait to end.
type waiting struct {
	d     *Device
	token bool
	lies  int // how often in a row the node was ready and had nothing
}

// wait returns when it is time to try again, or an error when that is over.
func (w *waiting) wait(ctx context.Context) error {
	d := w.d
	if !w.token {
		select {
		case d.poll <- struct{}{}:
			w.token = true // much may have come while others had it
		case <-ctx.Done():
		case <-d.gone:
		}
		return w.over(ctx)
	}
	// Each look comes behind what may have used up the wake-up of another one.
	if err := w.over(ctx); err != nil {
		return err
	}
	if w.lies > 1 {
		// With a timer of Go's: a thread in a system call costs more.
		d.sleep.Reset(min(firstSleep<<min(w.lies-2, 8), lastSleep))
		select {
		case <-d.sleep.C:
		case <-ctx.Done():
		case <-d.gone:
		}
		if err := w.over(ctx); err != nil {
			return err
		}
	}
	d.sys.wait(d.fd)
	w.lies++
	return w.over(ctx)
}

// over says why there is nothing to wait for any more: EINTR if ctx has ended.
func (w *waiting) over(ctx context.Context) error {
	if ctx.Err() != nil {
		return syscall.EINTR
	}
	select {
	case <-w.d.gone:
		return w.d.why
	default:
		return nil
	}
}

// end lets another one poll.
func (w *waiting) end() {
	if w.token {
		<-w.d.poll
	}
}
