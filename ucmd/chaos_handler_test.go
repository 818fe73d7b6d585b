package ucmd

import (
	"context"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"scstuser/scsi"
)

// getter is one thread of the handler. One that blocks waits until there is
// something, or the device is released.
func (x *chaos) getter(r *rand.Rand, blocks bool) {
	subs := make([]Subcommand, 1+r.IntN(5))
	for {
		patience := time.Duration(r.IntN(2000)) * time.Microsecond
		if blocks {
			patience = time.Minute
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		_, n, err := x.b.dev.ReplyAndGet(ctx, nil, subs)
		cancel()
		if n == 0 {
			if err != syscall.EAGAIN && err != syscall.EINTR {
				x.fails.add("get: %v", err)
			}
			if x.stopped.Load() {
				return
			}
			time.Sleep(time.Duration(r.IntN(100)) * time.Microsecond)
		}
		for i := range subs[:n] {
			if !x.calm.Load() && r.IntN(40) == 0 { // could not be copied
				x.b.dev.Requeue(subs[i].Handle)
				continue
			}
			x.mem.fetched(x.b.dev, &subs[i], x.plan.liar)
			if reply, now := x.decide(r, &subs[i]); now {
				x.answer(r, reply)
			}
		}
		x.answerDue(r)
	}
}

// decide makes the reply to a subcommand; false: not now, or never.
func (x *chaos) decide(r *rand.Rand, s *Subcommand) (reply Reply, now bool) {
	reply = Reply{Handle: s.Handle, Code: s.Code}
	if s.Code == SubParse {
		size := s.BufLen
		if s.OpFlags&scsi.OpBlocksLength != 0 {
			size *= 512
		}
		dir := s.Dir
		if size == 0 {
			dir = scsi.DirNone
		}
		reply = goodParse(*s, dir, size)
	}
	x.mem.answer(s, &reply)
	if x.calm.Load() {
		return reply, true
	}
	switch r.IntN(10) {
	case 0: // later
		x.later(reply)
		return reply, false
	case 1: // never
		if !x.plan.calm && r.IntN(4) == 0 {
			return reply, false
		}
	case 2:
		if s.Code == SubExec {
			reply.Type = ReplyBackground
		}
	case 3, 4:
		c := &chaosCorruptions[r.IntN(len(chaosCorruptions))]
		c.do(x, r, s, &reply)
	}
	if reply.Type == ReplyBackground && s.Dir.Reads() && !x.plan.liar {
		// It would be refused and the buffer free, with the answer to tell us
		// still on its way: live could not be right.
		reply.Type = 77
	}
	return reply, true
}

func (x *chaos) later(reply Reply) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.due = append(x.due, reply)
}

// answer gives a reply. What the handler has for it is free from then on, or
// from the COMPLETED that follows BACKGROUND.
func (x *chaos) answer(r *rand.Rand, reply Reply) {
	background := reply.Code == SubExec && reply.Type == ReplyBackground
	if !background {
		x.mem.over(x.b.dev, reply.Handle)
	}
	x.maybeDie()
	err := x.b.dev.Reply(&reply)
	if background {
		completed := Reply{Handle: reply.Handle, Code: SubExec, Type: ReplyCompleted}
		if err != nil {
			x.mem.over(x.b.dev, reply.Handle) // refused, and over
		} else if x.plan.calm || r.IntN(3) > 0 {
			x.later(completed)
		}
	}
	if x.plan.liar && r.IntN(4) == 0 {
		_ = x.b.dev.Reply(&reply)
	}
}

// maybeDie counts replies; at the last one the release begins beside it, on
// another goroutine.
func (x *chaos) maybeDie() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.left == 0 {
		return
	}
	if x.left--; x.left == 0 {
		go x.die()
	}
}

// answerDue gives one of the late replies, or all when it is calm.
func (x *chaos) answerDue(r *rand.Rand) {
	for {
		x.mu.Lock()
		if len(x.due) == 0 {
			x.mu.Unlock()
			return
		}
		i := r.IntN(len(x.due))
		reply := x.due[i]
		x.due = append(x.due[:i], x.due[i+1:]...)
		x.mu.Unlock()
		x.answer(r, reply)
		if !x.calm.Load() {
			return
		}
	}
}

// control is the handler's administration, and whoever looks at the device.
func (x *chaos) control(r *rand.Rand, over <-chan struct{}) {
	dev := x.b.dev
	rng := sync.Mutex{} // inline handlers run on any goroutine
	inline := func(s *Subcommand, reply *Reply) bool {
		x.mem.fetched(dev, s, x.plan.liar)
		rng.Lock()
		got, now := x.decide(r, s)
		rng.Unlock()
		if !now || got.Type == ReplyBackground && s.Code == SubExec {
			if now {
				x.later(got)
			}
			return false
		}
		x.mem.over(x.b.dev, got.Handle)
		*reply = got
		return true
	}
	for {
		select {
		case <-over:
			dev.SetInline(nil)
			return
		case <-time.After(time.Duration(x.random(&rng, r, 300)) * time.Microsecond):
		}
		h := uint32(x.random(&rng, r, 100))
		switch x.random(&rng, r, 12) {
		case 0:
			if x.plan.flush {
				_ = dev.FlushCache()
			}
		case 1:
			if x.plan.changeOpt {
				o := dev.GetOptions()
				o.OnFree, o.Reuse, o.Parse = uint8(x.random(&rng, r, 2)), uint8(x.random(&rng, r, 4)), uint8(x.random(&rng, r, 3))
				_ = dev.SetOptions(o)
			}
		case 2:
			n := 4096 << x.random(&rng, r, 4)
			pbuf := x.mem.alloc(n)
			if _, err := dev.Prealloc(pbuf, n, h%2 == 0); err == syscall.ENOMEM {
				x.mem.refused(pbuf) // other errors come before the memory is looked at
			}
		case 3:
			dev.CapacityChanged()
		case 4:
			_, _ = dev.ExtendedCDB(h)
		case 5:
			if x.plan.liar {
				dev.Requeue(h)
			}
		case 6:
			if x.plan.liar {
				_ = dev.Reply(&Reply{Handle: h, Code: Subcode(h % 10), Type: ReplyCompleted})
			}
		case 7:
			_ = dev.WriteCommands(io.Discard)
			x.checkRefs()
		case 8:
			if x.plan.inline {
				dev.SetInline(inline)
			}
		case 9:
			dev.SetInline(nil)
		case 10:
			_ = dev.PoolStats()
		case 11:
			if x.plan.liar && h == 0 {
				dev.Unregister()
			}
		}
	}
}

func (x *chaos) random(mu *sync.Mutex, r *rand.Rand, n int) int {
	mu.Lock()
	defer mu.Unlock()
	return r.IntN(n)
}
