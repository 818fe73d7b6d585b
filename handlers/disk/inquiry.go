package disk

import (
	"hash/fnv"
	"math"

	"scstuser/handlers"
	"scstuser/scsi"
)

// vpdPages are the VPD pages there are, ascending.
var vpdPages = []uint8{
	scsi.VPDSupportedPages, scsi.VPDUnitSerialNumber, scsi.VPDDeviceIdentification, scsi.VPDExtendedInquiry,
	scsi.VPDBlockLimits, scsi.VPDBlockCharacteristics, scsi.VPDLogicalProvisioning,
	scsi.VPDZeroing,
}

// maxUnmapDescriptors bounds one UNMAP.
const maxUnmapDescriptors = 256

// usualRotation is what a medium that seeks says, in revolutions per minute.
// The number matters to nobody; "not told" would not say that it seeks.
const usualRotation = 7200

// inquiry is INQUIRY of the standard data and of the VPD pages.
func (d *Disk) inquiry(r *handlers.Request, c scsi.Command) {
	b, ok := d.inquiryData(&c)
	if !ok {
		r.Fail(scsi.SenseInvalidFieldInCDB.AtCDB(2, 7))
		return
	}
	answer(r, b, c.AllocLen)
}

func (d *Disk) inquiryData(c *scsi.Command) ([]byte, bool) {
	if !c.EVPD {
		return d.standardInquiry(), c.Page == 0
	}
	switch c.Page {
	case scsi.VPDSupportedPages:
		return scsi.AppendVPDSupportedPages(nil, vpdPages...), true
	case scsi.VPDUnitSerialNumber:
		return scsi.AppendVPDSerial(nil, d.opts.Serial), true
	case scsi.VPDDeviceIdentification:
		return d.deviceIdentification(), true
	case scsi.VPDExtendedInquiry:
		return d.extendedInquiry(), true
	case scsi.VPDBlockLimits:
		l := d.blockLimits()
		return scsi.AppendVPDBlockLimits(nil, &l), true
	case scsi.VPDBlockCharacteristics:
		return d.characteristics(), true
	case scsi.VPDLogicalProvisioning:
		return d.provisioning(), true
	case scsi.VPDZeroing:
		return scsi.AppendVPDZeroing(nil, d.zeroing()), true
	}
	return nil, false
}

func (d *Disk) standardInquiry() []byte {
	return scsi.AppendInquiry(nil, &scsi.InquiryData{
		DeviceType:  scsi.TypeDisk,
		Version:     scsi.VersionSPC4,
		HiSup:       true,
		CmdQue:      true,
		Vendor:      d.opts.Vendor,
		Product:     d.opts.Product,
		Revision:    d.opts.Revision,
		Descriptors: [8]uint16{scsi.DescriptorSAM5, scsi.DescriptorSPC4, scsi.DescriptorSBC3},
	})
}

// deviceIdentification names the unit twice: as text, and by a locally
// assigned number, which needs no company's registration.
func (d *Disk) deviceIdentification() []byte {
	h := fnv.New64a()
	h.Write([]byte(d.opts.Vendor + "\x00" + d.opts.Serial))
	return scsi.AppendVPDDeviceIdentification(nil,
		scsi.T10Designator(d.opts.Vendor, d.opts.Serial+"-"+d.opts.Name),
		scsi.NAALocalDesignator(h.Sum64()))
}

func (d *Disk) extendedInquiry() []byte {
	cached := d.syncer != nil
	return scsi.AppendVPDExtendedInquiry(nil, &scsi.ExtendedInquiry{
		HeadSup: true,
		OrdSup:  true,
		SimpSup: true,
		NVSup:   d.opts.NVCache,
		VSup:    cached && !d.opts.NVCache,
	})
}

func (d *Disk) blockLimits() scsi.BlockLimits {
	l := scsi.BlockLimits{
		// WSNZ stays 0: no blocks are all blocks to the end, within
		// MaxWriteSame.
		OptimalGranularity: uint16(min(d.opts.PhysicalBlockSize>>d.shift, math.MaxUint16)),
		MaxTransfer:        d.inBlocks(d.opts.MaxTransfer),
		MaxWriteSame:       uint64(d.opts.MaxWriteSame) >> d.shift,
	}
	if d.puncher != nil {
		l.MaxUnmapBlocks = d.inBlocks(d.opts.MaxUnmap)
		l.MaxUnmapDescriptors = maxUnmapDescriptors
		l.UnmapGranularity = max(d.inBlocks(d.puncher.PunchGranularity()), 1)
		l.UnmapAlignmentValid = true
	}
	return l
}

// inBlocks converts a limit in bytes to one in blocks that fits its field.
func (d *Disk) inBlocks(n int64) uint32 {
	return uint32(min(uint64(max(n, 0))>>d.shift, math.MaxUint32))
}

func (d *Disk) characteristics() []byte {
	c := scsi.BlockCharacteristics{RotationRate: scsi.RotationNone, FUAB: true, VBULS: true}
	if d.opts.Rotational {
		c.RotationRate = usualRotation
	}
	return scsi.AppendVPDBlockCharacteristics(nil, &c)
}

func (d *Disk) provisioning() []byte {
	can := d.puncher != nil
	l := scsi.LogicalProvisioning{LBPU: can, LBPWS: can, LBPWS10: can, LBPRZ: can}
	if can {
		l.Type = scsi.ProvisioningThin
	}
	return scsi.AppendVPDLogicalProvisioning(nil, &l)
}
