package powercut

import (
	"fmt"
	"sync"
)

// Rules are what a disk promises.
type Rules struct {
	// WriteThrough: every reply means that its request is durable.
	WriteThrough bool
	// MultiConn: a FLUSH covers what was acknowledged on any connection (the
	// protocol's CAN_MULTI_CONN), else only what was on its own.
	MultiConn bool
	// TrimZeroes: what was trimmed reads as zeroes.
	TrimZeroes bool
	// Tears: a sector that is overwritten on its way to the medium may arrive as
	// parts of both. Linux's page cache does that unless pages are stable
	// while they are written back.
	Tears bool
}

// Counts are numbers of requests in a run.
type Counts struct {
	// Submitted were sent, Acknowledged answered with success. Flushes are
	// among both.
	Submitted, Acknowledged int
	// Durable are the changes (WRITE, WRITE_ZEROES, TRIM) that were
	// promised to be durable.
	Durable int
	// Flushes were acknowledged.
	Flushes int
}

// Add adds those of another run.
func (c *Counts) Add(o Counts) {
	c.Submitted += o.Submitted
	c.Acknowledged += o.Acknowledged
	c.Durable += o.Durable
	c.Flushes += o.Flushes
}

// Journal knows what each sector of a disk may hold (see the package's
// documentation). It outlives the disk's power cuts: after each of them Check
// says what was lost, and Begin goes on from what was found.
//
// Its methods may be called from many goroutines, but Begin and Check not during
// a run.
type Journal struct {
	id uint64

	// mu guards all that follows.
	mu sync.Mutex
	// clock counts what happens; 0 is before everything.
	clock uint64
	gens  uint64
	rules Rules
	// sectors is the disk.
	sectors []sector
	// ops are all changes of this run by generation, for reports.
	ops map[uint64]*Op
	// waiting are the acknowledged ones that are not durable.
	waiting []*Op
	counts  Counts
}

// sector is what is known of one.
type sector struct {
	// found is what it held when the run began, or, between Check and Begin,
	// what Check found; bytes is that literally if found does not say it.
	found version
	bytes []byte
	// history are the ops of this run that may still be found. What a durable op
	// has replaced was acknowledged before that was sent, so it is known, and
	// leaves the history, when that becomes durable.
	history []*Op
	// floor is the durable op that was sent last; nil: nothing was durable yet.
	floor *Op
}

// NewJournal returns the journal of a disk that is all zeroes, of this many
// sectors. Disks that could be taken for each other have different ids.
func NewJournal(id uint64, sectors int, rules Rules) *Journal {
	return &Journal{id: id, rules: rules, sectors: make([]sector, sectors), ops: map[uint64]*Op{}}
}

// Sectors is the size of the disk.
func (j *Journal) Sectors() int { return len(j.sectors) }

// Begin starts the next run on what the last Check found, with the rules of the
// server that serves it now. Nothing of the run before is legal any more but
// that: what was read from a disk that has just been switched on is on it.
func (j *Journal) Begin(rules Rules) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.rules = rules
	j.counts = Counts{}
	j.waiting = nil
	clear(j.ops)
	for i := range j.sectors {
		s := &j.sectors[i]
		s.history, s.floor = nil, nil
	}
}

// Counts returns the numbers of this run so far.
func (j *Journal) Counts() Counts {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.counts
}

// Submit notes a request that is about to be sent: it has to be called before
// any byte of it leaves. first and count are its sectors, 0 for a FLUSH.
func (j *Journal) Submit(conn int, kind Kind, fua bool, first, count int) *Op {
	if kind == Flush && count != 0 || first < 0 || count < 0 || first+count > len(j.sectors) {
		panic(fmt.Sprintf("%v of %d sectors at %d, of a disk of %d", kind, count, first, len(j.sectors)))
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.clock++
	j.gens++
	op := &Op{Kind: kind, FUA: fua, First: first, Count: count, Gen: j.gens, Conn: conn, submitted: j.clock}
	j.counts.Submitted++
	if kind == Flush {
		return op
	}
	j.ops[op.Gen] = op
	for i := first; i < op.end(); i++ {
		j.sectors[i].history = append(j.sectors[i].history, op)
	}
	return op
}

// Fill makes b the payload of a WRITE.
func (j *Journal) Fill(b []byte, op *Op) {
	for i := range op.Count {
		Stamp{ID: j.id, Sector: uint64(op.First + i), Gen: op.Gen}.Encode(b[i*SectorSize:])
	}
}

// Acknowledge notes that a request was answered with success: it has to be
// called after the reply has come, and once. A request that was answered with an
// error may have been carried out or not, like one that was never answered.
func (j *Journal) Acknowledge(op *Op) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.clock++
	op.acknowledged = j.clock
	j.counts.Acknowledged++
	switch {
	case op.Kind == Flush:
		j.counts.Flushes++
		j.flushed(op)
	case op.FUA || j.rules.WriteThrough:
		j.endure(op, nil)
	default:
		j.waiting = append(j.waiting, op)
	}
}

// flushed makes durable what the flush covers. The caller holds mu.
func (j *Journal) flushed(flush *Op) {
	left := j.waiting[:0]
	for _, op := range j.waiting {
		covered := op.acknowledged < flush.submitted && (j.rules.MultiConn || op.Conn == flush.Conn)
		if !covered {
			left = append(left, op)
			continue
		}
		j.endure(op, flush)
	}
	clear(j.waiting[len(left):])
	j.waiting = left
}

// endure makes an op durable, and illegal what it has replaced for good. The
// caller holds mu.
func (j *Journal) endure(op, by *Op) {
	op.durable, op.by = j.clock, by
	j.counts.Durable++
	if op.Kind == Trim && !j.rules.TrimZeroes {
		return // it may have left everything as it was
	}
	for i := op.First; i < op.end(); i++ {
		s := &j.sectors[i]
		if s.floor != nil && s.floor.submitted >= op.submitted {
			continue
		}
		s.floor = op
		left := s.history[:0]
		for _, o := range s.history {
			if !o.replacedBy(op) {
				left = append(left, o)
			}
		}
		clear(s.history[len(left):])
		s.history = left
	}
}

// replacedBy says whether o certainly took effect before the other one.
func (o *Op) replacedBy(other *Op) bool {
	return o.acknowledged != 0 && o.acknowledged < other.submitted
}

// legal are the versions that a sector may hold, if it is whole. The caller holds
// mu.
func (s *sector) legal() []version {
	var legal []version
	if s.floor == nil {
		legal = append(legal, s.found)
	}
	for _, op := range s.history {
		legal = append(legal, op.leaves())
	}
	return legal
}
