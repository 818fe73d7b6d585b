package sgv

// takeOut makes an idle object a victim. Caller holds mu, and calls destroy
// when it has released it.
func (p *Pool) takeOut(o *Object, v *victims) {
	p.unlink(o)
	p.drop(o, v)
}

// drop makes an object in use a victim. Caller holds mu, and calls destroy
// when it has released it.
func (p *Pool) drop(o *Object, v *victims) {
	o.place = notInUse
	p.stat.TotalPages -= o.pages
	p.stat.Destroyed++
	p.stat.Leaving++
	v.add(o)
}

// destroy tells the owners of the victims. Caller does not hold mu.
func (p *Pool) destroy(v victims) {
	if v.n == 0 {
		return
	}
	for o := v.first; o != nil; o = o.below {
		o.Owner.SGVDestroyed()
	}
	p.mu.Lock()
	p.stat.Leaving -= v.n
	for o := v.first; o != nil; {
		next := o.below
		p.recycle(o)
		o = next
	}
	p.mu.Unlock()
}

// Flush destroys every object that is idle when it comes to the object's size
// class, in ascending order of class (fact 35), and returns how many. It
// returns when their owners have been told.
func (p *Pool) Flush() int {
	n := 0
	for class := 0; class < Classes; class++ {
		var v victims
		p.mu.Lock()
		for class < Classes-1 && p.class[class].top == nil {
			class++
		}
		for p.class[class].top != nil {
			p.takeOut(p.class[class].top, &v)
		}
		p.mu.Unlock()
		p.destroy(v)
		n += v.n
	}
	return n
}

// startTimer sees to it that purge runs one interval from now, if there is
// something for it to do and it is not due anyway. Caller holds mu.
func (p *Pool) startTimer() {
	if p.opt.PurgeInterval > 0 && p.stopTimer == nil && p.oldest != nil {
		p.stopTimer = p.opt.AfterFunc(p.opt.PurgeInterval, p.purge)
	}
}

// purge destroys, the oldest first, what has been idle for a whole interval.
// An object that became idle in this round has been so for part of one: it is
// left to the next purge.
func (p *Pool) purge() {
	var v victims
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.stopTimer = nil
	for p.oldest != nil && p.oldest.round < p.round {
		p.takeOut(p.oldest, &v)
	}
	p.round++
	p.startTimer()
	p.mu.Unlock()
	p.destroy(v)
}
