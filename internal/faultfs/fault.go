package faultfs

import (
	"slices"
	"sync"
	"syscall"
	"time"
)

// Op is a set of operations.
type Op uint8

// The operations.
const (
	Read  Op = 1 << iota // read, as it arrives from the kernel
	Write                // write, likewise
	Sync                 // fsync and fdatasync
	Punch                // fallocate that makes a hole
	Zero                 // fallocate that zeroes a range
	Map                  // lseek to data or a hole
)

// Fault is what goes wrong. The zero values of its fields do nothing.
type Fault struct {
	// Ops are the operations concerned.
	Ops Op
	// Off and Len are the range concerned, in bytes; Len 0 is all of the
	// file. A request is concerned if it touches the range. Sync has no range.
	Off, Len int64
	// Times is after how many requests the fault is over; 0: when it is
	// cleared.
	Times int
	// PerOpen counts Times for each open file, as the kernel does when it
	// tells of data that it lost.
	PerOpen bool

	// Delay is how long the request takes longer.
	Delay time.Duration
	// Hang makes it wait until the fault is cleared, or the file system closed.
	Hang bool
	// Err is what the request fails with, without being carried out.
	Err syscall.Errno
	// Short is the most bytes that a Read or Write moves. Only without
	// Options.Cached: to the kernel's cache a short read is the file's end.
	Short int
	// Lose answers a Write and forgets it.
	Lose bool
}

// Injected is a fault that was injected. Its methods may be called from any
// goroutine.
type Injected struct {
	fs *FS
	f  Fault
	// cleared is closed, by once, when the fault is over by Clear or Close.
	cleared chan struct{}
	once    sync.Once

	// hits is how many requests met the fault, waiting how many of them are
	// delayed or hang now, opens the hits of each open file. FS.mu guards them.
	hits, waiting int
	opens         map[*openFile]int
}

// Inject adds a fault. Of several that concern a request the one that was
// injected last is taken.
func (s *FS) Inject(f Fault) *Injected {
	i := &Injected{fs: s, f: f, cleared: make(chan struct{}), opens: make(map[*openFile]int)}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, i)
	return i
}

// Clear ends the fault: no further request meets it, and those that hang or are
// delayed go on. It may be called again.
func (i *Injected) Clear() {
	i.fs.mu.Lock()
	i.fs.faults = slices.DeleteFunc(i.fs.faults, func(o *Injected) bool { return o == i })
	i.fs.mu.Unlock()
	i.end()
}

// end lets go of the requests that wait.
func (i *Injected) end() { i.once.Do(func() { close(i.cleared) }) }

// Hits is how many requests have met the fault.
func (i *Injected) Hits() int {
	i.fs.mu.Lock()
	defer i.fs.mu.Unlock()
	return i.hits
}

// Waiting is how many requests are delayed or hang.
func (i *Injected) Waiting() int {
	i.fs.mu.Lock()
	defer i.fs.mu.Unlock()
	return i.waiting
}

// ClearAll clears all faults.
func (s *FS) ClearAll() {
	s.mu.Lock()
	all := s.faults
	s.faults = nil
	s.mu.Unlock()
	for _, i := range all {
		i.end()
	}
}

// meet finds the fault that concerns a request of n bytes at off, and counts
// it. nil: there is none.
func (s *FS) meet(op Op, o *openFile, off, n int64) *Injected {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests[op]++
	for _, i := range slices.Backward(s.faults) {
		if !i.concerns(op, off, n) || i.spent(o) {
			continue
		}
		i.hits++
		i.opens[o]++
		return i
	}
	return nil
}

func (i *Injected) concerns(op Op, off, n int64) bool {
	if i.f.Ops&op == 0 {
		return false
	}
	return op == Sync || i.f.Len == 0 || (off < i.f.Off+i.f.Len && i.f.Off < off+n)
}

// spent says whether the fault has happened as often as it is to. The caller
// holds FS.mu.
func (i *Injected) spent(o *openFile) bool {
	if i.f.PerOpen {
		return i.f.Times > 0 && i.opens[o] >= i.f.Times
	}
	return i.f.Times > 0 && i.hits >= i.f.Times
}

// wait is the slow part of a fault.
func (i *Injected) wait() {
	if i.f.Delay == 0 && !i.f.Hang {
		return
	}
	i.count(1)
	defer i.count(-1)
	if i.f.Hang {
		<-i.cleared
		return
	}
	t := time.NewTimer(i.f.Delay)
	defer t.Stop()
	select {
	case <-t.C:
	case <-i.cleared:
	}
}

func (i *Injected) count(n int) {
	i.fs.mu.Lock()
	defer i.fs.mu.Unlock()
	i.waiting += n
}

// suffer lets a request have its fault. What is left to be carried out of n
// bytes comes back, or the errno; lose says that it is not to be carried out.
func (s *FS) suffer(op Op, o *openFile, off, n int64) (left int64, lose bool, errno syscall.Errno) {
	i := s.meet(op, o, off, n)
	if i == nil {
		return n, false, 0
	}
	i.wait()
	if i.f.Short > 0 {
		n = min(n, int64(i.f.Short))
	}
	return n, i.f.Lose, i.f.Err
}
