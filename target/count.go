package target

import (
	"maps"
	"time"

	"scstuser/scsi"
)

// defaultLatencySample: reading the clock is the most expensive thing about
// counting, so that is not done for every command.
const defaultLatencySample = 8

// tally is where a session counts. Session.mu guards it, which the end of a
// command takes anyhow; so sessions share no cache lines, and counting needs
// neither a lock nor an atomic operation of its own. It is made when there is
// something to count: idle connections are cheap.
type tally struct {
	// ops are the operation codes that came, a handful, and rows their
	// results.
	ops                     []scsi.Opcode
	rows                    []*Results
	bytesRead, bytesWritten uint64
	// latency has nil for kinds that never came.
	latency  [KindCount]*Histogram
	taskMgmt map[TaskMgmtCount]uint64
	// random chooses whose latency is measured. At regular intervals it
	// could be the first of every batch, always.
	random uint64
}

// countCmd counts c, which is done. Caller holds mu.
func (s *Session) countCmd(c *Cmd) {
	if c.internal {
		return
	}
	t := s.counting()
	op := c.Op()
	row := t.row(op)
	kind := kinds[op]
	if c.Status != scsi.Good {
		row[resultOf(c)]++
	} else {
		row[ResultGood]++
		switch kind {
		case KindRead:
			t.bytesRead += uint64(c.RespLen)
		case KindWrite:
			t.bytesWritten += uint64(c.BufLen)
		}
	}
	if t.sample(uint64(s.dev.opt.LatencySample)) {
		if t.latency[kind] == nil {
			t.latency[kind] = new(Histogram)
		}
		t.latency[kind].Observe(Now() - c.started)
	}
}

// counting is where to count. Caller holds mu.
func (s *Session) counting() *tally {
	if s.tally == nil {
		s.tally = new(tally)
	}
	return s.tally
}

// row finds the row of an operation code.
func (t *tally) row(op scsi.Opcode) *Results {
	for i, x := range t.ops {
		if x == op {
			return t.rows[i]
		}
	}
	t.ops, t.rows = append(t.ops, op), append(t.rows, new(Results))
	return t.rows[len(t.rows)-1]
}

// sample says yes once in every n times, at random. It is a linear congruential
// generator, whose upper bits are good enough for that.
func (t *tally) sample(n uint64) bool {
	t.random = t.random*6364136223846793005 + 1442695040888963407
	return (t.random>>32)*n>>32 == 0
}

// countTM counts m, whose result is final.
func (s *Session) countTM(m *MgmtCmd) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.counting()
	if t.taskMgmt == nil {
		t.taskMgmt = map[TaskMgmtCount]uint64{}
	}
	k := TaskMgmtCount{Fn: m.Fn, Result: m.Result}
	if k.Fn < AbortTask || k.Fn > AbortAllTasks {
		k.Fn = tmUnknown // there are as many of them as the initiator likes
	}
	switch k.Result {
	case TMSuccess, TMTaskNotExist, TMLUNNotExist, TMNotSupported, TMRejected, TMFailed:
	default:
		k.Result = tmOther // likewise, for a handler
	}
	t.taskMgmt[k]++
}

// Counters returns what the session has done so far. Commands wait for it no
// longer than it takes to copy.
func (s *Session) Counters() Counters {
	type row struct {
		op scsi.Opcode
		Results
	}
	rows := make([]row, 0, 32) // hardly anybody uses more operation codes
	c := Counters{LatencySample: s.dev.opt.LatencySample}
	s.mu.Lock()
	if t := s.tally; t != nil {
		c.BytesRead, c.BytesWritten = t.bytesRead, t.bytesWritten
		for i, r := range t.rows {
			rows = append(rows, row{t.ops[i], *r})
		}
		for k, h := range t.latency {
			if h != nil {
				c.Latency[k] = *h
			}
		}
		c.TaskMgmt = maps.Clone(t.taskMgmt)
	}
	s.mu.Unlock()
	for i := range rows {
		c.addResults(rows[i].op, &rows[i].Results)
	}
	return c
}

// Since returns when the session was made, on the clock of Now.
func (s *Session) Since() time.Duration { return s.since }

// Counters returns what the device has done so far: the sum over its sessions,
// those that have ended included. What a front end submits to a session after
// that has ended, to be refused, is not in it.
func (d *Device) Counters() Counters {
	d.mu.Lock()
	defer d.mu.Unlock()
	sum := Counters{LatencySample: d.opt.LatencySample}
	sum.Add(&d.ended)
	for _, s := range d.sessions {
		c := s.Counters()
		sum.Add(&c)
	}
	return sum
}

// retire keeps what s has done when s is forgotten. Caller holds mu, so that
// Counters sees s, or this, but not both.
func (d *Device) retire(s *Session) {
	c := s.Counters()
	d.ended.Add(&c)
}
