package replay

import (
	"context"
	"errors"
	"sort"
	"syscall"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// device is one registered device of the host under test, with the names that
// things have in the recording and here.
type device struct {
	plan *devicePlan
	dev  *ucmd.Device
	mem  *memory

	handles    map[uint32]uint32 // ours by recorded
	recorded   map[uint32]uint32 // recorded by ours
	sessions   []*initiator
	current    *initiator          // the session that was used last
	next       int                 // of plan.order: what the initiator does next
	lastAttach uint64              // sess_h of the last ATTACH_SESS that was fetched
	out        int                 // subcommands that are with the handler
	pbuf       map[uint32]abi.Addr // of EXECs, by recorded handle
	stash      []*trace.Cmd        // fetched, and not compared yet
	own        []*ownWrite         // recorded, and not come to yet
	early      []*early            // fetched before their call returned
	calls      map[*call]bool      // entered and not returned
}

// early is a subcommand that another call, which is still open, is to get.
type early struct {
	call *call
	i    int // of its subcommands
}

// canceled makes a fetch return at once.
var canceled = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// fetch gets one subcommand, if one is ready.
func (d *device) fetch() (*trace.Cmd, error) {
	if len(d.stash) > 0 {
		c := d.stash[0]
		d.stash = d.stash[1:]
		return c, nil
	}
	return d.take()
}

// settle lets the host look at what is ready, so that it ends by itself what
// the handler is not to see. What the handler is to see is put by.
func (d *device) settle() error {
	c, err := d.take()
	if c != nil {
		d.stash = append(d.stash, c)
	}
	return err
}

// take is fetch from the host.
func (d *device) take() (*trace.Cmd, error) {
	subs := make([]ucmd.Subcommand, 1)
	_, n, err := d.dev.ReplyAndGet(canceled, nil, subs)
	if n == 0 {
		if errors.Is(err, syscall.EINTR) || errors.Is(err, syscall.EAGAIN) {
			err = nil
		}
		return nil, err
	}
	b := make([]byte, abi.SizeGetCmd)
	k, err := abi.EncodeSubcommand(b, &subs[0])
	if err != nil {
		return nil, err
	}
	c, err := trace.NewCmd(b[:k])
	if err != nil {
		return nil, err
	}
	d.out++
	if x := c.Exec; x != nil && x.DataDirection&1 != 0 && x.PBuf != 0 {
		c.Data = d.mem.read(uint64(x.PBuf), int(x.BuffLen))
	}
	return &c, nil
}

// reply gives one reply as the handler gave it, but for the handle.
func (d *device) reply(r *trace.Reply) error {
	b := make([]byte, abi.SizeReplyCmd)
	a := r.Answer
	if h, ok := d.handles[a.CmdH]; ok {
		a.CmdH = h
	} else {
		a.CmdH = ^uint32(0) // one that the recorded host did not know either
	}
	if err := a.Encode(b); err != nil {
		return err
	}
	var x ucmd.Reply
	var p abi.Pointers
	if err := abi.DecodeReply(b, &x, &p); err != nil {
		return err
	}
	if p.Sense.Len > 0 {
		if x.Sense = r.Sense[:min(len(r.Sense), p.Sense.Len)]; len(r.Sense) == 0 {
			x.BadSense = true // the recorder could not read it
		}
	}
	abi.SetWriteSame(&x, r.WriteSame)
	abi.SetRemap(&x, r.RemapList)
	err := d.dev.Reply(&x)
	if err == nil {
		d.out--
	}
	return err
}

// bind makes a recorded handle and one of this host the same thing.
func (d *device) bind(recorded, ours uint32) {
	d.handles[recorded], d.recorded[ours] = ours, recorded
}

// open are the calls that were entered and have not returned, in that order.
func (d *device) open() []*call {
	l := make([]*call, 0, len(d.calls))
	for c := range d.calls {
		l = append(l, c)
	}
	sort.Slice(l, func(i, j int) bool { return l[i].enter.Seq < l[j].enter.Seq })
	return l
}

// bufferOf is where a READ's reply has its data: what it gives, or what its
// EXEC had.
func (d *device) bufferOf(r *trace.Reply) abi.Addr {
	if a := d.pbuf[r.CmdH]; a != 0 {
		return a
	}
	return r.Exec.PBuf
}

// session finds a session by its recorded name, the one that was attached
// last: names are used again.
func (d *device) session(name abi.Addr) *initiator {
	for i := len(d.sessions) - 1; i >= 0; i-- {
		if d.sessions[i].name == name {
			return d.sessions[i]
		}
	}
	return nil
}

// errnoOf is the errno in an error, 0 for none. EIO stands for an error that
// is none of the interface's.
func errnoOf(err error) trace.Errno {
	var e syscall.Errno
	switch {
	case err == nil:
		return 0
	case errors.As(err, &e):
		return trace.Errno(e)
	}
	return trace.Errno(syscall.EIO)
}
