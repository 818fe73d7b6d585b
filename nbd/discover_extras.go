package nbd

import (
	"context"

	"scstuser/scsi"
)

// discoverZeroing finds out what FAST_ZERO may promise (row 23). A device that
// has no page about it is believed that to unmap blocks which then read as
// zeroes is faster than to write them, and not believed anything else.
func (e *Export) discoverZeroing(ctx context.Context) {
	if !e.canWriteSame {
		return
	}
	e.fastUnmap = e.canWriteSameUnmap
	b, err := e.probe.do(ctx, scsi.EncodeInquiry(true, scsi.VPDZeroing, 252))
	if err != nil {
		return
	}
	if z, err := scsi.ParseVPDZeroing(b); err == nil {
		e.fastUnmap, e.fastKeep = e.canWriteSameUnmap && z.FastUnmap, z.FastKeep
	}
}

// zeroesFast says whether a WRITE_ZEROES with these flags is faster than a WRITE.
func (e *Export) zeroesFast(flags uint16) bool {
	if flags&cmdFlagNoHole == 0 && e.canWriteSameUnmap {
		return e.fastUnmap // this is how it would be done
	}
	return e.fastKeep
}

// slowestRotation is the least rate in VPD page B1h that is one of a medium which
// rotates (SBC-3, 6.6.2).
const slowestRotation = 0x401

// rotates asks whether the medium rotates.
func (i *initiator) rotates(ctx context.Context) bool {
	b, err := i.do(ctx, scsi.EncodeInquiry(true, scsi.VPDBlockCharacteristics, 252))
	if err != nil {
		return false
	}
	c, err := scsi.ParseVPDBlockCharacteristics(b)
	return err == nil && c.RotationRate >= slowestRotation && c.RotationRate != 0xFFFF
}

// supportsAction is supports for a command with a service action.
func (i *initiator) supportsAction(ctx context.Context, op scsi.Opcode, sa uint16) bool {
	return i.supported(ctx, scsi.EncodeReportSupportedOpcodes(scsi.ReportOneSA, op, sa, false, 252))
}
