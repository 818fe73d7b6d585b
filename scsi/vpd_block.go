package scsi

import "encoding/binary"

// BlockLimits is VPD page B0h (SBC-3, 6.6.3). Lengths are in blocks; 0 is "no
// limit told".
type BlockLimits struct {
	// WSNZ says that WRITE SAME refuses a number of blocks of zero.
	WSNZ                bool
	MaxCompareAndWrite  uint8
	OptimalGranularity  uint16
	MaxTransfer         uint32
	OptimalTransfer     uint32
	MaxPrefetch         uint32
	MaxUnmapBlocks      uint32 // in all descriptors of one UNMAP; 0: no UNMAP
	MaxUnmapDescriptors uint32
	UnmapGranularity    uint32
	UnmapAlignmentValid bool
	UnmapAlignment      uint32
	MaxWriteSame        uint64
	MaxAtomicTransfer   uint32
	AtomicAlignment     uint32
	AtomicGranularity   uint32
}

const blockLimitsLen = 60

// AppendVPDBlockLimits appends page B0h, 64 bytes.
func AppendVPDBlockLimits(dst []byte, l *BlockLimits) []byte {
	var p [blockLimitsLen]byte
	p[0] = byte(bit(l.WSNZ))
	p[1] = l.MaxCompareAndWrite
	binary.BigEndian.PutUint16(p[2:], l.OptimalGranularity)
	binary.BigEndian.PutUint32(p[4:], l.MaxTransfer)
	binary.BigEndian.PutUint32(p[8:], l.OptimalTransfer)
	binary.BigEndian.PutUint32(p[12:], l.MaxPrefetch)
	binary.BigEndian.PutUint32(p[16:], l.MaxUnmapBlocks)
	binary.BigEndian.PutUint32(p[20:], l.MaxUnmapDescriptors)
	binary.BigEndian.PutUint32(p[24:], l.UnmapGranularity)
	if l.UnmapAlignmentValid {
		binary.BigEndian.PutUint32(p[28:], l.UnmapAlignment|1<<31)
	}
	binary.BigEndian.PutUint64(p[32:], l.MaxWriteSame)
	binary.BigEndian.PutUint32(p[40:], l.MaxAtomicTransfer)
	binary.BigEndian.PutUint32(p[44:], l.AtomicAlignment)
	binary.BigEndian.PutUint32(p[48:], l.AtomicGranularity)
	start := len(dst)
	dst = append(beginVPD(dst, VPDBlockLimits), p[:]...)
	return endVPD(dst, start)
}

// ParseVPDBlockLimits reads page B0h. SBC-2 devices end it after the optimal
// transfer length; what they leave out is 0.
func ParseVPDBlockLimits(b []byte) (BlockLimits, error) {
	short, err := payloadOf(b, VPDBlockLimits, 12)
	if err != nil {
		return BlockLimits{}, err
	}
	var p [blockLimitsLen]byte
	copy(p[:], short)
	l := BlockLimits{
		WSNZ:                p[0]&1 != 0,
		MaxCompareAndWrite:  p[1],
		OptimalGranularity:  binary.BigEndian.Uint16(p[2:]),
		MaxTransfer:         binary.BigEndian.Uint32(p[4:]),
		OptimalTransfer:     binary.BigEndian.Uint32(p[8:]),
		MaxPrefetch:         binary.BigEndian.Uint32(p[12:]),
		MaxUnmapBlocks:      binary.BigEndian.Uint32(p[16:]),
		MaxUnmapDescriptors: binary.BigEndian.Uint32(p[20:]),
		UnmapGranularity:    binary.BigEndian.Uint32(p[24:]),
		MaxWriteSame:        binary.BigEndian.Uint64(p[32:]),
		MaxAtomicTransfer:   binary.BigEndian.Uint32(p[40:]),
		AtomicAlignment:     binary.BigEndian.Uint32(p[44:]),
		AtomicGranularity:   binary.BigEndian.Uint32(p[48:]),
	}
	if a := binary.BigEndian.Uint32(p[28:]); a>>31 != 0 {
		l.UnmapAlignmentValid, l.UnmapAlignment = true, a&^(1<<31)
	}
	return l, nil
}

