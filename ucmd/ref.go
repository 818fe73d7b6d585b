package ucmd

import "fmt"

// Owner names who holds a reference to a ucmd (scst_user.md 2.2). Every
// reference has one, so that ref is the sum of the owners at any time (I2).
type Owner uint8

// The owners.
const (
	// OwnerCreation: from the allocation until on-free is finished (SCSI
	// commands), the reply (management), or the end of the call (PREALLOC).
	OwnerCreation Owner = iota
	// OwnerSGV: from when the ucmd's memory enters a pool object until that
	// object is destroyed and, if the handler has to be told, has been.
	OwnerSGV
	// OwnerTransient: while a reply, a fetch or an unjam looks at the ucmd.
	OwnerTransient
	// OwnerBackground: from a BACKGROUND reply to the COMPLETED one.
	OwnerBackground
	// OwnerAttach: while somebody waits for the answer to an ATTACH_SESS.
	OwnerAttach
	ownerCount
)

// String returns the owner's name.
func (o Owner) String() string {
	return [...]string{"creation", "sgv", "transient", "background", "attach"}[o]
}

// get takes a reference. Caller holds mu.
func (d *Device) get(u *Ucmd, o Owner) {
	u.ref++
	u.owners[o]++
	if d.obs != nil {
		d.obs.Event(Event{Kind: EvRef, Handle: u.h, State: u.state, Owner: o, Ref: u.ref})
	}
}

// put gives a reference back; with the last one the ucmd leaves the hash and
// is gone. Caller holds mu.
func (d *Device) put(u *Ucmd, o Owner) {
	if u.owners[o] == 0 {
		panic(fmt.Sprintf("ucmd: device %s: h=%d: %s gives back a reference that it does not hold", d.desc.Name, u.h, o))
	}
	u.ref--
	u.owners[o]--
	if d.obs != nil {
		d.obs.Event(Event{Kind: EvUnref, Handle: u.h, State: u.state, Owner: o, Ref: u.ref})
	}
	if u.ref == 0 {
		d.free(u)
	}
	if d.released {
		d.gen++
		d.signalCleanup()
	}
}
