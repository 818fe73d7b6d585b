package trace

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/ucmd"
)

// EventWriter takes events and returns their sequence numbers: a Writer or a
// Recorder.
type EventWriter interface {
	Write(e *Event) (uint64, error)
}

// Port is a device in this process with a recorder in front of it: what its
// handler says and gets is recorded as the ioctls that it would make in a
// process of its own. It is a port for package handlers, but takes no inline
// handler: everything has to pass here. Its methods may be called from any
// goroutine; a recording that fails ends (Err) and the device goes on.
//
// The handler's memory is not looked at: no command's data is recorded. Threads
// are numbered by how many calls are under way.
type Port struct {
	dev   *ucmd.Device
	w     EventWriter
	start time.Time

	mu   sync.Mutex // guards what follows
	tids []bool     // in use
	err  error
}

// portFile names the open file of a Port; sensePlace is where replies' sense
// data is said to be.
const (
	portFile   = 1
	sensePlace = abi.Addr(0x1000)
)

// NewPort begins to record a device that was registered just now.
func NewPort(dev *ucmd.Device, w EventWriter) *Port {
	p := &Port{dev: dev, w: w, start: time.Now()}
	desc := dev.Desc()
	tid := p.enterTID()
	defer p.leaveTID(tid)
	p.write(&Event{Kind: KindOpen, TID: tid, File: portFile, NonBlock: desc.NonBlocking})
	x := abi.DevDescOf(&desc, sensePlace, sensePlace+abi.Addr(abi.StringMax))
	op := abi.IoctlRegisterDevice.String()
	call := p.write(&Event{Kind: KindEnter, TID: tid, File: portFile, Op: op, In: &In{DevDesc: &x, Version: abi.Version, License: "GPL"}})
	p.write(&Event{Kind: KindExit, TID: tid, File: portFile, Op: op, Call: call})
	return p
}

// ReplyAndGet is ucmd.Device.ReplyAndGet, recorded.
func (p *Port) ReplyAndGet(ctx context.Context, replies []ucmd.Reply, subs []ucmd.Subcommand) (done, n int, err error) {
	tid := p.enterTID()
	defer p.leaveTID(tid)
	in := &In{Multi: &abi.Multi{RepliesCnt: int16(len(replies)), CmdsCnt: int16(len(subs))}}
	for i := range replies {
		in.Replies = append(in.Replies, replyOf(&replies[i]))
	}
	op := abi.IoctlReplyAndGetMulti.String()
	call := p.write(&Event{Kind: KindEnter, TID: tid, File: portFile, Op: op, In: in})
	done, n, err = p.dev.ReplyAndGet(ctx, replies, subs)
	out := &Out{Multi: &abi.Multi{RepliesCnt: int16(len(replies)), RepliesDone: int16(done), CmdsCnt: int16(n)}}
	for i := range subs[:n] {
		out.Cmds = append(out.Cmds, cmdOf(&subs[i]))
	}
	p.exit(tid, op, call, out, err)
	return done, n, err
}

// Prealloc is ucmd.Device.Prealloc, recorded.
func (p *Port) Prealloc(addr uint64, n int, clust bool) (uint32, error) {
	tid := p.enterTID()
	defer p.leaveTID(tid)
	x := &abi.PreallocIn{PBuf: abi.Addr(addr), BuffLen: uint32(n)}
	if clust {
		x.ForClustPool = 1
	}
	op := abi.IoctlPreallocBuffer.String()
	call := p.write(&Event{Kind: KindEnter, TID: tid, File: portFile, Op: op, In: &In{Prealloc: x}})
	h, err := p.dev.Prealloc(addr, n, clust)
	p.exit(tid, op, call, &Out{Prealloc: &abi.PreallocOut{CmdH: h}}, err)
	return h, err
}

// ExtendedCDB is ucmd.Device.ExtendedCDB, recorded.
func (p *Port) ExtendedCDB(h uint32) ([]byte, error) {
	tid := p.enterTID()
	defer p.leaveTID(tid)
	op := abi.IoctlGetExtendedCDB.String()
	call := p.write(&Event{Kind: KindEnter, TID: tid, File: portFile, Op: op, In: &In{ExtCDB: &abi.GetExtCDB{CmdH: h, ExtCDBBuffer: sensePlace}}})
	cdb, err := p.dev.ExtendedCDB(h)
	p.exit(tid, op, call, &Out{ExtCDB: clone(cdb)}, err)
	return cdb, err
}

// Released is ucmd.Device.Released.
func (p *Port) Released() <-chan struct{} { return p.dev.Released() }

// GetOptions is ucmd.Device.GetOptions. It is not recorded.
func (p *Port) GetOptions() ucmd.Opt { return p.dev.GetOptions() }

// End records that the handler has gone. The EventWriter stays open. The error
// is the first that recording met.
func (p *Port) End() error {
	p.write(&Event{Kind: KindRelease, File: portFile})
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// exit records how a call ended.
func (p *Port) exit(tid int, op string, call uint64, out *Out, err error) {
	e := &Event{Kind: KindExit, TID: tid, File: portFile, Op: op, Call: call, Out: out}
	if err != nil {
		errno := syscall.EINVAL
		errors.As(err, &errno)
		e.Ret, e.Errno = -1, Errno(errno)
	}
	p.write(e)
}

// write passes an event on, until one failed.
func (p *Port) write(e *Event) uint64 {
	e.Time = int64(time.Since(p.start))
	seq, err := p.w.Write(e)
	if err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.err == nil {
			p.err = err
		}
	}
	return seq
}

// enterTID finds the lowest number of a thread that is not in a call.
func (p *Port) enterTID() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, used := range p.tids {
		if !used {
			p.tids[i] = true
			return i + 1
		}
	}
	p.tids = append(p.tids, true)
	return len(p.tids)
}

func (p *Port) leaveTID(tid int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tids[tid-1] = false
}

// replyOf is a reply as it would be in memory.
func replyOf(r *ucmd.Reply) Reply {
	var at abi.Pointers
	x := Reply{}
	if len(r.Sense) > 0 {
		x.Sense = clone(r.Sense[:min(len(r.Sense), abi.MaxSense)])
		at.Sense = abi.Span{Addr: sensePlace, Len: len(x.Sense)}
	}
	if len(r.WriteSame) > 0 {
		x.WriteSame = abi.AppendWriteSame(nil, r)
		at.WriteSame = abi.Span{Addr: sensePlace, Len: len(x.WriteSame)}
	}
	if len(r.Remap) > 0 {
		x.RemapList = abi.AppendRemap(nil, r)
		at.Remap = abi.Span{Addr: sensePlace, Len: len(x.RemapList)}
	}
	b := make([]byte, abi.SizeReplyCmd)
	if abi.EncodeReply(b, r, &at) == nil { // else a reply that is refused: as zeros
		_ = x.Decode(b) // is long enough
	}
	return x
}

// cmdOf is a subcommand as it would be in memory.
func cmdOf(s *ucmd.Subcommand) (c Cmd) {
	b := make([]byte, abi.SizeGetCmd)
	if n, err := abi.EncodeSubcommand(b, s); err == nil { // this host's own are good
		_ = c.Decode(b[:n])
	}
	return c
}
