package replay

import (
	"context"
	"fmt"
	"slices"
	"time"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// RunAsHost plays the host's side of a recording against a handler: sessions
// come and go as recorded, and the recorded commands are submitted one after
// the other, in the order of their handles. The handler has to answer each as
// the recorded one did: status, sense, how much data, and the data as far as it
// was recorded, but for that of READs, which depends on writes that no
// recording has whole.
//
// find returns the device of a name once the handler under test has registered
// it. A handler that answers differently is in the Result; the error is that
// find failed, ctx ended, or an *Obstacle.
func RunAsHost(ctx context.Context, rec *trace.Recording, find func(ctx context.Context, name string) (*ucmd.Device, error), o Options) (*Result, error) {
	o.EnsureDefaults()
	p := makePlan(rec.Events)
	if err := findObstacle(rec, p); err != nil {
		return nil, err
	}
	h := &hostRun{opt: o, res: &Result{Events: len(rec.Events)}, sessions: map[*devicePlan][]*player{}, devs: map[*devicePlan]*ucmd.Device{}}
	defer h.closeAll()
	for _, d := range p.devices {
		dev, err := find(ctx, d.desc.Name)
		if err != nil {
			return nil, err
		}
		h.devs[d] = dev
		if h.res.Difference = h.sameDevice(d, dev); h.res.Difference != nil {
			return h.res, nil
		}
	}
	for _, s := range h.steps(p) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if h.res.Difference = h.step(ctx, s); h.res.Difference != nil {
			return h.res, nil
		}
	}
	return h.res, nil
}

// hostRun is the host's side on its way. It belongs to one goroutine.
type hostRun struct {
	opt      Options
	res      *Result
	devs     map[*devicePlan]*ucmd.Device
	sessions map[*devicePlan][]*player
}

// hostStep is one thing that an initiator does.
type hostStep struct {
	d *devicePlan
	w *want
}

// steps are what initiators do on all devices, by when the handler heard of it.
func (h *hostRun) steps(p *plan) (l []hostStep) {
	for _, d := range p.devices {
		for _, w := range d.order {
			if w.kind != wantHidden && w.kind != wantInternal {
				l = append(l, hostStep{d, w})
			}
		}
	}
	slices.SortStableFunc(l, func(a, b hostStep) int {
		if a.d == b.d {
			return int(int64(a.w.h) - int64(b.w.h))
		}
		return int(int64(a.w.first) - int64(b.w.first))
	})
	return l
}

// sameDevice compares what was registered.
func (h *hostRun) sameDevice(d *devicePlan, dev *ucmd.Device) *Difference {
	desc, opt := dev.Desc(), abi.OptOf(dev.GetOptions())
	type device struct {
		Type      uint8   `json:"type"`
		BlockSize uint32  `json:"block_size"`
		Opt       abi.Opt `json:"opt"`
	}
	if f := trace.FieldsThatDiffer(device{d.desc.Type, d.desc.BlockSize, *d.opt}, device{uint8(desc.Type), desc.BlockSize, opt}); len(f) > 0 {
		return &Difference{What: "the handler registered another device " + desc.Name, Fields: f}
	}
	return nil
}

func (h *hostRun) step(ctx context.Context, s hostStep) *Difference {
	ctx, cancel := context.WithTimeout(ctx, h.opt.Timeout)
	defer cancel()
	w := s.w
	if w.kind == wantAttach {
		return h.attach(ctx, s)
	}
	p := h.session(s.d, w.sess)
	if p == nil {
		return nil // of a session from before the recording
	}
	switch w.kind {
	case wantCommand:
		return h.command(ctx, p, w)
	case wantTM:
		return h.taskMgmt(ctx, p, w)
	case wantDetach:
		h.sessions[s.d] = slices.DeleteFunc(h.sessions[s.d], func(x *player) bool { return x == p })
		if err := p.sess.Close(ctx); err != nil {
			return &Difference{What: fmt.Sprintf("the handler does not let go of a session: %v", err)}
		}
	}
	return nil
}

// session finds a session by its recorded name.
func (h *hostRun) session(d *devicePlan, name abi.Addr) *player {
	for _, p := range h.sessions[d] {
		if p.name == name {
			return p
		}
	}
	return nil
}

func (h *hostRun) attach(ctx context.Context, s hostStep) *Difference {
	x := s.w.cmd.Sess
	p := &player{name: s.w.sess, over: make(chan *target.Cmd, 1), tm: make(chan *target.MgmtCmd, 1)}
	sess, err := h.devs[s.d].Target().NewSession(ctx, p, target.SessionInfo{LUN: x.LUN, Initiator: x.InitiatorName, Target: x.TargetName,
		ReadOnly: x.RdOnly != 0, TransportVersion: x.ScsiTransportVersion, PhysVersion: x.PhysTransportVersion})
	if err != nil {
		return &Difference{What: fmt.Sprintf("the handler refuses a session: %v", err)}
	}
	p.sess = sess
	h.sessions[s.d] = append(h.sessions[s.d], p)
	return nil
}

