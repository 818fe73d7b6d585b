package ucmd

import (
	"context"
	"sync"
)

// InlineFunc is a handler in this process that runs on the goroutine which
// made a subcommand ready: the fast path. It fills reply and returns true, or
// keeps a copy of sub and returns false; then it replies with Reply or
// ReplyAndGet later. It must not wait.
//
// Only the scheduling differs from ReplyAndGet: states, references, hash and
// pool see the same steps.
type InlineFunc func(sub *Subcommand, reply *Reply) bool

// SetInline makes f the device's inline handler; nil: everything goes through
// ReplyAndGet. Subcommands that are queued already are run now.
func (d *Device) SetInline(f InlineFunc) {
	if f == nil {
		d.inline.Store(nil)
		return
	}
	d.inline.Store(&f)
	d.kick()
}

// inlineCall is what one pump needs; pooled, as it would escape.
type inlineCall struct {
	sub   Subcommand
	reply Reply
}

var inlineCalls = sync.Pool{New: func() any { return new(inlineCall) }}

// pumpMax bounds how many subcommands one pump runs, so that a connection's
// goroutine is not kept by the others' work: they pump their own.
const pumpMax = 64

// kick sees to it that what is ready is fetched. Callers have no lock. With
// an inline handler this goroutine does the work; otherwise a getter was woken
// when the ucmd was queued.
func (d *Device) kick() {
	f := d.inline.Load()
	if f == nil {
		return
	}
	x := inlineCalls.Get().(*inlineCall)
	for n := 0; ; n++ {
		if n == pumpMax {
			d.mu.Lock()
			d.wakeOne() // somebody who has the time
			d.mu.Unlock()
			break
		}
		if d.fetch(context.Background(), &x.sub, false) != nil {
			break
		}
		x.reply = Reply{Handle: x.sub.Handle, Code: x.sub.Code}
		if (*f)(&x.sub, &x.reply) {
			// A reply can only fail here for a ucmd that was unjammed
			// meanwhile; its command has been answered then.
			_ = d.Reply(&x.reply)
		}
	}
	inlineCalls.Put(x)
}
