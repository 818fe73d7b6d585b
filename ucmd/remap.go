package ucmd

import "scstuser/scsi"

// remapDescrSize is the wire size of a DataDescr (rule R65).
const remapDescrSize = 24

// remapRequest is an EXTENDED COPY segment that the handler is asked about.
type remapRequest struct {
	segment RemapSegment
	over    func(left []DataDescr, err error)
}

// errRemapStatus says that the handler ended the command with its own status.
const errRemapStatus = remapError("the handler failed EXT_COPY_REMAP")

type remapError string

func (e remapError) Error() string { return string(e) }

// queueRemap asks the handler which part of a segment the target still has to
// copy (EXT_COPY_REMAP). The command is at exec. over gets what is left, empty
// if the handler did it all; or an error, the command's outcome being set. It
// is not called for a command that is given up: that one is over then.
func (d *Device) queueRemap(u *Ucmd, seg RemapSegment, over func([]DataDescr, error)) {
	d.mu.Lock()
	u.remap = &remapRequest{segment: seg, over: over}
	d.setState(u, StateRemapping)
	d.addReady(u)
	d.kickUnlock()
}

// replyRemap takes the answer (rule R65).
func (d *Device) replyRemap(u *Ucmd, r *Reply) error {
	c, q := u.cmd, u.remap
	if r.BadSense {
		c.SetSense(scsi.SenseAbortedInternalFailure)
		q.over(nil, errEFAULT)
		return errEFAULT
	}
	if r.Status != scsi.Good || len(r.Sense) > 0 {
		c.SetStatus(r.Status)
		if r.Status == scsi.Good { // sense alone is an error too
			c.SetStatus(scsi.CheckCondition)
		}
		c.SetSenseBytes(r.Sense)
		q.over(nil, errRemapStatus)
		return nil
	}
	if err := checkRemap(q.segment.Descr.DataLen, r); err != nil {
		c.SetSense(scsi.SenseHardwareInternalFailure)
		q.over(nil, err)
		return err
	}
	q.over(append([]DataDescr(nil), r.Remap...), nil)
	return nil
}

// checkRemap validates the descriptors: whole ones, on one page at most, not
// empty, not negative (the module takes those), not more than the segment.
func checkRemap(segment int32, r *Reply) error {
	switch {
	case r.RemapLen > PageSize:
		return errEOVERFLOW
	case r.RemapLen < 0 || r.RemapLen%remapDescrSize != 0 || int(r.RemapLen)/remapDescrSize != len(r.Remap):
		return errEINVAL
	}
	sum := int64(0)
	for _, x := range r.Remap {
		if x.DataLen <= 0 {
			return errEINVAL
		}
		sum += int64(x.DataLen)
	}
	if sum > int64(segment) {
		return errEINVAL
	}
	return nil
}
