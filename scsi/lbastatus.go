package scsi

import "encoding/binary"

// Provisioning statuses of GET LBA STATUS (SBC-3, 5.5.2).
const (
	LBAMapped      = 0 // or unknown
	LBADeallocated = 1
	LBAAnchored    = 2
)

// Lengths of GET LBA STATUS data.
const (
	LBAStatusHeaderLen     = 8
	LBAStatusDescriptorLen = 16
)

// LBAStatus is one run of blocks with the same provisioning status.
type LBAStatus struct {
	LBA    uint64
	Blocks uint32
	Status uint8
}

// AppendLBAStatus appends GET LBA STATUS data with the runs, which the standard
// wants adjacent and ascending.
func AppendLBAStatus(dst []byte, runs ...LBAStatus) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(4+len(runs)*LBAStatusDescriptorLen))
	dst = append(dst, 0, 0, 0, 0)
	for _, r := range runs {
		dst = binary.BigEndian.AppendUint64(dst, r.LBA)
		dst = binary.BigEndian.AppendUint32(dst, r.Blocks)
		dst = append(dst, r.Status&0xF, 0, 0, 0)
	}
	return dst
}

// ParseLBAStatus appends the runs of GET LBA STATUS data to dst. A run that is cut
// off is left out.
func ParseLBAStatus(dst []LBAStatus, b []byte) ([]LBAStatus, error) {
	if len(b) < LBAStatusHeaderLen {
		return dst, ErrShortData
	}
	if n := uint64(binary.BigEndian.Uint32(b)) + 4; n < uint64(len(b)) {
		b = b[:max(n, LBAStatusHeaderLen)]
	}
	for b = b[LBAStatusHeaderLen:]; len(b) >= LBAStatusDescriptorLen; b = b[LBAStatusDescriptorLen:] {
		dst = append(dst, LBAStatus{
			LBA:    binary.BigEndian.Uint64(b),
			Blocks: binary.BigEndian.Uint32(b[8:]),
			Status: b[12] & 0xF,
		})
	}
	return dst, nil
}
