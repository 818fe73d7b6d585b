package sgv

import (
	"errors"
	"math/bits"
	"sync"
	"time"
)

// PageSize is the unit of the size classes, in bytes.
const PageSize = 4096

// Classes is how many size classes a pool has: 1, 2, 4 … 1024 pages (4 MiB).
const Classes = 11

// DefaultPurgeInterval is how long a buffer may be idle (rule R63).
const DefaultPurgeInterval = 60 * time.Second

// ErrNoMemory is returned when a buffer would exceed the pool's limit even
// after everything idle was given back.
var ErrNoMemory = errors.New("the pool's memory limit is reached")

// Owner gave the memory of an object. Its methods are called without a lock.
type Owner interface {
	// SGVMapped: the owner's memory is in an object now.
	SGVMapped()
	// SGVDestroyed: that object does not exist any more.
	SGVDestroyed()
}

// Object is a data buffer of a pool. Between Get or Fill and Put it belongs
// to the caller; the fields only change in Fill and when it is destroyed.
type Object struct {
	// Data is the memory: the whole class for a cached object.
	Data []byte
	// Owner gave the memory; nil while there is none.
	Owner Owner

	// class is the size class, or oneUse.
	class int8
	pages int32
	// tick is the purge round in which the object became idle.
	tick uint64
	// older, newer link the idle list by age; below, above the class's stack.
	// All are guarded by Pool.mu.
	older, newer *Object
	below, above *Object
}

const oneUse = -1

// Cached says whether Put keeps the object.
func (o *Object) Cached() bool { return o.class != oneUse }

// Options are a pool's settings.
type Options struct {
	// Name is for people.
	Name string
	// SinglePages, if not 0, makes a pool with one class of that many pages.
	SinglePages int
	// PurgeInterval is how long an object may be idle; checked once per
	// interval, so it is destroyed between one and two. 0 is the default of
	// 60 s, negative is for ever.
	PurgeInterval time.Duration
	// MaxPages limits the pages in objects, in use and idle; 0 is no limit.
	MaxPages int
	// MaxIdlePages limits the pages in idle objects; 0 is no limit.
	MaxIdlePages int
	// AfterFunc starts a timer; time.AfterFunc if nil. Tests bring their own.
	AfterFunc func(time.Duration, func()) (stop func() bool)
}

// EnsureDefaults fills in what was left zero.
func (o *Options) EnsureDefaults() {
	if o.PurgeInterval == 0 {
		o.PurgeInterval = DefaultPurgeInterval
	}
	if o.AfterFunc == nil {
		o.AfterFunc = func(d time.Duration, f func()) func() bool { return time.AfterFunc(d, f).Stop }
	}
}

// ClassStats are the counters of one size class.
type ClassStats struct {
	Pages  int
	Hits   uint64
	Misses uint64
	Idle   int
}

// Stats are a pool's counters.
type Stats struct {
	Name                  string
	Classes               []ClassStats // those ever used
	IdleObjects           int
	IdlePages, TotalPages int
	// OneUse counts objects built for one use, too large or uncached.
	OneUse uint64
	// Destroyed counts objects whose memory went back to its owner.
	Destroyed uint64
}

// Pool is one pool of buffers. Its methods may be called from any goroutine.
type Pool struct {
	opt Options

	// mu guards everything below.
	mu         sync.Mutex
	class      [Classes]struct{ top *Object } // stacks of idle objects
	stats      [Classes]ClassStats
	oldest     *Object
	newest     *Object
	idle       int
	idlePages  int
	totalPages int
	oneUse     uint64
	destroyed  uint64
	tick       uint64
	stopTimer  func() bool
	closed     bool
	spare      *Object // destroyed objects, linked by below
}

// New makes a pool.
func New(o Options) *Pool {
	o.EnsureDefaults()
	return &Pool{opt: o}
}

// Name returns the pool's name.
func (p *Pool) Name() string { return p.opt.Name }

// classOf returns the class for n bytes and its pages, or oneUse.
func (p *Pool) classOf(n int) (class, pages int) {
	pages = max((n+PageSize-1)/PageSize, 1)
	if s := p.opt.SinglePages; s > 0 {
		if pages > s {
			return oneUse, pages
		}
		return 0, s
	}
	class = bits.Len(uint(pages - 1))
	if class >= Classes {
		return oneUse, pages
	}
	return class, 1 << class
}

// AllocLen is how many bytes of memory a cached request for n bytes needs: the
// whole class, or whole pages above the largest class (rule R50).
func (p *Pool) AllocLen(n int) int {
	_, pages := p.classOf(n)
	return pages * PageSize
}