// Medium rotation rates of VPD page B1h other than revolutions per minute.
const (
	RotationUnknown = 0
	RotationNone    = 1 // solid state
)

// BlockCharacteristics is VPD page B1h (SBC-3, 6.6.2).
type BlockCharacteristics struct {
	RotationRate uint16
	FormFactor   uint8
	// FUAB says that for FUA and SYNCHRONIZE CACHE a non-volatile cache is
	// as good as the medium (SBC-3's reading; SBC-2 wanted the medium).
	FUAB  bool
	VBULS bool // VERIFY of unmapped blocks is supported
}

// AppendVPDBlockCharacteristics appends page B1h, 64 bytes.
func AppendVPDBlockCharacteristics(dst []byte, c *BlockCharacteristics) []byte {
	var p [60]byte
	binary.BigEndian.PutUint16(p[0:], c.RotationRate)
	p[3] = c.FormFactor & 0xF
	p[4] = byte(bit(c.FUAB)<<1 | bit(c.VBULS))
	start := len(dst)
	dst = append(beginVPD(dst, VPDBlockCharacteristics), p[:]...)
	return endVPD(dst, start)
}

// ParseVPDBlockCharacteristics reads page B1h.
func ParseVPDBlockCharacteristics(b []byte) (BlockCharacteristics, error) {
	p, err := payloadOf(b, VPDBlockCharacteristics, 5)
	if err != nil {
		return BlockCharacteristics{}, err
	}
	return BlockCharacteristics{
		RotationRate: binary.BigEndian.Uint16(p),
		FormFactor:   p[3] & 0xF,
		FUAB:         p[4]&2 != 0,
		VBULS:        p[4]&1 != 0,
	}, nil
}

// Provisioning types of VPD page B2h.
const (
	ProvisioningFull     = 0 // or not told
	ProvisioningResource = 1
	ProvisioningThin     = 2
)

// LogicalProvisioning is VPD page B2h (SBC-3, 6.6.4), without a provisioning group.
type LogicalProvisioning struct {
	ThresholdExponent uint8
	LBPU              bool // UNMAP is supported
	LBPWS             bool // WRITE SAME(16) with UNMAP is supported
	LBPWS10           bool // WRITE SAME(10) with UNMAP is supported
	LBPRZ             bool // unmapped blocks read as zeroes
	AncSup            bool // anchored blocks are supported
	Type              uint8
}

// AppendVPDLogicalProvisioning appends page B2h, 8 bytes.
func AppendVPDLogicalProvisioning(dst []byte, l *LogicalProvisioning) []byte {
	start := len(dst)
	dst = append(beginVPD(dst, VPDLogicalProvisioning),
		l.ThresholdExponent,
		byte(bit(l.LBPU)<<7|bit(l.LBPWS)<<6|bit(l.LBPWS10)<<5|bit(l.LBPRZ)<<2|bit(l.AncSup)<<1),
		l.Type&7,
		0)
	return endVPD(dst, start)
}

// ParseVPDLogicalProvisioning reads page B2h.
func ParseVPDLogicalProvisioning(b []byte) (LogicalProvisioning, error) {
	p, err := payloadOf(b, VPDLogicalProvisioning, 3)
	if err != nil {
		return LogicalProvisioning{}, err
	}
	return LogicalProvisioning{
		ThresholdExponent: p[0],
		LBPU:              p[1]&0x80 != 0,
		LBPWS:             p[1]&0x40 != 0,
		LBPWS10:           p[1]&0x20 != 0,
		LBPRZ:             p[1]&0x1C != 0, // one bit in SBC-3, three in SBC-4
		AncSup:            p[1]&0x02 != 0,
		Type:              p[2] & 7,
	}, nil
}
