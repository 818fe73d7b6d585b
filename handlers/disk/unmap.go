package disk

import (
	"errors"

	"scstuser/handlers"
	"scstuser/scsi"
)

// unmap is UNMAP. A descriptor that is out of range, and lists beyond the limits
// of VPD page B0h, fail the command before anything is unmapped.
func (d *Disk) unmap(r *handlers.Request, c scsi.Command) {
	if c.Anchor { // ANC_SUP=0 in VPD page B2h
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(1, 0))
		return
	}
	raw, ok := data(r, uint64(c.ParamLen))
	if !ok {
		return
	}
	list, err := scsi.ParseUnmapList(raw)
	switch {
	case err == scsi.ErrUnmapListLength:
		r.Fail(scsi.SenseParameterListLength)
		return
	case err != nil:
		r.Fail(scsi.SenseInvalidFieldInParameterList.AtParameter(0, -1))
		return
	}
	if !d.unmappable(r, list) {
		return
	}
	if s, ok := d.punch(list); !ok {
		r.Fail(s)
	}
}

// unmappable checks the whole list.
func (d *Disk) unmappable(r *handlers.Request, list scsi.UnmapList) bool {
	if list.Len() > maxUnmapDescriptors {
		r.Fail(scsi.SenseInvalidFieldInParameterList.AtParameter(2, -1))
		return false
	}
	left := uint64(d.opts.MaxUnmap) >> d.shift
	for i := range list.Len() {
		u := list.At(i)
		if !d.inRange(r, u.LBA, uint64(u.Blocks)) {
			return false
		}
		if uint64(u.Blocks) > left {
			at := scsi.UnmapHeaderLen + i*scsi.UnmapDescriptorLen + 8
			r.Fail(scsi.SenseInvalidFieldInParameterList.AtParameter(uint16(at), -1))
			return false
		}
		left -= uint64(u.Blocks)
	}
	return true
}

// punch unmaps the ranges of a list that was checked. A medium that turns out to
// be unable to, keeps its blocks mapped, as a device server may (SBC-3, 4.7.3.4).
func (d *Disk) punch(list scsi.UnmapList) (s scsi.Sense, ok bool) {
	for i := range list.Len() {
		u := list.At(i)
		if u.Blocks == 0 {
			continue
		}
		err := d.puncher.Punch(int64(u.LBA<<d.shift), int64(uint64(u.Blocks)<<d.shift))
		if err != nil && !errors.Is(err, handlers.ErrNotSupported) {
			return d.writeSense(err, u.LBA, 0), false
		}
	}
	d.faults.worked(writeWorked)
	return d.syncSense(d.settle(false))
}
