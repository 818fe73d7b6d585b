package disk

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"scstuser/handlers"
)

// FaultKind is what a medium fails to do.
type FaultKind uint8

// The kinds of fault.
const (
	// FaultRead: bytes, or the map of holes, could not be read.
	FaultRead FaultKind = iota
	// FaultWrite: bytes could not be written, zeroed or given back.
	FaultWrite
	// FaultSpace: there was no room to write them to.
	FaultSpace
	// FaultLost: what was written could not be made durable (invariant I6).
	// It has no end while the Backing is open: see handlers.ErrLost.
	FaultLost

	faultKinds = iota
)

var faultNames = [faultKinds]string{"read", "write", "space", "lost"}

// String names the kind, for logs and tests.
func (k FaultKind) String() string {
	if int(k) >= len(faultNames) {
		return fmt.Sprintf("FaultKind(%d)", k)
	}
	return faultNames[k]
}

// FaultPhase is where a fault is in its life.
type FaultPhase uint8

// The phases, in their order.
const (
	// FaultBegins: the first command has failed.
	FaultBegins FaultPhase = iota
	// FaultGoesOn: commands have failed since the last event, which was
	// faultRepeat ago or more.
	FaultGoesOn
	// FaultEnds: a command went well, and none has failed for faultQuiet.
	FaultEnds
)

// Fault is an event in the life of a medium's fault.
type Fault struct {
	Kind  FaultKind
	Phase FaultPhase
	// Err is why the last command failed.
	Err error
	// LBA is the first block that it did not transfer; Located says that it is
	// known.
	LBA     uint64
	Located bool
	// Failed is how many commands have failed since the fault began.
	Failed uint64
	// Lasted is how long ago that was, to the last failure.
	Lasted time.Duration
}

// FaultObserver hears of the medium's faults: once when one begins, once when it
// ends, and between, at most once in faultRepeat, that it goes on. So a disk that
// is broken for good costs a line a minute in a log, not one for each command.
//
// MediumFault is called on the goroutine of a command, for one event at a time
// and in their order. It may not call the Disk, and should not wait: commands
// that fail wait for it.
type FaultObserver interface {
	MediumFault(Fault)
}

// FaultState is what a medium has come to with one kind of fault since its Disk was
// made.
type FaultState struct {
	Kind FaultKind
	// Present: it has begun, and no command has shown that it is over.
	Present bool
	// Failed is how many commands have failed; the rest means something if any
	// has.
	Failed uint64
	// Since is when the fault that is present, or was last, began; Last when
	// the last command failed.
	Since, Last time.Time
	// Err is why that one failed.
	Err error
}

// Faults returns the state of each kind of fault, in their order. It may be called
// by any goroutine at any time, but not by a FaultObserver: it waits for the one that
// is being told of an event.
func (d *Disk) Faults() []FaultState {
	f := &d.faults
	f.mu.Lock()
	defer f.mu.Unlock()
	states := make([]FaultState, faultKinds)
	for kind := range states {
		l := &f.kinds[kind]
		states[kind] = FaultState{
			Kind: FaultKind(kind), Present: f.present.Load()&(1<<kind) != 0,
			Failed: l.before + l.failed, Since: l.began, Last: l.last, Err: l.err,
		}
	}
	return states
}

const (
	// faultQuiet is how long nothing may have failed before a success ends a
	// fault: a medium with a few bad blocks does not begin and end one each
	// time that they are met.
	faultQuiet = 5 * time.Second
	// faultRepeat is how long nothing is said about a fault that goes on.
	faultRepeat = time.Minute
)

// faults are the faults of a medium. The observer may be nil.
type faults struct {
	observer FaultObserver
	now      func() time.Time

	// present has a bit for each kind that has begun and not ended. It is
	// changed under mu and read without it, by every READ and WRITE.
	present atomic.Uint32
	// mu guards kinds, and is held while the observer is called.
	mu    sync.Mutex
	kinds [faultKinds]faultLife
}

// faultLife is a fault that has begun.
type faultLife struct {
	began, last, told time.Time
	err               error
	lba               uint64
	located           bool
	failed            uint64
	before            uint64 // failed, of all those that have ended
}

// failed notes that a command failed for err. located: lba is the first block
// that was not transferred.
func (f *faults) failed(kind FaultKind, err error, lba uint64, located bool) {
	if errors.Is(err, handlers.ErrLost) {
		kind, located = FaultLost, false // it may have been lost elsewhere
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	l, bit := &f.kinds[kind], uint32(1)<<kind
	now, phase := f.now(), FaultGoesOn
	if f.present.Load()&bit == 0 {
		*l, phase = faultLife{began: now, before: l.before + l.failed}, FaultBegins
		f.present.Or(bit)
	}
	l.failed++
	l.last, l.err, l.lba, l.located = now, err, lba, located
	if phase == FaultGoesOn && now.Sub(l.told) < faultRepeat {
		return
	}
	l.told = now
	f.tell(kind, phase)
}

// worked notes that a command went well that would have met a fault of these
// kinds, a bit for each.
func (f *faults) worked(kinds uint32) {
	if f.present.Load()&kinds != 0 {
		f.perhapsOver(kinds)
	}
}

// What a command that went well speaks against. Nothing does against FaultLost.
const (
	readWorked  = uint32(1) << FaultRead
	writeWorked = uint32(1)<<FaultWrite | uint32(1)<<FaultSpace
)

// perhapsOver ends the faults that have been quiet for long enough.
func (f *faults) perhapsOver(kinds uint32) {
	if !f.mu.TryLock() {
		return // it went well, and waits for nobody; the next one tells
	}
	defer f.mu.Unlock()
	now := f.now()
	for kind := range FaultKind(faultKinds) {
		bit := uint32(1) << kind
		if f.present.Load()&kinds&bit == 0 || now.Sub(f.kinds[kind].last) < faultQuiet {
			continue
		}
		f.present.And(^bit)
		f.tell(kind, FaultEnds)
	}
}

// tell calls the observer, if there is one. The caller holds mu.
func (f *faults) tell(kind FaultKind, phase FaultPhase) {
	if f.observer == nil {
		return
	}
	l := &f.kinds[kind]
	f.observer.MediumFault(Fault{
		Kind: kind, Phase: phase, Err: l.err, LBA: l.lba, Located: l.located,
		Failed: l.failed, Lasted: l.last.Sub(l.began),
	})
}

// writeFault is the kind of a write's failure.
func writeFault(err error) FaultKind {
	if noSpace(err) {
		return FaultSpace
	}
	return FaultWrite
}

// noSpace says whether the medium has no room for what was written.
func noSpace(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) || errors.Is(err, syscall.EFBIG)
}
