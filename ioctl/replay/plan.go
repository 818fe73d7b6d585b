package replay

import (
	"encoding/binary"
	"sort"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/scsi"
)

// plan is what a recording implies, found by reading it once.
type plan struct {
	calls   map[uint64]*call // by Seq of enter
	devices []*devicePlan    // in the order of their registrations
	// byCall says which device a call belongs to: descriptors are used again.
	byCall map[uint64]*devicePlan
}

// call is one recorded call.
type call struct {
	enter *trace.Event
	exit  *trace.Event // nil: it never returned
}

// devicePlan is one registration and what went through it.
type devicePlan struct {
	number int // of the registration
	file   int
	wants  map[uint32]*want // by recorded handle
	order  []*want          // by handle, those that begin with the initiator
	bad    map[abi.Addr]bool
	last   uint64   // Seq of its last event
	given  []uint64 // Seqs of the calls that brought replies
	pool   *poolModel
	desc   *abi.DevDesc // of the registration
	opt    *abi.Opt     // those that are set last
}

// wantKind says how a handle comes into being.
type wantKind int

const (
	wantOther    wantKind = iota // PREALLOC, or begun before the recording
	wantCommand                  // the initiator submits a command
	wantInternal                 // the host submits one by itself
	wantHidden                   // a command that the handler never saw
	wantAttach
	wantDetach
	wantTM
)

// want is what one recorded handle stands for.
type want struct {
	h     uint32
	kind  wantKind
	first uint64    // Seq of the exit that first delivered it, 0: never
	cmd   trace.Cmd // its first subcommand: ATTACH_SESS, TASK_MGMT_RECEIVED, or of a command
	sess  abi.Addr
	cdb   []byte
	queue scsi.QueueType
	dir   scsi.Dir
	len   int32 // bytes that the initiator expects
	data  []byte
	// writes says that the handler wants the host to do it as WRITEs, of
	// these ranges (WRITE SAME).
	writes bool
	ranges []byte
	exec   bool // EXEC was delivered
	stages int  // subcommands that were delivered of it
	begun  bool // the initiator has done its part

	answered int          // replies that were given to it
	answer   *trace.Reply // its last EXEC reply, nil: none
}

// makePlan reads the events.
func makePlan(events []*trace.Event) *plan {
	p := &plan{calls: map[uint64]*call{}, byCall: map[uint64]*devicePlan{}}
	live := map[int]*devicePlan{} // by file
	for _, e := range events {
		switch e.Kind {
		case trace.KindEnter:
			p.calls[e.Seq] = &call{enter: e}
			if e.Op == abi.IoctlRegisterDevice.String() && e.In != nil && e.In.DevDesc != nil {
				d := &devicePlan{number: len(p.devices), pool: newPoolModel(), file: e.File, wants: map[uint32]*want{}, bad: map[abi.Addr]bool{}}
				if live[e.File] == nil {
					live[e.File] = d
					p.devices = append(p.devices, d)
				}
			}
			if d := live[e.File]; d != nil {
				p.byCall[e.Seq] = d
				d.enter(e)
			}
		case trace.KindExit:
			c := p.calls[e.Call]
			if c == nil {
				continue
			}
			c.exit = e
			d := p.byCall[e.Call]
			if e.Op == abi.IoctlRegisterDevice.String() && e.Errno != 0 && d != nil && len(d.wants) == 0 {
				delete(live, e.File) // the file has no device
			}
			if d != nil {
				d.exit(c)
			}
		case trace.KindRelease:
			delete(live, e.File)
		}
	}
	for _, d := range p.devices {
		d.finish()
	}
	return p
}

// enter looks for replies that make the host submit commands by itself.
func (d *devicePlan) enter(e *trace.Event) {
	d.last = e.Seq
	d.pool.enter(e)
	if e.In == nil {
		return
	}
	if len(e.In.Replies) > 0 {
		d.given = append(d.given, e.Seq)
	}
	if e.In.Opt != nil {
		d.opt = e.In.Opt
	}
	if e.In.DevDesc != nil && d.desc == nil {
		d.desc, d.opt = e.In.DevDesc, &e.In.DevDesc.Opt
	}
	for i := range e.In.Replies {
		r := &e.In.Replies[i]
		if r.Exec != nil {
			d.want(r.CmdH).answer = r
		}
		if r.Exec != nil && r.Exec.ReplyType == abi.ExecReplyDoWriteSame {
			w := d.want(r.CmdH)
			w.writes, w.ranges = true, r.WriteSame
		}
	}
}

// exit takes note of what was delivered.
func (d *devicePlan) exit(c *call) {
	e := c.exit
	d.last = e.Seq
	d.pool.exit(c)
	if e.Errno != 0 && c.enter.In != nil {
		d.badAddresses(c)
	}
	if e.Out == nil {
		return
	}
	if p := e.Out.Prealloc; p != nil && e.Errno == 0 {
		d.want(p.CmdH).first = e.Seq
	}
	for i := range e.Out.Cmds {
		d.cmd(e, &e.Out.Cmds[i])
	}
}

// badAddresses remembers which buffers the recorded host could not reach.
func (d *devicePlan) badAddresses(c *call) {
	if c.exit.Errno.String() != "EFAULT" {
		return
	}
	in := c.enter.In
	if in.Prealloc != nil {
		d.bad[in.Prealloc.PBuf] = true
	}
	done := 0
	if c.exit.Out != nil && c.exit.Out.Multi != nil {
		done = int(c.exit.Out.Multi.RepliesDone)
	}
	if done < 0 || done >= len(in.Replies) {
		return
	}
	if r := in.Replies[done]; r.Alloc != nil {
		d.bad[r.Alloc.PBuf] = true
	}
}

