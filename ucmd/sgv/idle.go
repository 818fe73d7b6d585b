package sgv

// link makes o idle: on top of its class, the newest of all. Caller holds mu.
func (p *Pool) link(o *Object) {
	o.place, o.round = idle, p.round

	c := &p.class[o.class]
	o.above, o.below = nil, c.top
	if c.top != nil {
		c.top.above = o
	}
	c.top = o

	o.newer, o.older = nil, p.newest
	if p.newest != nil {
		p.newest.newer = o
	} else {
		p.oldest = o
	}
	p.newest = o

	c.stat.Idle++
	p.stat.IdleObjects++
	p.stat.IdlePages += o.pages
}

// unlink takes an idle object out of its lists, for use. Caller holds mu.
func (p *Pool) unlink(o *Object) {
	c := &p.class[o.class]
	if o.above != nil {
		o.above.below = o.below
	} else {
		c.top = o.below
	}
	if o.below != nil {
		o.below.above = o.above
	}

	if o.newer != nil {
		o.newer.older = o.older
	} else {
		p.newest = o.older
	}
	if o.older != nil {
		o.older.newer = o.newer
	} else {
		p.oldest = o.newer
	}

	o.above, o.below, o.newer, o.older = nil, nil, nil, nil
	o.place = inUse
	c.stat.Idle--
	p.stat.IdleObjects--
	p.stat.IdlePages -= o.pages
}
