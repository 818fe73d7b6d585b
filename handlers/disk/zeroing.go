package disk

import (
	"scstuser/handlers"
	"scstuser/scsi"
)

// zeroing is VPD page C0h: whether WRITE SAME of zeroes is faster than writing
// them. It is asked of the Backing each time, because a medium may turn out not
// to have what it was thought to have.
func (d *Disk) zeroing() scsi.Zeroing {
	punch, zero := d.puncher != nil, d.zeroer != nil
	if f, ok := d.backing.(handlers.FastZeroer); ok {
		fastPunch, fastZero := f.FastZero()
		punch, zero = punch && fastPunch, zero && fastZero
	}
	// With the UNMAP bit zero does what can be done without it, where blocks
	// can't be unmapped.
	return scsi.Zeroing{FastUnmap: punch, FastKeep: zero}
}
