package scsi

import "bytes"

// VPDZeroing is a page of our own, in the range that is left to vendors. No
// standard page says whether WRITE SAME is faster than writing.
const VPDZeroing = 0xC0

// zeroingMark begins the page's payload: another vendor's page C0h has
// something else there.
var zeroingMark = []byte("SCSTUSER")

// Zeroing is VPD page C0h: how WRITE SAME of zeroes is carried out.
type Zeroing struct {
	// FastUnmap: with the UNMAP bit it takes less time than a WRITE of the
	// same blocks. FastKeep: without the bit, too.
	FastUnmap, FastKeep bool
}

const zeroingLen = 12

// AppendVPDZeroing appends page C0h, 16 bytes.
func AppendVPDZeroing(dst []byte, z Zeroing) []byte {
	var p [zeroingLen]byte
	n := copy(p[:], zeroingMark)
	p[n] = byte(bit(z.FastKeep)<<1 | bit(z.FastUnmap))
	start := len(dst)
	return endVPD(append(beginVPD(dst, VPDZeroing), p[:]...), start)
}

// ParseVPDZeroing reads page C0h. Another vendor's is ErrShortData.
func ParseVPDZeroing(b []byte) (Zeroing, error) {
	p, err := payloadOf(b, VPDZeroing, zeroingLen)
	if err != nil {
		return Zeroing{}, err
	}
	flags, ours := bytes.CutPrefix(p, zeroingMark)
	if !ours {
		return Zeroing{}, ErrShortData
	}
	return Zeroing{FastUnmap: flags[0]&1 != 0, FastKeep: flags[0]&2 != 0}, nil
}
