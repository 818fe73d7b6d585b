package sgv

// Stats are a pool's counters. Those of pages and idle objects are of now, the
// others since the pool was made.
type Stats struct {
	// Name is the pool's.
	Name string
	// Classes are the size classes that were ever used, in ascending order.
	Classes []ClassStats

	// IdleObjects and IdlePages are what waits for the next command.
	IdleObjects, IdlePages int
	// TotalPages are the pages in objects with memory, in use or idle.
	TotalPages int
	// Big counts objects above the largest class, Uncached those for commands
	// whose buffers are not kept. Both are built for one use.
	Big, Uncached uint64
	// Refused counts Fills that the limit forbade.
	Refused uint64
	// Filled counts the objects that got memory, Destroyed those that lost it.
	// Of these, Leaving are so new that their owner is just being told.
	Filled, Destroyed uint64
	Leaving           int
}

// ClassStats are the counters of one size class. (The module also counts
// merges, pages that lie side by side; here a buffer is one piece always.)
type ClassStats struct {
	// Pages is the size of the class's objects.
	Pages int
	// Hits counts the requests that an idle object served, Allocs those that
	// needed memory from the handler and those that brought it.
	Hits, Allocs uint64
	// Idle is how many objects wait for the next command.
	Idle int
}

// Stats returns the counters.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.stat
	s.Name = p.opt.Name
	for i := range p.class {
		c := p.class[i].stat
		if c.Allocs == 0 {
			continue // never used: the first request of a class has no hit
		}
		c.Pages = 1 << i
		if p.opt.SinglePages > 0 {
			c.Pages = p.opt.SinglePages
		}
		s.Classes = append(s.Classes, c)
	}
	return s
}

// IdleOwners returns who gave the memory of the idle objects, those of a
// smaller class first and in a class the one that is handed out next first.
func (p *Pool) IdleOwners() []Owner {
	p.mu.Mutex.Lock()
	defer p.mu.Unlock()
	var l []Owner
	for i := range p.class {
		for o := p.class[i].top; o != nil; o = o.below {
			l = append(l, o.Owner)
		}
	}
	return l
}
