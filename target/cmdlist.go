package target

import (
	"cmp"
	"slices"
)

// cmdList is a session's task set: every command from its submission until it
// is done, by age, linked by prev and next. Session.mu guards it.
type cmdList struct{ first, last *Cmd }

func (l *cmdList) append(c *Cmd) {
	c.prev, c.next = l.last, nil
	if l.last == nil {
		l.first = c
	} else {
		l.last.next = c
	}
	l.last = c
}

func (l *cmdList) remove(c *Cmd) {
	if c.prev == nil {
		l.first = c.next
	} else {
		c.prev.next = c.next
	}
	if c.next == nil {
		l.last = c.prev
	} else {
		c.next.prev = c.prev
	}
	c.prev, c.next = nil, nil
}

// cmdQueue is a FIFO of commands, linked by qnext; a command is in one at
// most. One that is part of a Session is guarded by its mu.
type cmdQueue struct {
	first, last *Cmd
	n           int
}

func (q *cmdQueue) push(c *Cmd) {
	c.qnext = nil
	if q.last == nil {
		q.first = c
	} else {
		q.last.qnext = c
	}
	q.last = c
	q.n++
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
	q.n--
	return c
}

// take moves the commands that match to dst, in order; the others stay.
func (q *cmdQueue) take(dst *cmdQueue, match func(*Cmd) bool) {
	var rest cmdQueue
	for c := q.pop(); c != nil; c = q.pop() {
		if match(c) {
			dst.push(c)
		} else {
			rest.push(c)
		}
	}
	*q = rest
}

// run empties q and lets its commands go on. The caller owns them and has no
// lock.
func (q *cmdQueue) run() {
	for c := q.pop(); c != nil; c = q.pop() {
		c.run()
	}
}

// sort puts q into the order of submission.
func (q *cmdQueue) sort() {
	cs := make([]*Cmd, 0, q.n)
	for c := q.pop(); c != nil; c = q.pop() {
		cs = append(cs, c)
	}
	slices.SortFunc(cs, func(a, b *Cmd) int { return cmp.Compare(a.seq, b.seq) })
	for _, c := range cs {
		q.push(c)
	}
}
