package disk

import (
	"math/bits"

	"scstuser/handlers"
	"scstuser/scsi"
)

// capacity is what both READ CAPACITY commands tell; false: there is no medium,
// and the command was failed.
func (d *Disk) capacity(r *handlers.Request) (scsi.Capacity, bool) {
	blocks := d.blocks.Load()
	if blocks == 0 {
		r.Fail(scsi.SenseMediumNotPresent)
		return scsi.Capacity{}, false
	}
	return scsi.Capacity{
		LastLBA:          blocks - 1,
		BlockSize:        uint32(d.opts.BlockSize),
		PhysicalExponent: uint8(bits.TrailingZeros(uint(d.opts.PhysicalBlockSize)) - int(d.shift)),
		LBPME:            d.puncher != nil,
		LBPRZ:            d.puncher != nil, // what Punch promises
	}, true
}

// readCapacity10 is READ CAPACITY(10).
func (d *Disk) readCapacity10(r *handlers.Request, _ scsi.Command) {
	if c, ok := d.capacity(r); ok {
		var b [scsi.Capacity10Len]byte
		answer(r, scsi.AppendReadCapacity10(b[:0], c), uint32(len(b)))
	}
}

// readCapacity16 is READ CAPACITY(16).
func (d *Disk) readCapacity16(r *handlers.Request, c scsi.Command) {
	if capacity, ok := d.capacity(r); ok {
		var b [scsi.Capacity16Len]byte
		answer(r, scsi.AppendReadCapacity16(b[:0], capacity), c.AllocLen)
	}
}
