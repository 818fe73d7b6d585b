package nbd

import "sync"

// An unaligned WRITE or WRITE_ZEROES (row 8) reads blocks, changes a part of them
// and writes them back. What others wrote to the rest of a block in between would
// be lost, so each change of the medium has to keep out of its way. Almost no
// client ever sends one, and so nobody pays for that until the first comes:
//
//   - at first a change is only counted, for its connection;
//   - the first unaligned change of an export sets exact, and waits until what was
//     counted before is over (exactChanges.begin);
//   - from then on each change claims its range, for as long as it runs.
//
// A WRITE enters when its payload has come, so that a slow client does not hold
// up others.

// entry is how a request has entered.
type entry uint8

const (
	entryNone    entry = iota
	entryCounted       // in conn.changing
	entryClaimed       // request.claim is in Export.exact.ranges
)

// exactChanges is what an export needs once there are unaligned changes.
type exactChanges struct {
	ranges rangeLocks
	// mu guards begun, and is held while the state changes.
	mu    sync.Mutex
	begun bool
	// idle is broadcast when a connection has no counted change any more.
	idle sync.Cond
}

func (x *exactChanges) init() {
	x.ranges.init()
	x.idle.L = &x.mu
}

// enter is called before a change of the medium begins, on the connection's
// goroutine: it may wait for unaligned ones.
func (c *conn) enter(r *request) {
	e := c.exp
	// First counted and then looked: begin does it the other way round, so one
	// of the two sees the other.
	c.changing.Add(1)
	if !e.exactly.Load() {
		r.entry = entryCounted
		return
	}
	c.uncount()
	lba, n := e.blocks(&r.h)
	block := uint64(e.blockSize)
	r.claim = claim{start: lba * block, end: (lba + n) * block}
	r.entry = entryClaimed
	if !e.exact.ranges.take(&r.claim) {
		c.uncork()
		e.exact.ranges.wait(&r.claim)
		c.cork()
	}
}

// left is called when a change is over, or as far as it went, before it is
// answered.
func (c *conn) left(r *request) {
	if r.h.typ != cmdWrite {
		c.exp.data.forget()
	}
	if r.entry == entryClaimed {
		c.exp.exact.ranges.release(&r.claim)
	} else {
		c.uncount()
	}
	r.entry = entryNone
}

// uncount ends a counted change.
func (c *conn) uncount() {
	if c.changing.Add(-1) > 0 || !c.exp.exactly.Load() {
		return
	}
	x := &c.exp.exact
	x.mu.Lock()
	defer x.mu.Unlock()
	x.idle.Broadcast()
}

// beginExact makes every change of the export claim its range, and returns when
// all do that are under way.
func (s *Server) beginExact(e *Export) {
	x := &e.exact
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.begun {
		return
	}
	e.exactly.Store(true)
	for _, c := range s.connsOf(e) {
		for c.changing.Load() > 0 {
			x.idle.Wait()
		}
	}
	x.begun = true
}

// connsOf returns the connections that use an export. One that comes later finds
// what the export is like by then.
func (s *Server) connsOf(e *Export) []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	var l []*conn
	for cl := range s.clients {
		if cl.conn != nil && cl.conn.exp == e {
			l = append(l, cl.conn)
		}
	}
	return l
}
