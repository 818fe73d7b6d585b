package ucmd

import (
	"time"

	"scstuser/target"
	"scstuser/ucmd/sgv"
)

// hashSize is the number of buckets at first, keyed by the low bits of the
// handle: the module's number. When there are more ucmds than buckets, there
// will be twice as many buckets: a thousand connections have as many commands
// as the module hardly ever sees.
const hashSize = 64

// Ucmd is one command on its way through the handler, or the owner of a
// buffer in a pool, or both, or a management event. Each field's comment says
// what guards it: mu is Device.mu; "mover" is whoever moves the command on at
// the time, while it is neither ready nor sent and nobody else can look.
type Ucmd struct {
	dev *Device // set for good when the ucmd is allocated
	// h is the handle; it does not change while the ucmd is in the hash.
	h uint32

	// Guarded by mu.

	ref   int32
	state State
	// owners is what ref consists of.
	owners [ownerCount]int8
	// sentToUser: fetched and not answered. seenByUser: fetched once.
	sentToUser, seenByUser bool
	// jammed: was unjammed once; thisStateUnjammed: in the present state.
	jammed, thisStateUnjammed bool
	// backgroundExec: answered BACKGROUND, COMPLETED is due. onFreePending:
	// on-free came meanwhile and waits for it.
	backgroundExec, onFreePending bool
	// aborted: its command was aborted and the handler's part given up.
	aborted bool
	// cmd is the SCSI command, until on-free.
	cmd *target.Cmd
	// What ON_FREE_CMD tells, kept because cmd is gone then.
	respLen  int32
	status   uint8
	delivery int8
	// bufDirty: a write has used the buffer that this ucmd brought.
	bufDirty bool
	// since is what its age counts from, on the clock of target.Now: when its
	// SCSI command was submitted, or it was made without one, or its buffer
	// was given up.
	since time.Duration
	// held is what is known of the last fetch, if somebody looks after that
	// (supervise.go); kept for the next ucmd that has this memory.
	held *heldMark
	// mapping: a reply waits for the handler's memory; abandoned: the release
	// has not waited for that, and has ended the command (abandon.go).
	mapping, abandoned bool

	// Management, guarded by mu. attach is where the one who waits for the
	// answer to an ATTACH_SESS gets it, nil once it is taken.
	tm       *target.MgmtCmd
	sess     *target.Session
	attach   chan<- int32
	answered func()
	sessH    uint64
	remap    *remapRequest

	hashNext, hashPrev   *Ucmd // guarded by mu
	readyNext, readyPrev *Ucmd // guarded by mu
	onReady              bool  // guarded by mu

	// The mover's.

	// onFreeType is the device's when the command came (rule R18).
	onFreeType OnFreeType
	// buffCached: the handler is told when the buffer is not needed any more.
	buffCached bool
	// clust: the object is from the clustered pool.
	clust bool
	// inObj: an object has data.
	inObj bool
	// allocLen is what the handler is asked to allocate.
	allocLen int32
	// obj is the pool's object, bufUcmd the ucmd whose memory it holds; that
	// one may be another device's if the pool is shared.
	obj     *sgv.Object
	bufUcmd *Ucmd
	// ubuff is the buffer's address in the handler, 0 while there is none.
	ubuff uint64
	// data is the memory that this ucmd brought, until it is unmapped.
	data []byte
}

// insert gives u a handle and puts it into the hash. Caller holds mu. The
// counter wraps and skips handles that are in use (rule R31).
func (d *Device) insert(u *Ucmd) {
	for d.find(d.nextH) != nil {
		d.nextH++
	}
	u.h = d.nextH
	d.nextH++
	d.count++
	if d.count > len(d.hash) {
		d.growHash()
	}
	d.enter(u)
	d.stats.peak(d.count)
	d.gen++
	d.note(u, EvInserted)
}

// bucket is where the ucmd of a handle is, if there is one. Caller holds mu.
func (d *Device) bucket(h uint32) **Ucmd { return &d.hash[int(h)&(len(d.hash)-1)] }

// enter puts u at the front of its bucket. Caller holds mu.
func (d *Device) enter(u *Ucmd) {
	b := d.bucket(u.h)
	u.hashPrev, u.hashNext = nil, *b
	if *b != nil {
		(*b).hashPrev = u
	}
	*b = u
}

// growHash doubles the number of buckets. What is in bucket i stays there or
// moves behind all that there were, so that a walk from bucket 0 to the last
// one, which lets go of mu meanwhile, misses nobody. Caller holds mu.
func (d *Device) growHash() {
	old := d.hash
	d.hash = make([]*Ucmd, 2*len(old))
	for _, u := range old {
		// From the last to the first: the order in a bucket is kept.
		var last *Ucmd
		for ; u != nil; u = u.hashNext {
			last = u
		}
		for u = last; u != nil; u = last {
			last = u.hashPrev
			d.enter(u)
		}
	}
}

// find looks a handle up. Caller holds mu. What is in the hash is alive: a
// ucmd leaves it under the same lock that drops its last reference.
func (d *Device) find(h uint32) *Ucmd {
	for u := *d.bucket(h); u != nil; u = u.hashNext {
		if u.h == h {
			return u
		}
	}
	return nil
}

// newUcmd allocates a ucmd with its creation reference. Caller holds mu.
func (d *Device) newUcmd(s State) *Ucmd {
	u := d.spare
	if u == nil {
		u = new(Ucmd)
	} else {
		d.spare = u.hashNext
		u.hashNext = nil
	}
	u.dev = d
	u.state = s
	u.ref, u.owners[OwnerCreation] = 1, 1
	d.insert(u)
	return u
}

// free takes a ucmd without references out of the hash. Caller holds mu.
func (d *Device) free(u *Ucmd) {
	if u.hashPrev == nil {
		*d.bucket(u.h) = u.hashNext
	} else {
		u.hashPrev.hashNext = u.hashNext
	}
	if u.hashNext != nil {
		u.hashNext.hashPrev = u.hashPrev
	}
	d.count--
	d.note(u, EvRemoved)
	*u = Ucmd{hashNext: d.spare, held: u.held}
	d.spare = u
}

// setState moves u to another state. Caller holds mu.
func (d *Device) setState(u *Ucmd, s State) {
	if u.state == s {
		return
	}
	u.state = s
	d.note(u, EvState)
}