func (d *devicePlan) want(h uint32) *want {
	w := d.wants[h]
	if w == nil {
		w = &want{h: h}
		d.wants[h] = w
	}
	return w
}

// cmd takes note of one subcommand.
func (d *devicePlan) cmd(e *trace.Event, c *trace.Cmd) {
	w := d.want(c.CmdH)
	if w.first == 0 {
		w.first, w.cmd = e.Seq, *c
	}
	w.stages++
	switch {
	case c.Subcode == abi.SubcodeAttachSess && c.Sess != nil:
		w.kind, w.sess, w.cmd = wantAttach, c.Sess.SessH, *c
	case c.Subcode == abi.SubcodeDetachSess && c.Sess != nil:
		w.kind, w.sess, w.cmd = wantDetach, c.Sess.SessH, *c
	case c.Subcode == abi.SubcodeTMReceived && c.TM != nil:
		w.kind, w.sess, w.cmd = wantTM, c.TM.SessH, *c
	case c.Parse != nil:
		x := c.Parse
		w.command(x.SessH, x.CDB, x.CDBLen, x.QueueType, x.DataDirection, x.BuffLen)
		if x.ExpectedValuesSet != 0 {
			w.dir, w.len = scsi.Dir(x.ExpectedDataDirection), x.ExpectedTransferLen
		}
	case c.AllocMem != nil:
		x := c.AllocMem
		if w.kind != wantCommand {
			w.command(x.SessH, x.CDB, x.CDBLen, x.QueueType, x.DataDirection, x.AllocLen)
		}
	case c.Exec != nil:
		x := c.Exec
		w.exec = true
		parsed := w.kind == wantCommand && w.cmd.Parse != nil
		if !parsed {
			w.command(x.SessH, x.CDB, x.CDBLen, x.QueueType, x.DataDirection, x.BuffLen)
		}
		if len(c.Data) > 0 {
			w.data = c.Data
		}
	}
}

func (w *want) command(s abi.Addr, cdb abi.CDB, n uint16, queue, dir uint8, length int32) {
	w.kind, w.sess, w.queue = wantCommand, s, scsi.QueueType(queue)
	w.dir, w.len = scsi.Dir(dir), length
	w.cdb = append([]byte(nil), cdb[:min(int(n), len(cdb))]...)
}

// finish puts handles in order, fills the gaps, and tells the host's own
// commands from the initiator's.
func (d *devicePlan) finish() {
	hs := make([]uint32, 0, len(d.wants))
	for h := range d.wants {
		hs = append(hs, h)
	}
	sort.Slice(hs, func(i, j int) bool { return hs[i] < hs[j] })
	for i, h := range hs {
		// A gap of more than a few is a counter that wrapped, or a mistake.
		if i > 0 && h-hs[i-1] > 1 && h-hs[i-1] <= 256 {
			for g := hs[i-1] + 1; g < h; g++ {
				d.order = append(d.order, &want{h: g, kind: wantHidden})
			}
		}
		w := d.wants[h]
		if w.kind != wantOther {
			d.order = append(d.order, w)
		}
	}
	for i, w := range d.order {
		if w.writes {
			markInternal(w, d.order[i+1:])
		}
	}
}

// markInternal finds the WRITEs that the host makes of a WRITE SAME: the next
// WRITE(16)s of the session, as many as cover each range.
func markInternal(ws *want, later []*want) {
	for _, left := range writeSameBlocks(ws) {
		for left > 0 {
			w := nextWrite(ws.sess, later)
			if w == nil {
				return
			}
			w.kind = wantInternal
			n := write16Blocks(w.cdb)
			if n == 0 {
				return
			}
			left -= min(n, left)
		}
	}
}

// writeSameBlocks are the lengths of the ranges that the handler has asked
// for: what the descriptors say, or the whole of the command's.
func writeSameBlocks(ws *want) (blocks []uint64) {
	if len(ws.ranges) == 0 {
		return []uint64{writeSameLen(ws.cdb)}
	}
	for b := []byte(ws.ranges); len(b) >= abi.SizeWriteSameDescr; b = b[abi.SizeWriteSameDescr:] {
		var x abi.WriteSameDescr
		if x.Decode(b) != nil || x.Blocks == 0 {
			break
		}
		blocks = append(blocks, x.Blocks)
	}
	return blocks
}

// writeSameLen is a WRITE SAME's number of blocks.
func writeSameLen(cdb []byte) uint64 {
	switch {
	case len(cdb) >= 10 && scsi.Opcode(cdb[0]) == scsi.OpWriteSame10:
		return uint64(binary.BigEndian.Uint16(cdb[7:]))
	case len(cdb) >= 16:
		return uint64(binary.BigEndian.Uint32(cdb[10:]))
	}
	return 0
}

// write16Blocks is a WRITE(16)'s number of blocks.
func write16Blocks(cdb []byte) uint64 {
	if len(cdb) < 16 {
		return 0
	}
	return uint64(binary.BigEndian.Uint32(cdb[10:]))
}

func nextWrite(s abi.Addr, later []*want) *want {
	for _, w := range later {
		if w.kind == wantCommand && w.sess == s && len(w.cdb) > 0 && scsi.Opcode(w.cdb[0]) == scsi.OpWrite16 {
			return w
		}
	}
	return nil
}
