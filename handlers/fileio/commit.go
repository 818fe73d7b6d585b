package fileio

import (
	"fmt"
	"sync"
	"sync/atomic"

	"scstuser/handlers"
)

// Sync makes every write, Punch and Zero that was answered before the call
// durable, through the volatile cache of the device as well. Calls at the same
// time share their fdatasyncs.
//
// After a failure the state of the data is unknown: the kernel reports a
// write-back error once and counts the lost pages as clean from then on. So
// from the first failure on every Sync, every WriteAtDurable and with
// Options.WriteThrough every write fails with that first error, which wraps
// handlers.ErrLost, until the File is closed and the medium opened anew. Reads
// and other writes go on. Nothing else ends it: that the fault is over does not
// bring the bytes back, and to write some again says nothing of the others.
//
// With Options.NVCache or ReadOnly it does nothing and succeeds.
func (f *File) Sync() error {
	if f.opts.ReadOnly || f.opts.NVCache {
		return nil
	}
	return f.commit.wait()
}

// datasync is the one fdatasync at a time that commit makes.
func (f *File) datasync() error {
	err := ignoringEINTR(func() error { return f.sys.fdatasync(f.syncFd) })
	if err != nil {
		return f.lost(err)
	}
	return nil
}

func (f *File) lost(err error) error {
	return fmt.Errorf("sync %s: %w (%w; reopen the device to go on)", f.path, err, handlers.ErrLost)
}

// commit lets many callers share few syncs. A sync helps a caller only if it
// started after the call: one that is under way may have passed the caller's
// data already. So callers that come during a sync wait for the next one, which
// one of them makes for all.
type commit struct {
	// sync makes everything durable that was written before it was called.
	// It is called without mu, by one goroutine at a time.
	sync func() error

	// mu guards what follows.
	mu sync.Mutex
	// changed is broadcast when a sync ends.
	changed sync.Cond
	// started and ended count syncs; they differ by one while one runs.
	started, ended uint64
	// err is the first failure. It is only ever set from nil, under mu, and
	// read without it.
	err atomic.Pointer[error]
}

func (c *commit) init(sync func() error) {
	c.sync = sync
	c.changed.L = &c.mu
}

// failure is the error that every later sync fails with, or nil.
func (c *commit) failure() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

// fail makes err the failure unless there is one.
func (c *commit) fail(err error) { c.err.CompareAndSwap(nil, &err) }

// wait returns after a sync that started after the call, or the failure.
func (c *commit) wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	need := c.started + 1
	for c.ended < need && c.failure() == nil {
		if c.started != c.ended {
			c.changed.Wait()
			continue
		}
		c.run()
	}
	// A failure of a sync after the one that was needed is reported too:
	// the safe side.
	return c.failure()
}

// run makes one sync. The caller holds mu, which is free meanwhile.
func (c *commit) run() {
	c.started++
	c.mu.Unlock()
	err := c.sync()
	c.mu.Lock()
	c.ended++
	if err != nil {
		c.fail(err)
	}
	c.changed.Broadcast()
}
