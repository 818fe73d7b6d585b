package nbd

import "sync"

// rangeLocks keeps requests apart that touch the same bytes: a claim waits for
// those before it that overlap, if one of the two is exclusive. Claims are served
// in the order in which they come, so nobody waits for ever. The list is as
// long as there are changes under way, and searched from end to end.
type rangeLocks struct {
	// mu guards claims.
	mu sync.Mutex
	// released is broadcast when a claim goes.
	released sync.Cond
	// claims in the order in which they were made.
	claims []*claim
}

// claim is a range of bytes that somebody uses, or waits for.
type claim struct {
	start, end uint64
	exclusive  bool
}

// init makes l ready for use.
func (l *rangeLocks) init() { l.released.L = &l.mu }

func (c *claim) conflicts(o *claim) bool {
	return c.start < o.end && o.start < c.end && (c.exclusive || o.exclusive)
}

// take makes a claim, and says whether it is in force at once; else wait waits
// for it.
func (l *rangeLocks) take(c *claim) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.claims = append(l.claims, c)
	return l.first(c)
}

// wait waits until a claim is in force.
func (l *rangeLocks) wait(c *claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for !l.first(c) {
		l.released.Wait()
	}
}

// first says whether no claim before c is in its way. Caller holds mu.
func (l *rangeLocks) first(c *claim) bool {
	for _, o := range l.claims {
		if o == c {
			return true
		}
		if o.conflicts(c) {
			return false
		}
	}
	panic("nbd: a claim that was not made")
}

// release gives a claim up.
func (l *rangeLocks) release(c *claim) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, o := range l.claims {
		if o == c {
			copy(l.claims[i:], l.claims[i+1:])
			last := len(l.claims) - 1
			l.claims[last] = nil
			l.claims = l.claims[:last]
			break
		}
	}
	l.released.Broadcast()
}
