package ucmd

import "fmt"

// Observer gets every step of every ucmd of a device. Tests, traces and
// metrics hang on it. Event is called with the device's lock held, in the
// order in which things happen: it must be quick and must not call back.
type Observer interface {
	Event(e Event)
}

// EventKind says what happened to a ucmd.
type EventKind uint8

// The kinds of events.
const (
	EvInserted   EventKind = iota // allocated and put into the hash
	EvRemoved                     // out of the hash: it does not exist any more
	EvRef                         // Owner took a reference; Ref is the count after
	EvUnref                       // Owner gave one back; Ref is the count after
	EvState                       // State is the new state
	EvReady                       // queued; Where says at which place
	EvUnready                     // off the ready list, and neither fetched nor unjammed
	EvFetched                     // taken by the handler: sent and seen
	EvReplied                     // a reply was accepted: not sent any more
	EvRejected                    // a reply was refused
	EvUnjam                       // the handler's part was given up; off the ready list
	EvSGVHit                      // a buffer came from the pool
	EvSGVMiss                     // an empty object came from the pool
	EvSGVFilled                   // the ucmd's memory is in its object
	EvSGVPut                      // the object went back to the pool
	EvSGVGone                     // the object with the ucmd's memory was destroyed
	EvBackground                  // answered BACKGROUND
	EvDirty                       // a write used the buffer
)

var eventNames = [...]string{
	"inserted", "removed", "ref", "unref", "state", "ready", "unready", "fetched", "replied", "rejected",
	"unjam", "sgv-hit", "sgv-miss", "sgv-filled", "sgv-put", "sgv-gone", "background", "dirty",
}

// Where is a place in the ready list (rule R32).
type Where uint8

// The places.
const (
	AtTail  Where = iota
	AtHead        // right behind management
	AtMgmt        // behind other management
	AtFront       // the very first: given back by a getter (rule R27)
)

// Event is one step.
type Event struct {
	Kind   EventKind
	Handle uint32
	State  State
	Owner  Owner // EvRef, EvUnref
	Ref    int32 // EvRef, EvUnref
	Where  Where // EvReady
}

// String returns one line for people and for scenario files.
func (e Event) String() string {
	s := fmt.Sprintf("h=%d %s", e.Handle, eventNames[e.Kind])
	switch e.Kind {
	case EvRef, EvUnref:
		return fmt.Sprintf("%s %s -> %d", s, e.Owner, e.Ref)
	case EvState, EvUnjam, EvFetched, EvReplied, EvRejected:
		return fmt.Sprintf("%s %s", s, e.State)
	case EvReady:
		return fmt.Sprintf("%s %s at %s", s, e.State, [...]string{"tail", "head", "mgmt", "front"}[e.Where])
	}
	return s
}

// note tells the observer. Caller holds mu.
func (d *Device) note(u *Ucmd, k EventKind) {
	if d.obs != nil {
		d.obs.Event(Event{Kind: k, Handle: u.h, State: u.state})
	}
}
