package target

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"scstuser/scsi"
)

// SessionInfo is what is known about an initiator's nexus (rule R39).
type SessionInfo struct {
	LUN              uint64
	Initiator        string
	Target           string
	ReadOnly         bool
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

	// special counts HEAD OF QUEUE and ORDERED commands that are not done.
	special atomic.Int32
	// uaPending says that ua is not empty.
	uaPending atomic.Bool

	// mu guards what follows, and the list fields of the session's commands.
	mu sync.Mutex
	// first, last: every command from Submit until it is finished, by age.
	first, last *Cmd
	inflight    int
	// active counts the commands that the device is busy with.
	active int
	// suspended makes new commands wait in held.
	suspended bool
	held      cmdQueue
	// blocked commands wait for their turn (task attributes).
	blocked cmdQueue
	ua      []UnitAttention
	// closing: Close was called. gone: the device is being released.
	closing, gone bool
	// idle is closed when closing and nothing is in flight any more.
	idle chan struct{}
	// detached is closed when the session does not exist any more.
	detached chan struct{}
	once     sync.Once
}

// cmdQueue is a FIFO of commands linked by qnext.
type cmdQueue struct{ first, last *Cmd }

func (q *cmdQueue) push(c *Cmd) {
	c.qnext = nil
	if q.last == nil {
		q.first = c
	} else {
		q.last.qnext = c
	}
	q.last = c
}

func (q *cmdQueue) pop() *Cmd {
	c := q.first
	if c == nil {
		return nil
	}
	q.first = c.qnext
	if q.first == nil {
		q.last = nil
	}
	c.qnext = nil
	return c
}

// NewSession attaches an initiator to the device. It waits for the commands
// that are being executed for other sessions, and for the handler's answer;
// ctx bounds the wait. An error says who refused and why.
func (d *Device) NewSession(ctx context.Context, f Frontend, info SessionInfo) (*Session, error) {
	s := &Session{
		Info: info, dev: d, frontend: f,
		handle: d.nextSession.Add(1),
		idle:   make(chan struct{}), detached: make(chan struct{}),
	}
	resume, err := d.Suspend(ctx)
	if err != nil {
		return nil, fmt.Errorf("attach to device %s: %w", d.name, err)
	}
	defer resume()
	if d.isGone() {
		return nil, fmt.Errorf("attach to device %s: %w", d.name, ErrReleased)
	}
	if err := d.handler.Attach(s); err != nil {
		return nil, fmt.Errorf("attach to device %s: %w", d.name, err)
	}
	s.suspended = true // resume, deferred, opens it with the others
	if !d.addSession(s) {
		d.handler.Detach(s, func() {})
		return nil, fmt.Errorf("attach to device %s: %w", d.name, ErrReleased)
	}
	s.Notify(scsi.SensePowerOnReset)
	return s, nil
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
// before Submit returns.
func (s *Session) Submit(c *Cmd) {
	c.sess = s
	c.state = stateParse
	if c.QueueType == scsi.QueueOrdered || c.QueueType == scsi.QueueHeadOfQueue {
		s.markSpecial(c)
	}
	s.mu.Lock()
	s.link(c)
	if s.gone {
		s.mu.Unlock()
		c.SetSense(scsi.SenseLUNotSupported)
		c.completed = true
		c.run()
		return
	}
	if s.suspended {
		s.held.push(c)
		s.mu.Unlock()
		return
	}
	s.active++
	c.isActive = true
	s.mu.Unlock()
	if c.Op() == scsi.OpReportLUNs && s.reportLUNs(c) {
		return
	}
	c.run()
}

// link appends c to the list. Caller holds mu.
func (s *Session) link(c *Cmd) {
	c.prev, c.next = s.last, nil
	if s.last == nil {
		s.first = c
	} else {
		s.last.next = c
	}
	s.last = c
	s.inflight++
}

// finish forgets a command.
func (s *Session) finish(c *Cmd) {
	s.mu.Lock()
	if c.prev == nil {
		s.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		s.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
	s.inflight--
	idle := s.inflight == 0 && s.closing
	s.mu.Unlock()
	if idle {
		s.once.Do(func() { close(s.idle) })
	}
}

// Inflight returns how many commands are not finished.
func (s *Session) Inflight() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.inflight
}

// Close ends the session: it waits for its commands, then detaches it from
// the device. The front end submits nothing more. It returns when the handler
// was told, or with ctx's error; the rest goes on by itself then.
func (s *Session) Close(ctx context.Context) error {
	s.startClose()
	select {
	case <-s.detached:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("detach from device %s: %w", s.dev.name, ctx.Err())
	}
}

func (s *Session) startClose() {
	s.mu.Lock()
	first := !s.closing
	s.closing = true
	idle := s.inflight == 0
	s.mu.Unlock()
	if first {
		if idle {
			s.once.Do(func() { close(s.idle) })
		}
		go s.detach()
	}
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
	s.dev.handler.Detach(s, func() { close(answered) })
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
