package sgv

// Owner gave the memory of an object. Its methods are called without a lock
// and may call the pool.
type Owner interface {
	// SGVMapped tells that the owner's memory is in an object now.
	SGVMapped()
	// SGVDestroyed tells that this object does not exist any more: nobody
	// uses the memory, nobody will.
	SGVDestroyed()
}

// Object is a data buffer of a pool. From Get to Put it belongs to whoever
// called Get; afterwards it must not be touched.
type Object struct {
	// Data is the memory: as many bytes as Pool.AllocLen told, for an object
	// of a class. Only Fill changes it.
	Data []byte
	// Owner gave the memory; nil while there is none. Only Fill changes it.
	Owner Owner

	// The following is guarded by Pool.mu.

	place place
	// class is the size class, or oneUse.
	class int
	pages int
	// round is the purge round in which the object became idle.
	round uint64
	// older and newer link the idle objects by age; below and above link
	// those of a class. below also links Pool.spare and lists of victims.
	older, newer *Object
	below, above *Object
}

// oneUse is the class of objects that are destroyed when they are put back.
const oneUse = -1

// place is where an object is. link, unlink, newObject and recycle assign it.
type place uint8

const (
	notInUse place = iota // kept for the next newObject, or being destroyed
	inUse
	idle
)

// mustBeInUse stops a caller who would hand the same object to two commands
// otherwise (invariant I3): who has put it back must not touch it.
func (o *Object) mustBeInUse(what string) {
	if o.place != inUse {
		panic("sgv: " + what + " for an object that is not in use: it was put back before")
	}
}

// victims are objects that were taken out to be destroyed, in the order in
// which their owners are told.
type victims struct {
	first, last *Object
	n           int
}

func (v *victims) add(o *Object) {
	o.below = nil
	if v.last == nil {
		v.first = o
	} else {
		v.last.below = o
	}
	v.last = o
	v.n++
}
