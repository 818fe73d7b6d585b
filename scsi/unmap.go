package scsi

import (
	"encoding/binary"
	"errors"
)

// UnmapDescriptor is one range of an UNMAP parameter list (SBC-3, 5.28.2).
type UnmapDescriptor struct {
	LBA    uint64
	Blocks uint32
}

// Sizes of the UNMAP parameter list.
const (
	UnmapHeaderLen     = 8
	UnmapDescriptorLen = 16
	// MaxUnmapDescriptors is how many descriptors the 16-bit list length
	// has room for.
	MaxUnmapDescriptors = (0xFFFF - UnmapHeaderLen) / UnmapDescriptorLen
)

// PutUnmapDescriptors fills buf with the parameter list for the descriptors and
// returns its length: UnmapHeaderLen + UnmapDescriptorLen for each. It returns
// 0 when buf is too small or there are more than MaxUnmapDescriptors.
func PutUnmapDescriptors(buf []byte, descriptors ...UnmapDescriptor) int {
	n := UnmapHeaderLen + len(descriptors)*UnmapDescriptorLen
	if n > len(buf) || len(descriptors) > MaxUnmapDescriptors {
		return 0
	}
	clear(buf[:UnmapHeaderLen])
	binary.BigEndian.PutUint16(buf[0:], uint16(n-2))
	binary.BigEndian.PutUint16(buf[2:], uint16(n-UnmapHeaderLen))
	for i, d := range descriptors {
		b := buf[UnmapHeaderLen+i*UnmapDescriptorLen:][:UnmapDescriptorLen]
		binary.BigEndian.PutUint64(b[0:], d.LBA)
		binary.BigEndian.PutUint32(b[8:], d.Blocks)
		clear(b[12:])
	}
	return n
}

// Errors of ParseUnmapList.
var (
	// ErrUnmapListLength: the list is cut inside its header (sense:
	// PARAMETER LIST LENGTH ERROR).
	ErrUnmapListLength = errors.New("unmap parameter list is shorter than its header")
	// ErrUnmapDataLength: the header's lengths contradict each other or the
	// list's length (sense: INVALID FIELD IN PARAMETER LIST).
	ErrUnmapDataLength = errors.New("unmap parameter list has contradicting lengths")
)

// UnmapList is a parameter list that ParseUnmapList found well-formed. It refers to
// the buffer that it was parsed from.
type UnmapList struct{ raw []byte }

// ParseUnmapList checks an UNMAP parameter list. An empty buffer is an empty list.
// A block descriptor data length that is not a multiple of the descriptor's is
// cut to one, as SBC-3 asks; one that exceeds the list is an error.
func ParseUnmapList(b []byte) (UnmapList, error) {
	if len(b) == 0 {
		return UnmapList{}, nil
	}
	if len(b) < UnmapHeaderLen {
		return UnmapList{}, ErrUnmapListLength
	}
	data := int(binary.BigEndian.Uint16(b[0:]))
	desc := int(binary.BigEndian.Uint16(b[2:]))
	if UnmapHeaderLen+desc > len(b) || desc+UnmapHeaderLen-2 > data {
		return UnmapList{}, ErrUnmapDataLength
	}
	desc -= desc % UnmapDescriptorLen
	return UnmapList{b[UnmapHeaderLen : UnmapHeaderLen+desc]}, nil
}

// Len is the number of descriptors.
func (l UnmapList) Len() int { return len(l.raw) / UnmapDescriptorLen }

// At returns descriptor i, which is below Len.
func (l UnmapList) At(i int) UnmapDescriptor {
	b := l.raw[i*UnmapDescriptorLen:]
	return UnmapDescriptor{LBA: binary.BigEndian.Uint64(b), Blocks: binary.BigEndian.Uint32(b[8:])}
}
