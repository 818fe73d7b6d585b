package replay

import (
	"context"
	"fmt"
	"sync"

	"scstuser/ioctl/abi"
	"scstuser/scsi"
	"scstuser/target"
)

// initiator is the front end of one recorded session. Run's goroutine starts
// things; outcomes may come on any goroutine.
type initiator struct {
	name abi.Addr        // sess_h in the recording
	sess *target.Session // nil until the host has attached it
	h    uint64          // the host's name of it, 0 until ATTACH_SESS was seen

	attaching, closing *task // NewSession, Session.Close
	ended              bool  // closing has begun
	events             bool  // unit attentions are events to it, all of them

	mu     sync.Mutex      // guards what follows
	fresh  *target.Session // what attaching has brought
	retry  []*command      // ended with UNIT ATTENTION before the handler had them
	owes   bool            // a unit attention may be waiting
	begun  int             // commands submitted
	over   int             // commands whose response came
	freed  int             // commands whose memory came back
	twice  int             // responses beyond the first of a command (I1)
	tags   uint64
	mgmt   int // task management functions that are not over
	byWant map[*want]*command
}

// command is one SCSI command of the initiator.
type command struct {
	target.Cmd
	want  *want
	again bool // one before it ended with UNIT ATTENTION
	seen  bool // the handler has got its EXEC; guarded by initiator.mu
	over  bool // guarded by initiator.mu
}

func newInitiator(name abi.Addr) *initiator {
	return &initiator{name: name, owes: true, byWant: map[*want]*command{}}
}

// submit sends the command that w stands for.
func (i *initiator) submit(w *want) { i.submitOnce(w, false) }

func (i *initiator) submitOnce(w *want, again bool) {
	c := &command{want: w, again: again}
	cdb, q := w.cdb, w.attribute()
	if w.kind == wantHidden {
		// What the handler never saw and the host answered: as initiators
		// do after a reset, a look whether the unit is ready.
		cdb, q = make([]byte, 6), scsi.QueueHeadOfQueue
	}
	c.Init(cdb, q)
	c.Front = c
	if w.len > 0 && (w.dir == scsi.DirRead || w.dir == scsi.DirWrite) {
		c.ExpectedSet, c.ExpectedDir, c.ExpectedLen = true, w.dir, w.len
	} else {
		c.ExpectedSet, c.ExpectedDir = true, scsi.DirNone
	}
	i.mu.Lock()
	i.tags++
	c.Tag = i.tags
	i.begun++
	i.byWant[w] = c
	i.mu.Unlock()
	i.sess.Submit(&c.Cmd)
}

// resubmit sends again what ended with UNIT ATTENTION, as initiators do.
// false: there was nothing.
func (i *initiator) resubmit() bool {
	i.mu.Lock()
	l := i.retry
	i.retry = nil
	i.mu.Unlock()
	for _, c := range l {
		i.submitOnce(c.want, true)
	}
	return len(l) > 0
}

// sentAgain says whether a command was told of a unit attention and sent again.
func (i *initiator) sentAgain(w *want) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	c := i.byWant[w]
	return c != nil && c.again
}

// owesAttention says whether the next command may be told of a condition.
func (i *initiator) owesAttention() bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.owes
}

// taskMgmt starts a task management function; victim is the command that an
// ABORT TASK is for, or nil.
func (i *initiator) taskMgmt(fn target.TMFunc, victim *want) {
	m := &target.MgmtCmd{Fn: fn, Session: i.sess}
	i.mu.Lock()
	i.mgmt++
	if c := i.byWant[victim]; c != nil {
		m.Tag = c.Tag
	}
	i.mu.Unlock()
	i.sess.TaskMgmt(m)
}

// attached takes what NewSession brought, on its goroutine.
func (i *initiator) attached(s *target.Session) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.fresh = s
}

// got is what attached took, nil if the session was refused.
func (i *initiator) got() *target.Session {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.fresh
}

// unfinished says what is not over after the release; empty: everything is,
// once (I1).
func (i *initiator) unfinished() string {
	i.mu.Lock()
	defer i.mu.Unlock()
	switch {
	case i.twice > 0:
		return fmt.Sprintf("%d commands were answered twice", i.twice)
	case i.over != i.begun:
		return fmt.Sprintf("%d of %d commands were never answered", i.begun-i.over, i.begun)
	case i.freed != i.begun:
		return fmt.Sprintf("%d of %d commands were never freed", i.begun-i.freed, i.begun)
	case i.mgmt != 0:
		return fmt.Sprintf("%d task management functions were never answered", i.mgmt)
	}
	return ""
}

// close ends the session.
func (i *initiator) close(ctx context.Context) error { return i.sess.Close(ctx) }

// RdyToXfer implements target.Frontend: the data is what the recording has of
// it, then zeros.
func (i *initiator) RdyToXfer(c *target.Cmd) target.Verdict {
	buf := c.Buf
	if c.Dir == scsi.DirBidi {
		buf = c.OutBuf
	}
	n := copy(buf, c.Front.(*command).want.data)
	clear(buf[n:])
	return target.Continue
}

// XmitResponse implements target.Frontend.
func (i *initiator) XmitResponse(c *target.Cmd) {
	x := c.Front.(*command)
	i.mu.Lock()
	if x.over {
		i.twice++
	}
	x.over = true
	i.over++
	if !x.seen && isAttention(c) {
		i.owes = false
		if x.want.kind != wantHidden && x.want.exec {
			i.retry = append(i.retry, x)
		}
	}
	i.mu.Unlock()
	c.Delivered(target.Delivered)
}

// isAttention says whether a command was ended to tell of a condition.
func isAttention(c *target.Cmd) bool {
	s, err := scsi.ParseSense(c.Sense())
	return err == nil && c.Status == scsi.CheckCondition && s.Key == scsi.KeyUnitAttention
}

// handlerHas takes note that the handler got the EXEC of w.
func (i *initiator) handlerHas(w *want) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if c := i.byWant[w]; c != nil {
		c.seen = true
	}
}

// Freed implements target.Frontend.
func (i *initiator) Freed(*target.Cmd) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.freed++
}

// AEN implements target.Frontend: the recorded initiators took the change of
// the capacity as an event (fact 51), and nothing else; NBD clients, which are
// those of a handler in process, take everything so.
func (i *initiator) AEN(_ *target.Session, ua target.UnitAttention) bool {
	if i.events || ua.Is(scsi.SenseCapacityChanged) {
		return true
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.owes = true
	return false
}

// SessionGone implements target.Frontend. The session is closed at the end.
func (i *initiator) SessionGone(*target.Session) {}

// TMDone implements target.Frontend.
func (i *initiator) TMDone(m *target.MgmtCmd) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.mgmt--
}
