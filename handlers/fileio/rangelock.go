package fileio

import "sync"

// rangeLock keeps apart writes that share a sector of direct I/O. A write that
// covers sectors only in part reads them, changes its bytes and writes them
// back; a neighbour's bytes that were written in between would be lost. Such a
// write holds its sectors exclusively. One that covers whole sectors holds them
// shared: against the former, not against its like.
//
// The list is short (the writes in flight) and searched from end to end.
// Nothing is done for fairness: who meets here writes to the same sector at the
// same time, which is rare and over soon.
type rangeLock struct {
	// mu guards held; it is never held across I/O.
	mu sync.Mutex
	// released is broadcast when a range is let go.
	released sync.Cond
	once     sync.Once
	held     []heldRange
}

type heldRange struct {
	start, end int64
	exclusive  bool
}

func (r heldRange) conflicts(o heldRange) bool {
	return r.start < o.end && o.start < r.end && (r.exclusive || o.exclusive)
}

// lock waits until [start, end) can be held, and returns what unlock wants.
func (l *rangeLock) lock(start, end int64, exclusive bool) heldRange {
	want := heldRange{start, end, exclusive}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.once.Do(func() { l.released.L = &l.mu })
	for !l.free(want) {
		l.released.Wait()
	}
	l.held = append(l.held, want)
	return want
}

// free says whether nobody is in the way. The caller holds mu.
func (l *rangeLock) free(want heldRange) bool {
	for _, h := range l.held {
		if h.conflicts(want) {
			return false
		}
	}
	return true
}

// unlock lets a range go. Equal ranges stand for each other.
func (l *rangeLock) unlock(r heldRange) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, h := range l.held {
		if h == r {
			last := len(l.held) - 1
			l.held[i] = l.held[last]
			l.held = l.held[:last]
			l.released.Broadcast()
			return
		}
	}
	panic("fileio: unlock of a range that isn't held")
}
