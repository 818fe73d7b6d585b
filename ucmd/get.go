package ucmd

import (
	"context"
	"syscall"
)

// The errnos of the interface, as errors.
const (
	errEAGAIN    = syscall.EAGAIN
	errEEXIST    = syscall.EEXIST
	errEFAULT    = syscall.EFAULT
	errEINVAL    = syscall.EINVAL
	errENOMEM    = syscall.ENOMEM
	errEOVERFLOW = syscall.EOVERFLOW
	errESRCH     = syscall.ESRCH
)

// waiter is a getter that waits; the channel has room for one token, so that
// waking never waits.
type waiter struct{ ch chan struct{} }

// newWaiter returns a waiter without a token. Caller holds mu.
func (d *Device) newWaiter() *waiter {
	n := len(d.idleWaiters)
	if n == 0 {
		return &waiter{ch: make(chan struct{}, 1)}
	}
	w := d.idleWaiters[n-1]
	d.idleWaiters = d.idleWaiters[:n-1]
	return w
}

// ReplyAndGet gives the handler's replies, in order, and then fetches up to
// len(subs) subcommands into subs: the interface's REPLY_AND_GET_MULTI (rules
// R23 to R34). done is how many replies were processed without an error; after
// a bad one nothing is fetched and err is its errno (ESRCH, EINVAL, EFAULT,
// EOVERFLOW); replies[done] is then the bad one and is consumed.
//
// Only the first fetch waits, and not on a non-blocking device: EAGAIN when
// there is nothing, also when the device is being released. A ctx that ends
// while waiting gives EINTR. Several goroutines may call it at once.
func (d *Device) ReplyAndGet(ctx context.Context, replies []Reply, subs []Subcommand) (done, n int, err error) {
	d.mu.Lock()
	for done < len(replies) && err == nil {
		if err = d.reply(&replies[done]); err == nil {
			done++
		}
	}
	for n < len(subs) && err == nil {
		switch {
		case d.take(&subs[n]):
			n++
		case n > 0:
			subs = subs[:n]
		case d.nonBlocking, d.released:
			err = errEAGAIN
		default:
			err = d.wait(ctx)
		}
	}
	d.mu.Unlock()
	return done, n, err
}

// take fetches one subcommand into s; false: none is ready, or the release has
// begun and its worker takes care of what is. Caller holds mu, which may be
// released and taken again meanwhile.
func (d *Device) take(s *Subcommand) bool {
	if d.released {
		return false
	}
	u := d.next()
	if u == nil {
		return false
	}
	if d.released { // the lock was free in next
		d.linkReady(u, AtFront)
		return false
	}
	d.deliver(u, s)
	return true
}

// deliver makes u a fetched subcommand. Caller holds mu.
func (d *Device) deliver(u *Ucmd, s *Subcommand) {
	u.sentToUser, u.seenByUser = true, true
	d.note(u, EvFetched)
	// The module takes a reference while it copies to the handler; nothing
	// can come between here, but the events are the same.
	d.get(u, OwnerTransient)
	d.fill(u, s)
	d.put(u, OwnerTransient)
}

// fill writes the subcommand of u's state. Caller holds mu.
func (d *Device) fill(u *Ucmd, s *Subcommand) {
	*s = Subcommand{Handle: u.h, Code: Subcode(u.state)}
	switch u.state {
	case StateParsing:
		d.fillParse(u, s)
	case StateBufAllocing:
		d.fillAlloc(u, s)
	case StateExecing:
		d.fillExec(u, s)
	case StateOnFreeing:
		d.fillOnFree(u, s)
	case StateOnCacheFreeing:
		s.PBuf = u.ubuff
	case StateRemapping:
		s.SessH = u.cmd.Session().Handle()
		s.Remap = &u.remap.segment
	case StateTMReceived, StateTMDone:
		d.fillTM(u, s)
	case StateAttachSess:
		d.fillAttach(u, s)
	case StateDetachSess:
		s.SessH = u.sessH
	}
}

// wait sleeps until a getter is wanted; EINTR if ctx ends first. Caller holds
// mu, which is released and taken again meanwhile. The getter that began to
// wait last is woken first (fact 18): its caches are warm.
func (d *Device) wait(ctx context.Context) error {
	w := d.newWaiter()
	d.waiters = append(d.waiters, w)
	d.mu.Unlock()
	woken := true
	select {
	case <-w.ch:
	case <-ctx.Done():
		woken = false
	}
	d.mu.Lock()
	defer func() { d.idleWaiters = append(d.idleWaiters, w) }()
	if woken {
		return nil
	}
	d.stopWaiting(w)
	return syscall.EINTR
}

// stopWaiting takes w, which has not seen a token, off the list. A token that
// came at the same moment is passed on. Caller holds mu.
func (d *Device) stopWaiting(w *waiter) {
	for i, x := range d.waiters {
		if x == w {
			d.waiters = append(d.waiters[:i], d.waiters[i+1:]...)
			return
		}
	}
	<-w.ch
	d.wakeOne()
}

// wakeOne wakes a getter, if there is work for one; false: nobody was woken.
// Caller holds mu.
func (d *Device) wakeOne() bool {
	n := len(d.waiters)
	if n == 0 || d.readyFirst == nil {
		return false
	}
	w := d.waiters[n-1]
	d.waiters = d.waiters[:n-1]
	w.ch <- struct{}{}
	return true
}

// wakeAll wakes every getter. Caller holds mu.
func (d *Device) wakeAll() {
	for _, w := range d.waiters {
		w.ch <- struct{}{}
	}
	d.waiters = nil
}

// Poll says whether a fetch would find something (fact 17).
func (d *Device) Poll() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.readyFirst != nil
}

// Requeue gives a fetched subcommand back that could not be copied to the
// handler: it is the next one fetched, and stays marked as sent (rule R27,
// fact 14). It is ignored for a handle that is not with the handler: the
// command was ended meanwhile.
func (d *Device) Requeue(h uint32) {
	d.mu.Lock()
	if u := d.find(h); u != nil && u.sentToUser && !u.onReady {
		d.linkReady(u, AtFront)
	}
	d.kickUnlock()
}
