package sgv

import "time"

// DefaultPurgeInterval is how long a buffer may be idle (rule R63).
const DefaultPurgeInterval = 60 * time.Second

// Options are a pool's settings. The zero value is a pool without limits.
type Options struct {
	// Name is for people, and for whoever keeps pools by name.
	Name string
	// SinglePages, if positive, makes a pool with one class of that many
	// pages (sgv_single_alloc_pages, rule R50).
	SinglePages int
	// PurgeInterval is how long an object may be idle. It is checked once per
	// interval, so an object is destroyed between one and two (rule R63). 0 is
	// the default of 60 s, negative is never.
	PurgeInterval time.Duration
	// MaxPages limits the pages in objects with memory, in use and idle; 0 is
	// no limit.
	MaxPages int
	// MaxIdlePages limits the pages in idle objects; 0 is no limit. A larger
	// object is never kept.
	MaxIdlePages int
	// AfterFunc starts a timer that calls f once, on a goroutine of its own;
	// time.AfterFunc if nil. It is called under the pool's lock. stop is like
	// time.Timer.Stop. Tests bring their own.
	AfterFunc func(d time.Duration, f func()) (stop func() bool)
	// BeforeLock, if not nil, is called before the pool's lock is taken. Tests
	// stop there, to see what others can do meanwhile.
	BeforeLock func()
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