// Get returns an object for n bytes. hit: it has memory. Otherwise it is
// empty: Fill it, or give it back with Put.
func (p *Pool) Get(n int, cached bool) (o *Object, hit bool) {
	class, pages := p.classOf(n)
	if !cached {
		class, pages = oneUse, max((n+PageSize-1)/PageSize, 1)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if class == oneUse {
		p.oneUse++
		return p.newObject(class, pages), false
	}
	st := &p.stats[class]
	st.Pages = pages
	if o = p.class[class].top; o != nil {
		p.unlink(o)
		st.Hits++
		return o, true
	}
	st.Misses++
	return p.newObject(class, pages), false
}

// GetEmpty returns an empty object for n bytes even if an idle one is there:
// somebody brings memory for it.
func (p *Pool) GetEmpty(n int) *Object {
	class, pages := p.classOf(n)
	p.mu.Lock()
	defer p.mu.Unlock()
	if class != oneUse {
		p.stats[class].Pages = pages
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
	o.class, o.pages = int8(class), int32(pages)
	return o
}

// Fill puts the owner's memory into an empty object. ErrNoMemory: the limit
// is reached and the object stays empty.
func (p *Pool) Fill(o *Object, owner Owner, data []byte) error {
	p.mu.Lock()
	var victims *Object
	if m := p.opt.MaxPages; m > 0 && p.totalPages+int(o.pages) > m {
		for p.totalPages+int(o.pages) > m && p.oldest != nil {
			victims = p.evict(victims)
		}
		if p.totalPages+int(o.pages) > m {
			p.mu.Unlock()
			p.destroy(victims)
			return ErrNoMemory
		}
	}
	p.totalPages += int(o.pages)
	o.Data, o.Owner = data, owner
	p.mu.Unlock()
	owner.SGVMapped()
	p.destroy(victims)
	return nil
}

// Put gives an object back. It becomes idle if it is cached and keep is set
// (and the pool is open); otherwise its memory goes back to its owner before
// Put returns.
func (p *Pool) Put(o *Object, keep bool) {
	p.mu.Lock()
	if o.Owner == nil {
		p.recycle(o)
		p.mu.Unlock()
		return
	}
	var victims *Object
	if o.class == oneUse || !keep || p.closed {
		p.totalPages -= int(o.pages)
		p.destroyed++
		o.below = nil
		victims = o
	} else {
		p.link(o)
		for m := p.opt.MaxIdlePages; m > 0 && p.idlePages > m && p.oldest != nil; {
			victims = p.evict(victims)
		}
		if p.stopTimer == nil && p.opt.PurgeInterval > 0 {
			p.stopTimer = p.opt.AfterFunc(p.opt.PurgeInterval, p.purge)
		}
	}
	p.mu.Unlock()
	p.destroy(victims)
}

// link makes o idle. Caller holds mu.
func (p *Pool) link(o *Object) {
	c := &p.class[o.class]
	o.above, o.below = nil, c.top
	if c.top != nil {
		c.top.above = o
	}
	c.top = o
	o.tick = p.tick
	o.newer, o.older = nil, p.newest
	if p.newest != nil {
		p.newest.newer = o
	} else {
		p.oldest = o
	}
	p.newest = o
	p.idle++
	p.idlePages += int(o.pages)
	p.stats[o.class].Idle++
}

// unlink makes o not idle. Caller holds mu.
func (p *Pool) unlink(o *Object) {
	if o.above != nil {
		o.above.below = o.below
	} else {
		p.class[o.class].top = o.below
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
	p.idle--
	p.idlePages -= int(o.pages)
	p.stats[o.class].Idle--
}

// evict takes the oldest idle object out, onto the list of victims. Caller
// holds mu.
func (p *Pool) evict(victims *Object) *Object {
	return p.takeOut(p.oldest, victims)
}

// takeOut removes an idle object for destruction. Caller holds mu.
func (p *Pool) takeOut(o, victims *Object) *Object {
	p.unlink(o)
	p.totalPages -= int(o.pages)
	p.destroyed++
	o.below = victims
	return o
}

// destroy tells the owners of the victims, without a lock.
func (p *Pool) destroy(victims *Object) {
	for victims != nil {
		o := victims
		victims = o.below
		owner := o.Owner
		p.mu.Lock()
		p.recycle(o)
		p.mu.Unlock()
		owner.SGVDestroyed()
	}
}

// recycle keeps an object that is not used any more. Caller holds mu.
func (p *Pool) recycle(o *Object) {
	*o = Object{below: p.spare}
	p.spare = o
}

// Flush destroys every object that is idle when it comes to the object's size
// class, in ascending order of class (fact 35), and returns how many.
func (p *Pool) Flush() int {
	n := 0
	for class := range Classes {
		p.mu.Lock()
		left := p.stats[class].Idle // others may make more meanwhile
		p.mu.Unlock()
		for ; left > 0; left-- {
			p.mu.Lock()
			o := p.class[class].top
			if o != nil {
				p.takeOut(o, nil)
			}
			p.mu.Unlock()
			if o == nil {
				break
			}
			p.destroy(o)
			n++
		}
	}
	return n
}

// purge runs once per interval and destroys what was idle all through it,
// the oldest first.
func (p *Pool) purge() {
	p.mu.Lock()
	p.stopTimer = nil
	if p.closed {
		p.mu.Unlock()
		return
	}
	p.tick++
	for p.oldest != nil && p.oldest.tick+1 < p.tick {
		o := p.takeOut(p.oldest, nil)
		p.mu.Unlock()
		p.destroy(o)
		p.mu.Lock()
	}
	if p.oldest != nil && p.stopTimer == nil && !p.closed {
		p.stopTimer = p.opt.AfterFunc(p.opt.PurgeInterval, p.purge)
	}
	p.mu.Unlock()
}

// Close flushes the pool and makes it keep nothing from now on.
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

// Stats returns the counters.
func (p *Pool) Stats() Stats {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := Stats{
		Name: p.opt.Name, IdleObjects: p.idle, IdlePages: p.idlePages,
		TotalPages: p.totalPages, OneUse: p.oneUse, Destroyed: p.destroyed,
	}
	for _, c := range p.stats {
		if c.Pages > 0 {
			s.Classes = append(s.Classes, c)
		}
	}
	return s
}
