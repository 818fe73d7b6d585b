package scsi

import (
	"encoding/binary"
	"math"
)

// Lengths of READ CAPACITY data.
const (
	Capacity10Len = 8
	Capacity16Len = 32
)

// Capacity is what READ CAPACITY tells (SBC-3, 5.15 and 5.16).
type Capacity struct {
	// LastLBA is the address of the last block: one less than the count.
	LastLBA   uint64
	BlockSize uint32
	// PhysicalExponent: a physical block has 1<<PhysicalExponent blocks.
	PhysicalExponent uint8
	// LowestAligned is the first block that starts a physical block.
	LowestAligned uint16
	LBPME         bool // logical block provisioning is managed; see VPD page B2h
	LBPRZ         bool // unmapped blocks read as zeroes
}

// AppendReadCapacity10 appends READ CAPACITY(10) data, 8 bytes. An LBA that
// doesn't fit is 0xFFFFFFFF, which sends the initiator to READ CAPACITY(16).
func AppendReadCapacity10(dst []byte, c Capacity) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(c.LastLBA, math.MaxUint32)))
	return binary.BigEndian.AppendUint32(dst, c.BlockSize)
}

// ParseReadCapacity10 reads READ CAPACITY(10) data. A LastLBA of 0xFFFFFFFF
// says nothing.
func ParseReadCapacity10(b []byte) (Capacity, error) {
	if len(b) < Capacity10Len {
		return Capacity{}, ErrShortData
	}
	return Capacity{
		LastLBA:   uint64(binary.BigEndian.Uint32(b)),
		BlockSize: binary.BigEndian.Uint32(b[4:]),
	}, nil
}

// AppendReadCapacity16 appends READ CAPACITY(16) data, 32 bytes.
func AppendReadCapacity16(dst []byte, c Capacity) []byte {
	var b [Capacity16Len]byte
	binary.BigEndian.PutUint64(b[0:], c.LastLBA)
	binary.BigEndian.PutUint32(b[8:], c.BlockSize)
	b[13] = c.PhysicalExponent & 0xF
	binary.BigEndian.PutUint16(b[14:], c.LowestAligned&0x3FFF|uint16(bit(c.LBPME)<<15|bit(c.LBPRZ)<<14))
	return append(dst, b[:]...)
}

// ParseReadCapacity16 reads READ CAPACITY(16) data; 12 bytes are enough.
func ParseReadCapacity16(b []byte) (Capacity, error) {
	if len(b) < 12 {
		return Capacity{}, ErrShortData
	}
	c := Capacity{LastLBA: binary.BigEndian.Uint64(b), BlockSize: binary.BigEndian.Uint32(b[8:])}
	if len(b) >= 16 {
		c.PhysicalExponent = b[13] & 0xF
		w := binary.BigEndian.Uint16(b[14:])
		c.LBPME, c.LBPRZ, c.LowestAligned = w>>15 != 0, w>>14&1 != 0, w&0x3FFF
	}
	return c, nil
}
