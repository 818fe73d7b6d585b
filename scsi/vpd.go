package scsi

import "encoding/binary"

// Vital product data page codes (SPC-4, 7.8; SBC-3, 6.6).
const (
	VPDSupportedPages       = 0x00
	VPDUnitSerialNumber     = 0x80
	VPDDeviceIdentification = 0x83
	VPDExtendedInquiry      = 0x86
	VPDBlockLimits          = 0xB0
	VPDBlockCharacteristics = 0xB1
	VPDLogicalProvisioning  = 0xB2
)

const vpdHeaderLen = 4

// beginVPD appends a page header whose length endVPD fills in. The page is of a
// connected disk.
func beginVPD(dst []byte, page uint8) []byte {
	return append(dst, TypeDisk, page, 0, 0)
}

func endVPD(dst []byte, start int) []byte {
	binary.BigEndian.PutUint16(dst[start+2:], uint16(len(dst)-start-vpdHeaderLen))
	return dst
}

// VPDPage splits a VPD page into its code and its payload, which is cut to what
// b has.
func VPDPage(b []byte) (page uint8, payload []byte, err error) {
	if len(b) < vpdHeaderLen {
		return 0, nil, ErrShortData
	}
	n := vpdHeaderLen + int(binary.BigEndian.Uint16(b[2:]))
	return b[1], b[vpdHeaderLen:min(len(b), n)], nil
}

// payloadOf is VPDPage for a page that has to be the given one and to have at
// least n bytes of payload.
func payloadOf(b []byte, page uint8, n int) ([]byte, error) {
	code, p, err := VPDPage(b)
	if err != nil {
		return nil, err
	}
	if code != page {
		return nil, ErrWrongPage
	}
	if len(p) < n {
		return nil, ErrShortData
	}
	return p, nil
}

// AppendVPDSupportedPages appends page 00h. The pages have to be ascending.
func AppendVPDSupportedPages(dst []byte, pages ...uint8) []byte {
	start := len(dst)
	dst = beginVPD(dst, VPDSupportedPages)
	dst = append(dst, pages...)
	return endVPD(dst, start)
}

// MaxSerialLen is how many characters of a serial number are used.
const MaxSerialLen = 252

// AppendVPDSerial appends page 80h, the unit serial number: as it is, cut to
// MaxSerialLen, what is not printable ASCII replaced with spaces.
func AppendVPDSerial(dst []byte, serial string) []byte {
	start := len(dst)
	dst = beginVPD(dst, VPDUnitSerialNumber)
	for i := range min(len(serial), MaxSerialLen) {
		dst = append(dst, printable(serial[i]))
	}
	return endVPD(dst, start)
}

// ExtendedInquiry is what page 86h says here (SPC-4, 7.8.7).
type ExtendedInquiry struct {
	HeadSup, OrdSup, SimpSup bool // task attributes
	NVSup                    bool // the cache, or a part of it, is non-volatile
	VSup                     bool // the cache, or a part of it, is volatile
}

// AppendVPDExtendedInquiry appends page 86h, 64 bytes.
func AppendVPDExtendedInquiry(dst []byte, e *ExtendedInquiry) []byte {
	var p [60]byte
	p[1] = byte(bit(e.HeadSup)<<2 | bit(e.OrdSup)<<1 | bit(e.SimpSup))
	p[2] = byte(bit(e.NVSup)<<1 | bit(e.VSup))
	start := len(dst)
	dst = append(beginVPD(dst, VPDExtendedInquiry), p[:]...)
	return endVPD(dst, start)
}

// ParseVPDExtendedInquiry reads page 86h.
func ParseVPDExtendedInquiry(b []byte) (ExtendedInquiry, error) {
	p, err := payloadOf(b, VPDExtendedInquiry, 3)
	if err != nil {
		return ExtendedInquiry{}, err
	}
	return ExtendedInquiry{
		HeadSup: p[1]&4 != 0,
		OrdSup:  p[1]&2 != 0,
		SimpSup: p[1]&1 != 0,
		NVSup:   p[2]&2 != 0,
		VSup:    p[2]&1 != 0,
	}, nil
}
