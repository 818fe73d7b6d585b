package ucmd

import (
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing/synctest"
)

// A stepper runs the goroutines of a device one at a time, from one taking of
// a lock to the next: where the kernel module, too, drops its lock and takes it
// again. Everything runs in a synctest bubble, so that the stepper knows when
// all goroutines stand still, and time passes only when a test says so. The
// code under test is the real one: the only seam is steplock.Mutex.Before.

// thread is a goroutine that stands in front of a lock.
type thread struct {
	// slot is the number of the action that the goroutine carries out, or -1:
	// it is one of the device's own (release, cleanup, detach).
	slot int
	// entry is the function with which the goroutine began.
	entry uintptr
	// key stands for the place: the whole call stack.
	key uint64
	pcs []uintptr
	// history stands for the places where the goroutine was before.
	history uint64
	// settled says that history and gen, the device's when the goroutine came
	// here, are known.
	settled bool
	gen     uint64
	// goOn lets it take the lock.
	goOn chan struct{}
}

// stepper is one run's. mu guards everything; it is never held while another
// lock is taken.
type stepper struct {
	mu      sync.Mutex
	through bool // nobody is stopped
	locks   int  // taken in a row without being stopped
	looping func()
	parked  []*thread
	history map[histKey]uint64
	gens    map[histKey]uint64
	gen     func() uint64
	busy    [maxSlots]bool // actions that have not ended
}

type histKey struct {
	slot  int
	entry uintptr
}

// maxSlots is how many actions can be under way at once.
const maxSlots = 12

func newStepper() *stepper {
	return &stepper{history: map[histKey]uint64{}, gens: map[histKey]uint64{}}
}

// An action's goroutine is known by how often nest has called itself below it:
// goroutines have no names, stacks do.
//
//go:noinline
func nest(n int, f func()) {
	if n > 0 {
		nest(n-1, f)
		return
	}
	f()
}

// pcNest and pcBase are the return addresses of nest's two calls.
var pcNest, pcBase = func() (nested, base uintptr) {
	var pcs [8]uintptr
	nest(1, func() { runtime.Callers(2, pcs[:]) })
	return pcs[1], pcs[0]
}()

// mix adds x to a hash.
func mix(h, x uint64) uint64 {
	h ^= x
	h *= 0x9e3779b97f4a7c15
	return h ^ h>>29
}

// before is called in front of every lock.
func (s *stepper) before() {
	s.mu.Lock()
	if s.through {
		s.locks++
		over := s.locks > maxLocks
		s.mu.Unlock()
		if over {
			s.looping()
			runtime.Goexit()
		}
		return
	}
	t := &thread{slot: -1, goOn: make(chan struct{})}
	var pcs [64]uintptr
	n := runtime.Callers(3, pcs[:])
	nested := 0
	for _, pc := range pcs[:n] {
		t.key = mix(t.key, uint64(pc))
		switch pc {
		case pcNest:
			nested++
		case pcBase:
			t.slot = 0
		}
	}
	if t.slot == 0 {
		t.slot = nested
	} else if n >= 2 {
		t.entry = runtime.FuncForPC(pcs[n-2]).Entry()
	}
	t.pcs = slices.Clone(pcs[:n])
	s.parked = append(s.parked, t)
	s.mu.Unlock()
	<-t.goOn
}

// settle waits until all goroutines stand still, and notes where the new ones
// are.
func (s *stepper) settle() {
	synctest.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	gen := s.gen()
	for _, t := range s.parked {
		if t.settled {
			continue
		}
		t.settled, t.gen = true, gen
		k := histKey{t.slot, t.entry}
		h := mix(s.history[k], t.key)
		if s.gens[k] != gen {
			h = mix(h, 1)
		}
		s.history[k], s.gens[k] = h, gen
		t.history = h
	}
}

// look runs f, which takes locks without being stopped, while all goroutines
// stand still.
func (s *stepper) look(f func()) {
	s.setThrough(true)
	f()
	s.setThrough(false)
}

func (s *stepper) setThrough(b bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.through, s.locks = b, 0
}

