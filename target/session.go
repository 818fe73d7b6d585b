package target

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"scstuser/scsi"
)

// SessionInfo is what is known about an initiator's nexus (rule R39).
type SessionInfo struct {
	// LUN is the number under which the initiator knows the device.
	LUN uint64
	// Initiator and Target are the names of the nexus' two ends.
	Initiator string
	Target    string
	// ReadOnly tells the handler that the initiator may not write.
	ReadOnly bool
	// TransportVersion and PhysVersion are version descriptors (SPC-4, 6.6.2).
	TransportVersion uint16
	PhysVersion      uint16
	// Clustered asks for buffers from the device's tail-clustered pool.
	Clustered bool
}

// Session is one initiator's nexus with one device. Its methods may be called
// from any goroutine.
type Session struct {
	// Info does not change after NewSession.
	Info SessionInfo
	// Priv is the device handler's own, from Attach to Detach.
	Priv any

	dev      *Device
	handle   uint64
	frontend Frontend
	// since is when the session was made, on the clock of Now.
	since time.Duration

	// uses counts what keeps the session: commands until Freed has returned,
	// task management functions until TMDone has, events on their way. It
	// grows under mu only.
	uses atomic.Int64
	// special counts the HEAD OF QUEUE and ORDERED commands in tasks; set
	// under mu.
	special atomic.Int32
	// uaPending says that ua is not empty; set under mu.
	uaPending atomic.Bool
	// gone says that no command gets to the handler any more: the device is
	// being released, or the session has ended. Set under mu, once.
	gone atomic.Bool
	// closing says that Close, or Unregister, was called.
	closing atomic.Bool

	// idle is closed when the session is closing and unused; detached is
	// closed when it does not exist any more.
	idle, detached chan struct{}

	// mu guards what follows, and the list fields of the session's commands.
	mu    sync.Mutex
	tasks cmdList
	// active counts the commands that the device is busy with.
	active int
	// suspended makes commands wait in held. draining: somebody runs the
	// held ones, new ones queue up behind them.
	suspended, draining bool
	held                cmdQueue
	// handler is who the session is attached to: it gets what is submitted. It
	// changes only while the device is suspended, so that whoever has an
	// active command may read it without the lock.
	handler DevHandler
	// orphaned: the handler is gone, and commands wait in held for another
	// one. unsorted: commands that were given back are in held.
	orphaned, unsorted bool
	// submitted counts commands, for Cmd.seq.
	submitted uint64
	// blocked commands wait for their turn (task attributes).
	blocked cmdQueue
	ua      []UnitAttention
	// ended says that idle is closed. unused, if not nil, is closed when the
	// ended session is unused once more: it was used in spite of that.
	ended  bool
	unused chan struct{}
	// tally is what Counters returns, nil as long as that is nothing.
	tally *tally
}

// NewSession attaches an initiator to the device. It waits for the commands
// that are being executed for other sessions; ctx bounds that wait. Then it
// waits for the handler's answer, for as long as the handler's Attach takes.
// An error says who refused and why; ErrReleased and ErrBusy are among them.
func (d *Device) NewSession(ctx context.Context, f Frontend, info SessionInfo) (*Session, error) {
	s := &Session{
		Info: info, dev: d, frontend: f,
		handle: d.nextSession.Add(1),
		idle:   make(chan struct{}), detached: make(chan struct{}),
		since:     Now(),
		suspended: true, // resume, below, opens it with the others
	}
	if err := d.attach(ctx, s); err != nil {
		return nil, fmt.Errorf("attach to device %s: %w", d.name, err)
	}
	return s, nil
}

// attach makes s one of the device's sessions, if the handler agrees. While
// there is none it waits for one.
func (d *Device) attach(ctx context.Context, s *Session) error {
	for {
		resume, err := d.Suspend(ctx)
		if err != nil {
			return err
		}
		err = d.attachNow(s)
		resume()
		if !errors.Is(err, ErrHandlerGone) {
			return err
		}
		if err := d.awaitHandler(ctx); err != nil {
			return err
		}
	}
}

// attachNow asks the handler that there is. The device is suspended.
func (d *Device) attachNow(s *Session) error {
	h, err := d.servedBy()
	if err != nil {
		return err
	}
	s.handler = h
	if err := h.Attach(s); err != nil {
		return err
	}
	if !d.addSession(s) {
		h.Detach(s, func() {})
		return ErrReleased
	}
	s.Notify(scsi.SensePowerOnReset)
	return nil
}

// Device returns the device that the session is with.
func (s *Session) Device() *Device { return s.dev }

// Handle is the session's number towards the handler (sess_h), never 0.
func (s *Session) Handle() uint64 { return s.handle }