// command submits one command and compares the answer.
func (h *hostRun) command(ctx context.Context, p *player, w *want) *Difference {
	if w.answer == nil || len(w.cdb) == 0 {
		return nil // never answered: the handler was killed, or it was aborted
	}
	for try := 0; ; try++ {
		got, err := p.submit(ctx, w)
		if err != nil {
			return &Difference{What: fmt.Sprintf("the handler does not answer %v h=%d: %v", scsi.Opcode(w.cdb[0]), w.h, err)}
		}
		if got.attention && try < maxAttentions && w.answer.Exec.Status != uint8(scsi.CheckCondition) {
			continue // as initiators do; each is told once
		}
		h.res.Commands++
		f := trace.FieldsThatDiffer(wanted(w, got), got.answer)
		if len(f) == 0 {
			return nil
		}
		return &Difference{What: fmt.Sprintf("the handler answered %v h=%d (%x) otherwise", scsi.Opcode(w.cdb[0]), w.h, w.cdb), Fields: f}
	}
}

// maxAttentions is how often a command is sent again that was told of a
// condition.
const maxAttentions = 8

// answer is how a command ended.
type answer struct {
	Status uint8     `json:"status"`
	Sense  trace.Hex `json:"sense,omitempty"`
	Len    int32     `json:"resp_data_len"`
	Data   trace.Hex `json:"data,omitempty"`
}

// answered is an answer that came.
type answered struct {
	answer
	attention bool
}

// wanted is the recorded answer, with got's data where it does not count, and
// got's is cut to what was recorded.
func wanted(w *want, got *answered) answer {
	x := w.answer.Exec
	a := answer{Status: x.Status, Sense: w.answer.Sense, Data: w.answer.Data}
	if w.dir == scsi.DirRead {
		a.Len = x.RespDataLen
	}
	if x.ReplyType == abi.ExecReplyDoWriteSame {
		a.Status = 0
	}
	switch scsi.Opcode(w.cdb[0]) {
	case scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16:
		a.Data, got.Data = nil, nil
	}
	if n := len(a.Data); len(got.Data) > n {
		got.Data = got.Data[:n]
	}
	return a
}

func (h *hostRun) taskMgmt(ctx context.Context, p *player, w *want) *Difference {
	if target.TMFunc(w.cmd.TM.Fn) == target.AbortTask {
		return nil // the command is over: they come one after the other
	}
	p.sess.TaskMgmt(&target.MgmtCmd{Fn: target.TMFunc(w.cmd.TM.Fn), Session: p.sess})
	select {
	case <-p.tm:
		return nil
	case <-ctx.Done():
		return &Difference{What: fmt.Sprintf("the handler does not answer task management function %d", w.cmd.TM.Fn)}
	}
}

// closeAll ends the sessions that the recording leaves.
func (h *hostRun) closeAll() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, l := range h.sessions {
		for _, p := range l {
			_ = p.sess.Close(ctx) // goes on by itself
		}
	}
}

// player is the front end of one session: one command at a time.
type player struct {
	name abi.Addr
	sess *target.Session
	over chan *target.Cmd // freed
	tm   chan *target.MgmtCmd
}

// playing is a command of a player.
type playing struct {
	w   *want
	got answered
}

// submit sends a command and waits until it is over.
func (p *player) submit(ctx context.Context, w *want) (*answered, error) {
	x := &playing{w: w}
	c := new(target.Cmd)
	c.Init(w.cdb, w.attribute())
	c.Front = x
	c.ExpectedSet, c.ExpectedDir = true, scsi.DirNone
	if w.len > 0 {
		c.ExpectedDir, c.ExpectedLen = w.dir, w.len
	}
	p.sess.Submit(c)
	select {
	case <-p.over:
		return &x.got, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// RdyToXfer implements target.Frontend.
func (p *player) RdyToXfer(c *target.Cmd) target.Verdict {
	n := copy(c.Buf, c.Front.(*playing).w.data)
	clear(c.Buf[n:])
	return target.Continue
}

// XmitResponse implements target.Frontend.
func (p *player) XmitResponse(c *target.Cmd) {
	x := c.Front.(*playing)
	x.got = answered{answer{uint8(c.Status), append(trace.Hex(nil), c.Sense()...), 0, nil}, isAttention(c)}
	if c.Dir == scsi.DirRead {
		x.got.Len, x.got.Data = c.RespLen, append(trace.Hex(nil), c.Data()...)
	}
	c.Delivered(target.Delivered)
}

// Freed implements target.Frontend.
func (p *player) Freed(c *target.Cmd) { p.over <- c }

// AEN implements target.Frontend.
func (p *player) AEN(*target.Session, target.UnitAttention) bool { return false }

// SessionGone implements target.Frontend.
func (p *player) SessionGone(*target.Session) {}

// TMDone implements target.Frontend.
func (p *player) TMDone(m *target.MgmtCmd) { p.tm <- m }
