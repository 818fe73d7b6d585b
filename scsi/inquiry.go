package scsi

import (
	"encoding/binary"
	"errors"
)

// ErrShortData is what the Parse functions return for parameter data that ends
// before the fields that they have to read.
var ErrShortData = errors.New("parameter data is too short")

// Peripheral device types (SPC-4, 6.6.2).
const (
	TypeDisk = 0x00
	TypeNone = 0x1F
)

// Versions of INQUIRY data: the SPC that the device claims.
const (
	VersionSPC3 = 5
	VersionSPC4 = 6
)

// Version descriptors of INQUIRY data (SPC-4, 6.6.2), none of which claims a
// particular revision.
const (
	DescriptorSAM5 = 0x00A0
	DescriptorSPC4 = 0x0460
	DescriptorSBC3 = 0x04C0
)

// Lengths of standard INQUIRY data.
const (
	inquiryShortLen       = 36
	inquiryDescriptorsAt  = 58
	inquiryMaxDescriptors = 8
	inquiryLongLen        = 96
)

// InquiryData is standard INQUIRY data (SPC-4, 6.6.2).
type InquiryData struct {
	Qualifier  uint8 // peripheral qualifier, 3 bits; 0 is connected
	DeviceType uint8
	Removable  bool
	Version    uint8 // see the Version constants
	HiSup      bool  // LUNs are reported hierarchically
	CmdQue     bool  // full task management
	Protect    bool  // protection information is supported
	ThirdParty bool  // 3PC: EXTENDED COPY is supported

	Vendor   string // 8 characters at most
	Product  string // 16 characters at most
	Revision string // 4 characters at most

	// Descriptors are version descriptors, 8 at most; a zero ends them.
	Descriptors [inquiryMaxDescriptors]uint16
}

// AppendInquiry appends standard INQUIRY data: 96 bytes with version
// descriptors, 36 without. Strings are cut and padded with spaces; characters
// that are not printable ASCII become spaces.
func AppendInquiry(dst []byte, d *InquiryData) []byte {
	var b [inquiryLongLen]byte
	n := inquiryShortLen
	if d.Descriptors[0] != 0 {
		n = inquiryLongLen
		for i, v := range d.Descriptors {
			binary.BigEndian.PutUint16(b[inquiryDescriptorsAt+2*i:], v)
		}
	}
	b[0] = d.Qualifier<<5 | d.DeviceType&0x1F
	b[1] = byte(bit(d.Removable) << 7)
	b[2] = d.Version
	b[3] = byte(bit(d.HiSup)<<4 | 2) // 2: the response data format of SPC-2 and later
	b[4] = byte(n - 5)
	b[5] = byte(bit(d.ThirdParty)<<3 | bit(d.Protect))
	b[7] = byte(bit(d.CmdQue) << 1)
	putASCII(b[8:16], d.Vendor)
	putASCII(b[16:32], d.Product)
	putASCII(b[32:36], d.Revision)
	return append(dst, b[:n]...)
}

// ParseInquiry reads standard INQUIRY data, at least 36 bytes of it.
func ParseInquiry(b []byte) (InquiryData, error) {
	if len(b) < inquiryShortLen {
		return InquiryData{}, ErrShortData
	}
	b = b[:min(len(b), 5+int(b[4]))]
	if len(b) < inquiryShortLen {
		return InquiryData{}, ErrShortData
	}
	d := InquiryData{
		Qualifier:  b[0] >> 5,
		DeviceType: b[0] & 0x1F,
		Removable:  b[1]&0x80 != 0,
		Version:    b[2],
		HiSup:      b[3]&0x10 != 0,
		ThirdParty: b[5]&0x08 != 0,
		Protect:    b[5]&0x01 != 0,
		CmdQue:     b[7]&0x02 != 0,
		Vendor:     getASCII(b[8:16]),
		Product:    getASCII(b[16:32]),
		Revision:   getASCII(b[32:36]),
	}
	for i := range d.Descriptors {
		at := inquiryDescriptorsAt + 2*i
		if at+2 > len(b) {
			break
		}
		v := binary.BigEndian.Uint16(b[at:])
		if v == 0 {
			break
		}
		d.Descriptors[i] = v
	}
	return d, nil
}

// putASCII fills b with s, left-aligned and padded with spaces (SPC-4, 4.4.1).
func putASCII(b []byte, s string) {
	for i := range b {
		b[i] = ' '
		if i < len(s) {
			b[i] = printable(s[i])
		}
	}
}

func printable(c byte) byte {
	if c < 0x20 || c > 0x7E {
		return ' '
	}
	return c
}

// getASCII returns b without its padding.
func getASCII(b []byte) string {
	n := len(b)
	for n > 0 && (b[n-1] == ' ' || b[n-1] == 0) {
		n--
	}
	return string(b[:n])
}
