package client

import (
	"context"
	"errors"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// ReplyAndGet implements handlers.Port. It waits on a non-blocking device too
// (see the package comment): serve it without handlers.Options.NonBlocking.
// EAGAIN says that the node released the device, EINTR that ctx has ended; what
// ends any ctx that was given here ends blocking for good. Errors with ErrGone
// say that nothing more will come.
func (d *Device) ReplyAndGet(ctx context.Context, replies []ucmd.Reply, subs []ucmd.Subcommand) (done, n int, err error) {
	f, err := d.enter()
	if err != nil {
		return 0, 0, err
	}
	defer d.leave(f)
	if len(subs) > 0 {
		defer d.unwatch(d.watch(ctx))
	}
	w := waiting{d: d}
	defer w.end()
	for {
		room := subs
		if len(subs) > 0 && ctx.Err() != nil {
			room = nil // what is ours to give is given
		}
		took, n, err := d.exchange(f, replies[done:], room)
		done += took
		switch {
		case n > 0:
			return done, n, err
		case err == nil && done < len(replies):
			continue // there was no room for all in one ioctl
		case err == nil && len(room) < len(subs):
			return done, 0, syscall.EINTR
		case err == nil && len(subs) == 0:
			return done, 0, nil
		case err == nil:
			continue // answered here
		case errors.Is(err, syscall.EINTR):
			continue
		case !errors.Is(err, syscall.EAGAIN):
			return done, 0, err
		}
		if !d.polling.Load() {
			return done, 0, syscall.EAGAIN
		}
		if err := w.wait(ctx); err != nil && done == len(replies) {
			return done, 0, err
		}
	}
}

// exchange gives replies and gets subcommands with one ioctl. took is how many
// replies were taken; if that is not all of them, replies[took] was refused
// with err, or err is nil, EINTR or EAGAIN and it was not looked at.
func (d *Device) exchange(f *frame, replies []ucmd.Reply, subs []ucmd.Subcommand) (took, n int, err error) {
	given, bad := f.encode(replies)
	if given < len(replies) {
		subs = nil // the others come first
	}
	if given == 0 && bad != nil {
		return 0, 0, d.errorf("reply", errors.Join(bad, syscall.EINVAL))
	}
	var nr abi.Ioctl
	var errno syscall.Errno
	switch {
	case given == 0 && len(subs) == 0:
		return 0, 0, nil
	case given == 1 && len(subs) == 0:
		nr = abi.IoctlReplyCmd
		took, errno = d.replyCmd(f)
	case given <= 1 && len(subs) == 1:
		nr = abi.IoctlReplyAndGetCmd
		took, n, errno = d.replyAndGetCmd(f, given)
	default:
		nr = abi.IoctlReplyAndGetMulti
		took, n, errno = d.replyAndGetMulti(f, given, min(len(subs), f.room))
	}
	d.forgetLong(replies[:took])
	n, err = d.decode(f, nr, subs, n)
	switch errno {
	case 0:
		return took, n, err
	case syscall.EINTR, syscall.EAGAIN, syscall.ESRCH, syscall.EINVAL, syscall.EFAULT, syscall.EOVERFLOW:
		return took, n, errno // as they are: this is no place to allocate
	}
	return took, n, d.failed(nr, errno)
}

// replyCmd gives the first reply of the frame.
func (d *Device) replyCmd(f *frame) (took int, errno syscall.Errno) {
	if errno = d.sys.ioctl(d.fd, abi.IoctlReplyCmd, f.at(f.reply(0))); errno == 0 {
		took = 1
	}
	return took, errno
}

// replyAndGetCmd gives the first reply of the frame, if given is not 0, and gets
// one subcommand.
func (d *Device) replyAndGetCmd(f *frame, given int) (took, n int, errno syscall.Errno) {
	var preply abi.Addr
	if given > 0 {
		preply = f.at(f.reply(0))
	}
	_ = abi.PutPReply(f.mem, preply) // has room
	switch errno = d.sys.ioctl(d.fd, abi.IoctlReplyAndGetCmd, f.at(0)); errno {
	case 0:
		return given, 1, 0
	case syscall.EAGAIN, syscall.EINTR:
		return given, 0, errno // of the get, which comes after the reply (rule R23)
	}
	return 0, 0, errno
}

// replyAndGetMulti gives the frame's first replies and gets up to room
// subcommands.
func (d *Device) replyAndGetMulti(f *frame, given, room int) (took, n int, errno syscall.Errno) {
	x := abi.Multi{PReplies: f.at(f.replies), RepliesCnt: int16(given), CmdsCnt: int16(room)}
	head := f.mem[f.multi:]
	_ = x.Encode(head) // has room
	errno = d.sys.ioctl(d.fd, abi.IoctlReplyAndGetMulti, f.at(f.multi))
	_ = x.Decode(head)
	took, n = min(max(int(x.RepliesDone), 0), given), min(x.Room(), room)
	switch {
	case errno == 0:
		return given, n, 0
	case n == room:
		n = 0 // with an error fewer came; a node that is gone writes nothing
	}
	return took, n, errno
}

// decode reads the n subcommands that an ioctl brought into subs, and returns
// how many of them are for the handler: it answers those that nobody knows.
func (d *Device) decode(f *frame, nr abi.Ioctl, subs []ucmd.Subcommand, n int) (kept int, err error) {
	for i := range n {
		b := f.mem[:abi.SizeGetCmd]
		if nr == abi.IoctlReplyAndGetMulti {
			b = f.command(i)
		}
		s := &subs[kept]
		if derr := abi.DecodeSubcommand(b, s); derr != nil {
			err = errors.Join(err, d.answerUnknown(b))
			continue
		}
		if int(s.CDBLen) > len(s.CDB) {
			d.rememberLong(s)
		}
		kept++
	}
	return kept, err
}

// answerUnknown answers a subcommand that a newer node sent (rule R26): the
// command that it is for ends then, instead of staying for ever.
func (d *Device) answerUnknown(cmd []byte) error {
	var c abi.Command
	_ = c.Decode(cmd) // the header is there, the rest nobody knows
	f, err := d.enter()
	if err != nil {
		return err
	}
	defer d.leave(f)
	result := -int32(syscall.EINVAL)
	a := abi.Answer{CmdH: c.CmdH, Subcode: c.Subcode, Result: &result}
	if err := a.Encode(f.mem[f.reply(0):]); err != nil {
		return err
	}
	if _, errno := d.replyCmd(f); fatal(errno) {
		return d.failed(abi.IoctlReplyCmd, errno)
	}
	return nil // refused: then the node has ended it by that
}
