package ucmd

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"scstuser/scsi"
)

// getter is one thread of the handler.
func (x *chaos) getter(r *rand.Rand) {
	subs := make([]Subcommand, 1+r.IntN(5))
	for {
		ctx, cancel := context.WithTimeout(context.Background(), time.Duration(r.IntN(2000))*time.Microsecond)
		_, n, err := x.b.dev.ReplyAndGet(ctx, nil, subs)
		cancel()
		if n == 0 {
			if err != syscall.EAGAIN && err != syscall.EINTR {
				x.fail("get: %v", err)
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
			x.fetched(&subs[i])
			if reply, now := x.decide(r, &subs[i]); now {
				x.answer(r, reply)
			}
		}
		x.answerDue(r)
	}
}

// fetched notes what a subcommand says about buffers.
func (x *chaos) fetched(s *Subcommand) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case s.Code == SubExec && s.PBuf != 0 && !x.plan.liar:
		if h, busy := x.live[s.PBuf]; busy && h != s.Handle {
			x.failures = append(x.failures, fmt.Sprintf("I3: buffer %#x serves h=%d and h=%d", s.PBuf, h, s.Handle))
		}
		x.live[s.PBuf] = s.Handle
	case s.Code == SubOnFree && s.PBuf != 0 && !s.BufferCached, s.Code == SubOnCachedMemFree:
		x.givenBack[s.PBuf]++
		if h, busy := x.live[s.PBuf]; busy && !x.plan.liar {
			x.failures = append(x.failures, fmt.Sprintf("I3: buffer %#x is given back while h=%d has it", s.PBuf, h))
		}
	}
}

// notLive: the handler is done with what h has.
func (x *chaos) notLive(h uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for addr, owner := range x.live {
		if owner == h {
			delete(x.live, addr)
		}
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
	switch r.IntN(40) {
	case 0: // for another subcommand
		reply.Code = []Subcode{SubParse, SubAllocMem, SubExec, SubOnFree, SubTMDone, 0x7f}[r.IntN(6)]
	case 1, 2, 3, 4: // later
		x.later(reply)
		return reply, false
	case 5: // never
		if !x.plan.calm {
			return reply, false
		}
	case 7:
		reply.PBuf = []uint64{0, 0x1000, 0x1001, 1<<64 - 4096}[r.IntN(4)]
	case 8:
		reply.RespDataLen = int32(r.Uint32())
	case 9:
		reply.Status = scsi.CheckCondition
		reply.Sense = scsi.SenseInvalidFieldInCDB.AppendFixed(nil)[:18*r.IntN(2)]
		reply.BadSense = r.IntN(2) == 0
	case 10:
		reply.Status = scsi.Status(r.Uint32())
	case 11, 12, 13:
		if s.Code == SubExec {
			reply.Type = ReplyBackground
		}
	case 14:
		reply.Type = ReplyDoWriteSame
	case 15:
		reply.Type = ReplyType(r.Uint32())
	case 16:
		reply.Result = int32(r.Uint32())
	case 17:
		if s.Code == SubParse {
			reply.BufLen, reply.OutBufLen, reply.Dir = int32(r.Uint32()>>r.IntN(32)), int32(r.Uint32()>>r.IntN(32)), scsi.Dir(1+r.IntN(4))
		}
	case 18:
		if s.Code == SubParse {
			reply.QueueType, reply.LBA, reply.OpFlags = scsi.QueueType(r.IntN(6)), r.Int64(), r.Uint32()
		}
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
		x.notLive(reply.Handle)
	}
	err := x.b.dev.Reply(&reply)
	if background {
		completed := Reply{Handle: reply.Handle, Code: SubExec, Type: ReplyCompleted}
		if err != nil {
			x.notLive(reply.Handle) // refused, and over
		} else if x.plan.calm || r.IntN(3) > 0 {
			x.later(completed)
		}
	}
	if x.plan.liar && r.IntN(4) == 0 {
		_ = x.b.dev.Reply(&reply)
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
		x.fetched(s)
		rng.Lock()
		got, now := x.decide(r, s)
		rng.Unlock()
		if !now || got.Type == ReplyBackground && s.Code == SubExec {
			if now {
				x.later(got)
			}
			return false
		}
		x.notLive(got.Handle)
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
			if _, err := dev.Prealloc(pbuf, n, h%2 == 0); err != nil {
				x.mem.refused(pbuf)
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
			x.b.checkRefs()
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