// front returns who takes the command's data and response.
func (s *Session) front(c *Cmd) Frontend {
	if c.internal {
		return (*internalFront)(nil)
	}
	return s.frontend
}

// Submit hands a command to the device. The pipeline runs on this goroutine
// as far as it goes; the response may have been handed to the front end
// before Submit returns. c was made by Init and is the target's until Freed.
func (s *Session) Submit(c *Cmd) {
	c.sess = s
	c.state = stateParse
	c.started = Now()
	c.askedQueue, c.askedLen = c.QueueType, c.cdbLen
	s.mu.Lock()
	s.link(c)
	switch {
	case s.gone.Load():
		// run ends it
	case s.shutOrBusy():
		s.held.push(c)
		s.mu.Unlock()
		return
	default:
		s.activate(c)
	}
	s.mu.Unlock()
	c.run()
}

// link makes c one of the session's commands. Caller holds mu.
func (s *Session) link(c *Cmd) {
	s.uses.Add(1)
	s.submitted++
	c.seq = s.submitted
	s.tasks.append(c)
	s.countSpecial(c)
}

// takeWaiting removes and returns the commands that wait at the door or for
// their turn, and match. They are not active. Caller holds mu.
func (s *Session) takeWaiting(match func(*Cmd) bool) (waiting cmdQueue) {
	s.held.take(&waiting, match)
	s.blocked.take(&waiting, match)
	return waiting
}

// Inflight returns how many commands and task management functions are not
// finished.
func (s *Session) Inflight() int { return int(s.uses.Load()) }

// enter keeps the session in being until leave. false: it is gone.
func (s *Session) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gone.Load() {
		return false
	}
	s.uses.Add(1)
	return true
}

// leave ends one use. The last one out of a closing session ends it: either
// leave sees closing, or startClose, which sets it first, sees no use.
func (s *Session) leave() {
	if s.uses.Add(-1) == 0 && s.closing.Load() {
		s.endIfIdle()
	}
}

// endIfIdle ends a closing session that nobody uses.
func (s *Session) endIfIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uses.Load() != 0 {
		return
	}
	if !s.ended {
		s.ended = true
		s.gone.Store(true)
		close(s.idle)
	}
	if s.unused != nil {
		close(s.unused)
		s.unused = nil
	}
}

// Close ends the session: it waits for its commands and task management
// functions, then detaches it from the device. The front end submits nothing
// more. It returns nil when the handler was told, or an error that wraps ctx's;
// the rest goes on by itself then. Calling it again waits again.
func (s *Session) Close(ctx context.Context) error {
	s.startClose()
	err := wait(ctx, s.detached)
	if err == nil {
		err = wait(ctx, s.whenUnused())
	}
	if err != nil {
		return fmt.Errorf("detach from device %s: %w", s.dev.name, err)
	}
	return nil
}

// wait waits for over to be closed; what is over already is, whatever ctx says.
func wait(ctx context.Context, over <-chan struct{}) error {
	select {
	case <-over:
		return nil
	default:
	}
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Session) startClose() {
	if s.closing.Swap(true) {
		return
	}
	s.endIfIdle()
	go s.detach()
}

// whenUnused is for an ended session. When the release of the device has ended
// it the front end may have submitted more since, which has to be refused.
func (s *Session) whenUnused() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.uses.Load() == 0 {
		return s.idle // closed already
	}
	if s.unused == nil {
		s.unused = make(chan struct{})
	}
	return s.unused
}

// detach tells the handler that the session is over, once it is idle.
func (s *Session) detach() {
	<-s.idle
	// A device that is being released, or whose commands don't end, is not
	// waited for: nothing of this session is outstanding, which is what
	// rule R41 promises.
	ctx, cancel := context.WithTimeout(context.Background(), s.dev.opt.DetachTimeout)
	defer cancel()
	resume, err := s.dev.Suspend(ctx)
	answered := make(chan struct{})
	s.currentHandler().Detach(s, func() { close(answered) })
	if err == nil {
		select {
		case <-answered:
		case <-ctx.Done():
		}
		resume()
	}
	s.dev.removeSession(s)
	close(s.detached)
}

// release takes the device away from the session: what waits here ends, and
// the front end is told, if the session has not ended by itself before.
func (s *Session) release() {
	s.mu.Lock()
	if s.gone.Load() {
		s.mu.Unlock()
		return
	}
	s.gone.Store(true)
	s.uses.Add(1)
	waiting := s.takeWaiting(func(*Cmd) bool { return true })
	s.mu.Unlock()
	waiting.run()
	s.frontend.SessionGone(s)
	s.leave()
}
