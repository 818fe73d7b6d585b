package replay

import (
	"slices"

	"scstuser/ioctl/abi"
	"scstuser/ioctl/trace"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// Which buffer a command found tells when it began: the pool of a device gives
// the buffer that came back last (fact 33), so the command began after that one
// came back and before the next one did. poolModel goes through a recording
// with that and finds the commands that began earlier than when the handler
// heard of them.

// poolEvent is something that changes which buffers are idle.
type poolEvent struct {
	seq   uint64
	class int      // of pbuf
	pbuf  abi.Addr // comes back, or goes away
	gone  bool     // goes away; with pbuf 0 all do
	// byExec says that it was the EXEC reply to h, which does not count if
	// ON_FREE_CMD came for h.
	byExec bool
	h      uint32
}

// poolModel is the pool of one device, as far as a recording shows it.
type poolModel struct {
	events []poolEvent
	reuse  uint8
	class  map[abi.Addr]int    // of buffers
	found  map[uint32]abi.Addr // by handle: the buffer that it found
	missed map[uint32]int      // by handle: the class that had none
	uses   map[uint32]abi.Addr // by handle: the buffer that it has
	frees  map[uint32]bool     // by handle: ON_FREE_CMD says when it comes back
	cached map[uint32]bool     // by handle: the pool keeps its buffer
	dir    map[uint32]scsi.Dir // by handle
}

func newPoolModel() *poolModel {
	return &poolModel{class: map[abi.Addr]int{}, found: map[uint32]abi.Addr{}, missed: map[uint32]int{},
		uses: map[uint32]abi.Addr{}, frees: map[uint32]bool{}, cached: map[uint32]bool{}, dir: map[uint32]scsi.Dir{}}
}

// classOf is the size class of a buffer.
func classOf(n int32) int {
	pages := (max(int(n), 1) + ucmd.PageSize - 1) / ucmd.PageSize
	class := 0
	for 1<<class < pages {
		class++
	}
	return class
}

// enter takes what the handler said.
func (m *poolModel) enter(e *trace.Event) {
	if e.Op == abi.IoctlFlushCache.String() {
		m.events = append(m.events, poolEvent{seq: e.Seq, gone: true})
	}
	in := e.In
	if in == nil {
		return
	}
	if in.DevDesc != nil {
		m.reuse = in.DevDesc.Opt.MemoryReuseType
	}
	if in.Opt != nil {
		m.reuse = in.Opt.MemoryReuseType
	}
	for i := range in.Replies {
		r := &in.Replies[i]
		h := r.CmdH
		switch {
		case r.Alloc != nil:
			m.give(h, r.Alloc.PBuf)
		case r.Exec != nil && m.uses[h] == 0 && r.Exec.PBuf != 0 && r.Exec.RespDataLen > 0:
			m.give(h, r.Exec.PBuf)
		}
		switch {
		case r.Exec != nil && r.Exec.ReplyType == abi.ExecReplyCompleted:
			m.back(e.Seq, h, true)
		case r.Subcode == abi.SubcodeOnFreeCmd && m.cached[h]:
			m.back(e.Seq, h, false)
		}
	}
}

// give makes a buffer one of the class that was asked for.
func (m *poolModel) give(h uint32, a abi.Addr) {
	if class, ok := m.missed[h]; ok && a != 0 {
		m.class[a], m.uses[h] = class, a
	}
}

// back is the moment at which a command's buffer becomes idle.
func (m *poolModel) back(seq uint64, h uint32, byExec bool) {
	a := m.uses[h]
	if a == 0 || !m.keeps(m.dir[h]) {
		return
	}
	delete(m.uses, h)
	m.events = append(m.events, poolEvent{seq: seq, class: m.class[a], pbuf: a, byExec: byExec, h: h})
}

// keeps says whether the buffers of a direction are kept (rule R53).
func (m *poolModel) keeps(d scsi.Dir) bool {
	switch ucmd.ReuseType(m.reuse) {
	case ucmd.ReuseAll:
		return true
	case ucmd.ReuseRead:
		return d == scsi.DirRead
	case ucmd.ReuseWrite:
		return d == scsi.DirWrite
	}
	return false
}

// exit takes what the host said.
func (m *poolModel) exit(c *call) {
	e := c.exit
	if in := c.enter.In; in != nil && in.Prealloc != nil && e.Errno == 0 {
		class := classOf(int32(min(in.Prealloc.BuffLen, 1<<30)))
		m.class[in.Prealloc.PBuf] = class
		if in.Prealloc.ForClustPool == 0 {
			m.events = append(m.events, poolEvent{seq: e.Seq, class: class, pbuf: in.Prealloc.PBuf})
		}
	}
	if e.Out == nil {
		return
	}
	for i := range e.Out.Cmds {
		m.cmd(e.Seq, &e.Out.Cmds[i])
	}
}

func (m *poolModel) cmd(seq uint64, c *trace.Cmd) {
	h := c.CmdH
	switch {
	case c.AllocMem != nil:
		m.dir[h] = scsi.Dir(c.AllocMem.DataDirection)
		m.missed[h] = classOf(c.AllocMem.AllocLen)
	case c.Exec != nil:
		x := c.Exec
		m.dir[h] = scsi.Dir(x.DataDirection)
		switch {
		case m.uses[h] != 0: // given at ALLOC_MEM
		case x.PBuf != 0:
			m.found[h], m.uses[h] = x.PBuf, x.PBuf
		case x.AllocLen != 0:
			m.missed[h] = classOf(x.AllocLen)
		}
	case c.OnFree != nil:
		m.frees[h], m.cached[h] = true, c.OnFree.BufferCached != 0
		if m.cached[h] && c.OnFree.PBuf != 0 {
			m.uses[h] = c.OnFree.PBuf
		}
	case c.OnCachedMemFree != nil:
		a := c.OnCachedMemFree.PBuf
		m.events = append(m.events, poolEvent{seq: seq, class: m.class[a], pbuf: a, gone: true})
	}
}

// need is what a command has found: a buffer, or with 0 that there was none.
type need struct {
	w     *want
	class int
	a     abi.Addr
}

// needs are those of the commands that look for a buffer when they begin, in
// the order in which they begin.
func (m *poolModel) needs(d *devicePlan) (l []need) {
	for _, w := range d.order {
		if w.kind != wantCommand && w.kind != wantInternal || w.cmd.Parse != nil || !m.keeps(w.dir) {
			continue // a buffer is looked for when PARSE was answered
		}
		if a, hit := m.found[w.h]; hit {
			l = append(l, need{w, m.class[a], a})
		} else if class, miss := m.missed[w.h]; miss {
			l = append(l, need{w, class, 0})
		}
	}
	return l
}

// begins adds to h the commands that began before the handler heard of them.
func (m *poolModel) begins(d *devicePlan, h hints) {
	s := poolState{idle: map[int][]abi.Addr{}}
	for _, e := range m.events {
		if !e.byExec || !m.frees[e.h] {
			s.events = append(s.events, e)
		}
	}
	needs := m.needs(d)
	for i, n := range needs {
		moments := s.moments(n)
		if len(moments) == 0 {
			continue // not explained by the pool: see attempt
		}
		// The latest, unless the next command then came too late.
		at := moments[len(moments)-1]
		for k := len(moments) - 1; k >= 0 && i+1 < len(needs); k-- {
			after := moments[k].clone()
			after.take(n)
			if len(after.moments(needs[i+1])) > 0 {
				at = moments[k]
				break
			}
		}
		next := at.nextBack(n.class)
		at.take(n)
		s = at
		if n.w.kind == wantCommand && next < n.w.first {
			k := hintKey{d.number, next}
			h[k] = append(h[k], n.w.h)
		}
	}
}

// poolState is which buffers are idle at a moment.
type poolState struct {
	idle   map[int][]abi.Addr // by class, the last one is the next
	events []poolEvent        // those that are to come
}

// clone is a state of its own. events are shared: they do not change.
func (s *poolState) clone() poolState {
	x := poolState{idle: map[int][]abi.Addr{}, events: s.events}
	for k, l := range s.idle {
		x.idle[k] = slices.Clone(l)
	}
	return x
}

// fits says whether a command finds what it needs now.
func (s *poolState) fits(n need) bool {
	l := s.idle[n.class]
	if n.a == 0 {
		return len(l) == 0
	}
	return len(l) > 0 && l[len(l)-1] == n.a
}

// moments are the states, from s on and before the handler heard of it, in
// which a command finds what it needs; one for each time that this begins.
func (s *poolState) moments(n need) (l []poolState) {
	x := s.clone()
	before := false
	for {
		fits := x.fits(n)
		if fits && !before {
			l = append(l, x.clone())
		}
		before = fits
		if len(x.events) == 0 || x.events[0].seq >= n.w.first {
			return l
		}
		x.step()
	}
}

// step makes the next event happen.
func (s *poolState) step() {
	e := s.events[0]
	s.events = s.events[1:]
	switch {
	case e.gone && e.pbuf == 0:
		clear(s.idle)
	case e.gone:
		l := s.idle[e.class]
		if i := slices.Index(l, e.pbuf); i >= 0 {
			s.idle[e.class] = slices.Delete(l, i, i+1)
		}
	default:
		s.idle[e.class] = append(s.idle[e.class], e.pbuf)
	}
}

// take is what a command does with what it needs.
func (s *poolState) take(n need) {
	if l := s.idle[n.class]; n.a != 0 {
		s.idle[n.class] = l[:len(l)-1]
	}
}

// nextBack is when the next buffer of the class comes back.
func (s *poolState) nextBack(class int) uint64 {
	for _, e := range s.events {
		if !e.gone && e.class == class {
			return e.seq
		}
	}
	return ^uint64(0)
}
