package ucmd

import (
	"scstuser/target"
	"scstuser/ucmd/sgv"
)

// hashSize is the number of buckets, keyed by the low bits of the handle.
const hashSize = 64

// Ucmd is one command on its way through the handler, or the owner of a
// buffer in a pool, or both, or a management event. All fields are guarded by
// Device.mu, except where the comment says otherwise.
type Ucmd struct {
	dev   *Device
	h     uint32
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
	aborted                       bool

	// The following belong to whoever moves the command; they change only
	// while nobody else can look (not sent, not ready).

	// cmd is the SCSI command, until on-free.
	cmd *target.Cmd
	// obj is the pool's object, bufUcmd the ucmd whose memory it holds.
	obj     *sgv.Object
	bufUcmd *Ucmd
	// ubuff is the buffer's address in the handler, 0 while there is none.
	ubuff uint64
	// data is the memory that this ucmd brought; inObj: an object has it.
	data  []byte
	inObj bool
	// allocLen is what the handler is asked to allocate.
	allocLen int32
	// buffCached: the handler is told when the buffer is not needed any more.
	buffCached bool
	// bufDirty: a write has used this ucmd's buffer.
	bufDirty bool
	// clust: the object is from the clustered pool.
	clust bool

	// What ON_FREE_CMD tells, kept because cmd is gone then.
	respLen  int32
	status   uint8
	delivery int8

	// Management.
	tm       *target.MgmtCmd
	sess     *target.Session
	attach   *attachWaiter
	answered func()
	sessH    uint64
	remap    *remapRequest

	hashNext, hashPrev   *Ucmd
	readyNext, readyPrev *Ucmd
	onReady              bool
}

// insert gives u a handle and puts it into the hash. Caller holds mu. The
// counter wraps and skips handles that are in use (rule R31).
func (d *Device) insert(u *Ucmd) {
	for d.find(d.nextH) != nil {
		d.nextH++
	}
	u.h = d.nextH
	d.nextH++
	b := &d.hash[u.h%hashSize]
	u.hashPrev, u.hashNext = nil, *b
	if *b != nil {
		(*b).hashPrev = u
	}
	*b = u
	d.count++
	d.gen++
	d.note(u, EvInserted)
}

// find looks a handle up. Caller holds mu. What is in the hash is alive: a
// ucmd leaves it under the same lock that drops its last reference.
func (d *Device) find(h uint32) *Ucmd {
	for u := d.hash[h%hashSize]; u != nil; u = u.hashNext {
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
		d.hash[u.h%hashSize] = u.hashNext
	} else {
		u.hashPrev.hashNext = u.hashNext
	}
	if u.hashNext != nil {
		u.hashNext.hashPrev = u.hashPrev
	}
	d.count--
	d.note(u, EvRemoved)
	*u = Ucmd{hashNext: d.spare}
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
