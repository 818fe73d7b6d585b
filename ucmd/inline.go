package ucmd

import "sync"

// InlineFunc is a handler in this process that runs on the goroutine which
// made a subcommand ready: the fast path. It fills reply and returns true, or
// keeps a copy of sub and returns false; then it replies with Reply or
// ReplyAndGet later. It must not wait.
//
// Only the scheduling differs from ReplyAndGet: states, references, hash and
// pool see the same steps.
type InlineFunc func(sub *Subcommand, reply *Reply) bool

// SetInline makes f the device's inline handler; nil: everything goes through
// ReplyAndGet. Subcommands that are queued already are run now, or wake
// getters. A goroutine that is inside the former handler finishes there what
// it has fetched.
func (d *Device) SetInline(f InlineFunc) {
	if f != nil {
		d.inline.Store(&f)
		d.kick()
		return
	}
	d.inline.Store(nil)
	d.mu.Lock()
	d.wakeAll() // nobody was woken for what was queued till now
	d.mu.Unlock()
}

// inlineCall is what one pump needs; pooled, as it would escape.
type inlineCall struct {
	sub   Subcommand
	reply Reply
}

var inlineCalls = sync.Pool{New: func() any { return new(inlineCall) }}

// pumpMax is how many subcommands one pump runs before it looks for a getter
// that has the time, so that a connection's goroutine is not kept by the
// others' work.
const pumpMax = 64

// maxPumps is how many pumps of one device are under way at most, nested ones
// included.
const maxPumps = 64

// kick sees to it that what is ready is fetched. Callers have no lock.
func (d *Device) kick() {
	d.mu.Lock()
	d.kickUnlock()
}

// kickUnlock is kick for a caller that holds mu, which is released. With an
// inline handler this goroutine does the work; without one a getter was woken
// when the ucmd was queued; after a release nobody is left to, and what is
// ready is given up.
func (d *Device) kickUnlock() {
	f := d.inline.Load()
	if f != nil && d.readyFirst != nil {
		if d.pumps < maxPumps {
			d.pump(*f)
			return
		}
		// Those pumps go on until nothing is ready. Without this a long list
		// would nest: each command's on-free pumps the next command.
		d.mu.Unlock()
		return
	}
	d.mu.Unlock()
	if d.over.Load() {
		d.unjamAllReady()
	}
}

// pump fetches and runs what is ready. Caller holds mu, which is released.
func (d *Device) pump(f InlineFunc) {
	d.pumps++
	x := inlineCalls.Get().(*inlineCall)
	for n := 1; d.take(&x.sub); n++ {
		d.mu.Unlock()
		x.reply = Reply{Handle: x.sub.Handle, Code: x.sub.Code}
		answered := f(&x.sub, &x.reply)
		d.mu.Lock()
		if answered {
			// This can only fail for a ucmd that was unjammed meanwhile, or
			// for a reply that makes no sense; either way its command has
			// been answered.
			_ = d.reply(&x.reply)
		}
		if n%pumpMax == 0 && d.wakeOne() {
			break
		}
	}
	d.pumps--
	d.mu.Unlock()
	inlineCalls.Put(x)
}
