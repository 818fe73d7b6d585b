package ucmd

// Pinner is a Memory whose handler runs in this process, so that it can't be
// stopped: its calls may go on using a buffer after everybody else is through
// with it.
type Pinner interface {
	Memory
	// Pin says that the buffer at addr must never be used for anything else,
	// nor be unmapped, whoever frees it: it leaks. It may be called with
	// Device.mu held.
	Pin(addr uint64)
}

// Sever cuts off a handler that does not get on: it is Release for a handler
// that has not ended its work and may never do so. Its commands are answered as
// Release does (rule R70), and what it replies later is refused.
//
// The buffers of the commands that it has are lost: they serve no other
// command, of this device or another one with the same pool, and a Pinner is
// told that they can't be given back. It returns at once; Released is closed
// at the end. It does nothing once the release has begun.
func (d *Device) Sever() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.released {
		return
	}
	if p, ok := d.mem.(Pinner); ok {
		d.pinHeld(p)
	}
	d.severed = true
	d.beginRelease()
}

// pinHeld pins the buffers that the handler may be using. Caller holds mu.
func (d *Device) pinHeld(p Pinner) {
	for _, u := range d.hash {
		for ; u != nil; u = u.hashNext {
			// What it was told that it can free it does not use; and it may
			// have freed it, and the address may be somebody else's.
			using := u.backgroundExec || u.withHandler() && u.state != StateOnFreeing && u.state != StateOnCacheFreeing
			if using && u.ubuff != 0 {
				p.Pin(u.ubuff)
			}
		}
	}
}
