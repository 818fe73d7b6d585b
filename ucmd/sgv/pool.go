package sgv

import (
	"errors"

	"scstuser/internal/steplock"
)

// ErrNoMemory is returned when a buffer would exceed the pool's limit even if
// everything idle were given back.
var ErrNoMemory = errors.New("the pool's memory limit is reached")

// Pool is one pool of buffers. Its methods may be called from any goroutine,
// also from within an Owner's.
type Pool struct {
	opt Options

	// mu guards everything below.
	mu     steplock.Mutex
	class  [Classes]class
	oldest *Object // of the idle objects of all classes
	newest *Object
	// round counts the purges; stopTimer is set while the next is due.
	round     uint64
	stopTimer func() bool
	closed    bool
	// spare are objects to use again, linked by below.
	spare *Object
	// stat has everything but Name and Classes.
	stat Stats
}

// class is one size class.
type class struct {
	top  *Object // the idle object that was used last
	stat ClassStats
}

// New makes an empty pool.
func New(o Options) *Pool {
	o.EnsureDefaults()
	return &Pool{opt: o, mu: steplock.Mutex{Before: o.BeforeLock}}
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.opt.Name }

// Get returns an object for n bytes. hit: it has memory. Otherwise it is
// empty: Fill it, or give it back with Put. Uncached objects are always empty.
func (p *Pool) Get(n int, cached bool) (o *Object, hit bool) {
	class, pages := p.classOf(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case !cached:
		p.stat.Uncached++
		return p.newObject(oneUse, pagesOf(n)), false
	case class == oneUse:
		p.stat.Big++
		return p.newObject(oneUse, pages), false
	}
	c := &p.class[class]
	if o = c.top; o != nil {
		p.unlink(o)
		c.stat.Hits++
		return o, true
	}
	c.stat.Allocs++
	return p.newObject(class, pages), false
}

// GetEmpty returns an empty object for n bytes even if an idle one is there:
// somebody brings memory for it (PREALLOC_BUFFER, rule R38).
func (p *Pool) GetEmpty(n int) *Object {
	class, pages := p.classOf(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if class == oneUse {
		p.stat.Big++
	} else {
		p.class[class].stat.Allocs++
	}
	return p.newObject(class, pages)
}

// newObject returns an empty object. Caller holds mu.
func (p *Pool) newObject(class, pages int) *Object {
	o := p.spare
	if o == nil {
		o = new(Object)
	} else {
		p.spare = o.below
		o.below = nil
	}
	o.place, o.class, o.pages = inUse, class, pages
	return o
}

// recycle keeps an object that nobody needs any more. Caller holds mu.
func (p *Pool) recycle(o *Object) {
	*o = Object{below: p.spare}
	p.spare = o
}

// Fill puts the owner's memory into an empty object. If the pool's limit is in
// the way the oldest idle objects are destroyed. ErrNoMemory: that would not
// be enough; nothing has changed, and the owner is not told anything.
func (p *Pool) Fill(o *Object, owner Owner, data []byte) error {
	p.mu.Lock()
	o.mustBeInUse("Fill")
	if o.Owner != nil {
		panic("sgv: Fill of an object that has memory")
	}
	var v victims
	if limit := p.opt.MaxPages; limit > 0 {
		if p.stat.TotalPages-p.stat.IdlePages+o.pages > limit {
			p.stat.Refused++
			p.mu.Unlock()
			return ErrNoMemory
		}
		for p.stat.TotalPages+o.pages > limit {
			p.takeOut(p.oldest, &v)
		}
	}
	p.stat.TotalPages += o.pages
	p.stat.Filled++
	o.Data, o.Owner = data, owner
	p.mu.Unlock()
	owner.SGVMapped()
	p.destroy(v)
	return nil
}

// Put gives an object back. It becomes idle if it is of a class, keep is set
// and the pool is open; otherwise it is destroyed, and its owner told before
// Put returns.
func (p *Pool) Put(o *Object, keep bool) {
	p.mu.Lock()
	o.mustBeInUse("Put")
	var v victims
	switch {
	case o.Owner == nil:
		p.recycle(o)
	case keep && p.keeps(o):
		p.link(o)
		for limit := p.opt.MaxIdlePages; limit > 0 && p.stat.IdlePages > limit; {
			p.takeOut(p.oldest, &v)
		}
		p.startTimer()
	default:
		p.drop(o, &v)
	}
	p.mu.Unlock()
	p.destroy(v)
}

// keeps says whether o may become idle. An object that no limit leaves room
// for must not drive out all others first. Caller holds mu.
func (p *Pool) keeps(o *Object) bool {
	limit := p.opt.MaxIdlePages
	return o.class != oneUse && !p.closed && (limit <= 0 || o.pages <= limit)
}

// Close flushes the pool and makes it keep nothing from now on. Objects in use
// are destroyed when they are put back.
func (p *Pool) Close() {
	p.mu.Lock()
	p.closed = true
	stop := p.stopTimer
	p.stopTimer = nil
	p.mu.Unlock()
	if stop != nil {
		stop()
	}
	p.Flush()
}