// maxLocks is more locks than anything takes that comes to an end.
const maxLocks = 20000

// letGo lets everybody go on, past every lock.
func (s *stepper) letGo() {
	s.setThrough(true)
	s.mu.Lock()
	all := s.parked
	s.parked = nil
	s.mu.Unlock()
	for _, t := range all {
		close(t.goOn)
	}
	s.settle()
}

// quick is begin for an action that is not stopped anywhere. Nobody else is
// under way.
func (s *stepper) quick(f func()) {
	s.setThrough(true)
	f()
	s.settle()
	s.setThrough(false)
}

// threads returns who stands in front of a lock, in an order that is the same
// in every run. All goroutines stand still.
func (s *stepper) threads() []*thread {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortStableFunc(s.parked, func(a, b *thread) int {
		switch {
		case a.slot != b.slot:
			return a.slot - b.slot
		case a.entry != b.entry:
			if a.entry < b.entry {
				return -1
			}
			return 1
		case a.history < b.history:
			return -1
		case a.history > b.history:
			return 1
		}
		return 0
	})
	return s.parked
}

// resume lets t go on to where it stops next, and waits for that.
func (s *stepper) resume(t *thread) {
	s.mu.Lock()
	s.parked = slices.DeleteFunc(s.parked, func(x *thread) bool { return x == t })
	s.mu.Unlock()
	close(t.goOn)
	s.settle()
}

// begin starts an action and takes it past the first lock: nothing of the
// device happens before that. It returns the action's slot.
func (s *stepper) begin(f func()) (slot int) {
	s.mu.Lock()
	slot = slices.Index(s.busy[:], false)
	if slot < 0 {
		s.mu.Unlock()
		panic("too many actions at once")
	}
	s.busy[slot] = true
	delete(s.history, histKey{slot, 0})
	delete(s.gens, histKey{slot, 0})
	s.mu.Unlock()
	go nest(slot, func() {
		f()
		s.mu.Lock()
		s.busy[slot] = false
		s.mu.Unlock()
	})
	s.settle()
	if t := s.at(slot); t != nil {
		s.resume(t)
	}
	return slot
}

// at returns the goroutine of an action, nil if it is not in front of a lock.
func (s *stepper) at(slot int) *thread {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.parked {
		if t.slot == slot && slot >= 0 {
			return t
		}
	}
	return nil
}

// hash adds where all goroutines are.
func (s *stepper) hash(h uint64) uint64 {
	gen := s.gen()
	for _, t := range s.threads() {
		h = mix(h, uint64(t.slot)<<1)
		h = mix(h, t.key)
		h = mix(h, t.history)
		if t.gen != gen {
			h = mix(h, 1)
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for slot, b := range s.busy {
		if b { // it may be waiting for something else than a lock
			h = mix(h, uint64(slot)<<1|1)
			h = mix(h, s.history[histKey{slot, 0}])
		}
	}
	return h
}

// place names the function of this package in which t stands.
func (t *thread) place() string {
	frames := runtime.CallersFrames(t.pcs)
	for {
		f, more := frames.Next()
		name := f.Function[strings.LastIndexByte(f.Function, '/')+1:]
		if name != "steplock.(*Mutex).Lock" && !strings.Contains(name, "stepper") {
			return name
		}
		if !more {
			return "?"
		}
	}
}

// name says who t is: the letter of its action, or what the device started it
// for.
func (t *thread) name() string {
	if t.slot >= 0 {
		return slotName(t.slot)
	}
	name := runtime.FuncForPC(t.entry).Name()
	switch {
	case strings.Contains(name, "startCleanup"):
		return "cleanup"
	case strings.Contains(name, ").release"), strings.Contains(name, ").lose"):
		return "release"
	case strings.Contains(name, ").adopt"):
		return "adopt"
	case strings.Contains(name, "detach"):
		return "detach"
	case strings.Contains(name, "purge"), strings.Contains(name, "goFunc"):
		return "purge"
	}
	return name[strings.LastIndexByte(name, '.')+1:]
}

func slotName(slot int) string { return string(rune('A' + slot)) }
