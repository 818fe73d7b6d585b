package node

import (
	"context"
	"errors"
	"syscall"

	"scstuser/ioctl/abi"
)

// replyOnly is REPLY_CMD.
func (x *request) replyOnly() (int32, syscall.Errno, []byte) {
	b := &x.batch
	b.raw = append(b.raw[:0], x.In[:abi.SizeReplyCmd]...)
	b.decode(x, 1)
	_, _, err := b.give(context.Background(), x, 1, nil)
	return 0, numberOf(err), nil
}

// getOne is REPLY_AND_GET_CMD (rules R23 to R27).
func (x *request) getOne(ctx context.Context) (int32, syscall.Errno, []byte) {
	x.takeRestart(x.TID)
	b := &x.batch
	preply, err := abi.PReply(x.In)
	if err != nil {
		return 0, syscall.EFAULT, nil
	}
	replies := 0
	if preply != 0 {
		b.raw = grown(b.raw, abi.SizeReplyCmd)
		if b.read(x.Mem, preply, b.raw) != len(b.raw) {
			return 0, syscall.EFAULT, nil
		}
		b.decode(x, 1)
		replies = 1
	}
	_, n, err := x.fetch(ctx, b, replies, 1, x.Arg)
	switch {
	case errors.Is(err, syscall.EINTR) && !x.host.opt.InterruptErrno:
		// The reply is consumed: a restart must not give it again (F4).
		out := x.outBuf()
		_ = abi.PutPReply(out, 0)
		copy(out[:8], x.In)
		return restartSys, 0, out
	case err != nil:
		return 0, numberOf(err), nil
	}
	out := x.outBuf()
	copy(out, b.out[:n*b.lens[0]])
	return 0, 0, out
}

// multi is REPLY_AND_GET_MULTI (rules R28 to R30, facts 12 to 15, 19).
func (x *request) multi(ctx context.Context) (int32, syscall.Errno, []byte) {
	var m abi.Multi
	if err := m.Decode(x.In); err != nil {
		return 0, syscall.EFAULT, nil
	}
	replies, room, before := m.Replies(), m.Room(), 0
	if r, ok := x.takeRestart(x.TID); ok && r.arg == x.Arg && string(r.left[:]) == string(x.In[:abi.SizeMulti]) {
		room, before = r.room, r.done
	}
	b := &x.batch
	done, n, err := x.multiSteps(ctx, b, &m, replies, room)

	out := x.outBuf()
	m.RepliesDone, m.CmdsCnt = int16(before+done), int16(n)
	interrupted := errors.Is(err, syscall.EINTR)
	if interrupted {
		m.RepliesCnt = 0 // consumed: a restart must not give them again (F4)
	}
	_ = m.Encode(out) // has room
	switch {
	case interrupted && !x.host.opt.InterruptErrno:
		r := restart{arg: x.Arg, room: room, done: before + done}
		copy(r.left[:], out)
		x.saveRestart(x.TID, r)
		return restartSys, 0, out
	case err != nil:
		return -int32(numberOf(err)), 0, out // with the out buffer (R30, F3)
	}
	return 0, 0, out
}

// multiSteps takes the replies in steps of a batch and fetches with the last.
func (x *request) multiSteps(ctx context.Context, b *batch, m *abi.Multi, replies, room int) (done, n int, err error) {
	most := x.host.opt.Batch
	home := abi.MultiCmdAddr(x.Arg, 0)
	for {
		step := min(replies-done, most)
		if step > 0 {
			b.raw = grown(b.raw, step*abi.SizeReplyCmd)
			there := b.read(x.Mem, m.MultiReplyAddr(done), b.raw) / abi.SizeReplyCmd
			b.decode(x, there)
			if there < step {
				k, _, err := b.give(ctx, x, there, nil)
				if err == nil {
					err = syscall.EFAULT
				}
				return done + k, 0, err
			}
		}
		if last := done+step == replies; last {
			k, n, err := x.fetch(ctx, b, step, min(room, most), home)
			return done + k, n, err
		}
		k, _, err := b.give(ctx, x, step, nil)
		done += k
		if err != nil {
			return done, 0, err
		}
	}
}

// fetch gives the decoded replies and delivers up to room subcommands. It waits
// for the first, if the device is a blocking one, and a little if not (F5). An
// interrupted wait is EINTR.
func (x *request) fetch(ctx context.Context, b *batch, replies, room int, home abi.Addr) (done, n int, err error) {
	b.subs = grown(b.subs, room)
	done, got, err := b.give(ctx, x, replies, b.subs)
	if err == error(syscall.EAGAIN) && done == replies {
		x.dev.WaitReady(ctx, x.emptyWait())
		_, got, err = x.dev.ReplyAndGet(ctx, nil, b.subs[:room])
	}
	for err == nil && room > 0 {
		n, err = b.deliver(x, got, home)
		if x.nonBlocking {
			x.host.idle.came(x.TID)
		}
		if n > 0 || err != nil {
			return done, n, err
		}
		// Every command that was fetched has been ended: next.
		b.subs = grown(b.subs, room)
		_, got, err = x.dev.ReplyAndGet(ctx, nil, b.subs)
	}
	return done, 0, err
}

// numberOf is the errno in an error of ucmd's fast paths.
func numberOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var e syscall.Errno // is on the heap, for As
	if errors.As(err, &e) {
		return e
	}
	return syscall.EINVAL
}
