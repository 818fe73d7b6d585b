package replay

import (
	"sort"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/node"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// device is one registered device of the host under test, with the names that
// things have in the recording and here.
type device struct {
	plan  *devicePlan
	file  *node.File
	dev   *ucmd.Device // what file registered
	mem   *memory
	multi bool // the handler uses REPLY_AND_GET_MULTI

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
