package node

import (
	"sync"
	"time"
)

// A non-blocking handler asks again after each EAGAIN, at once: poll always says
// ready (F5). What that costs is the number of such gets, so those of a thread
// that does nothing else wait longer. A command ends the wait in any case. What
// could suffer is the other things that a thread does between its gets; it is
// not made to wait longer when
//
//   - it has had a command, or a get of another device, within the last idleGets
//     gets: it may be serving several devices in turn;
//   - its device has something with the handler, which may be waiting for an
//     event that has nothing to do with the node.

// idleGets is how many gets in a row have to come back empty.
const idleGets = 50

// maxIdleThreads bounds the threads that are remembered; those that ended leave
// theirs behind.
const maxIdleThreads = 4096

// idleThreads are the threads whose last gets came back empty.
type idleThreads struct {
	mu      sync.Mutex
	threads map[int]idleThread // by thread id; guarded by mu
}

// idleThread is how many empty gets a thread has made, all of one file.
type idleThread struct {
	file  *File
	empty int
}

// came notes a get that brought something.
func (t *idleThreads) came(tid int) {
	t.mu.Lock()
	delete(t.threads, tid)
	t.mu.Unlock()
}

// empty notes a get that is about to wait, and returns how many there were in a
// row before it.
func (t *idleThreads) empty(tid int, f *File) (before int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.threads == nil || len(t.threads) >= maxIdleThreads {
		t.threads = map[int]idleThread{}
	}
	x := t.threads[tid]
	if x.file != f {
		x = idleThread{file: f}
	}
	before = x.empty
	x.empty = min(x.empty+1, idleGets)
	t.threads[tid] = x
	return before
}

// forget drops the threads of a file that is closed.
func (t *idleThreads) forget(f *File) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for tid, x := range t.threads {
		if x.file == f {
			delete(t.threads, tid)
		}
	}
}

// emptyWait is how long a get with nothing ready waits for a command.
func (x *request) emptyWait() time.Duration {
	o := &x.host.opt
	if !x.nonBlocking || x.TID == 0 {
		return o.PollWait // woken by UNREGISTER_DEVICE (R15), or nobody that is known
	}
	if x.host.idle.empty(x.TID, x.File) < idleGets || x.dev.WithHandler() {
		return o.PollWait
	}
	return untilTick(time.Since(x.host.start), o.IdleWait, o.PollWait)
}

// untilTick is the time from now to a multiple of period, the first one that is
// not nearer than least. The waits of all idle threads end together, which costs
// a fraction of as many wake-ups, one here and one there.
func untilTick(now, period, least time.Duration) time.Duration {
	wait := period - now%period
	if wait < least {
		wait += period
	}
	return wait
}
