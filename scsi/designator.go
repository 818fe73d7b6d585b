package scsi

import "errors"

// ErrWrongPage is returned when the data is of another page than the one that
// was asked for.
var ErrWrongPage = errors.New("parameter data is of another page")

// Designation descriptor fields of VPD page 83h (SPC-4, 7.8.6.1).
const (
	CodeSetBinary = 1
	CodeSetASCII  = 2
	CodeSetUTF8   = 3

	AssociationLUN    = 0
	AssociationPort   = 1
	AssociationTarget = 2

	DesignatorVendor = 0
	DesignatorT10    = 1
	DesignatorEUI64  = 2
	DesignatorNAA    = 3
)

// MaxDesignatorLen is the most that a designator's data can have.
const MaxDesignatorLen = 255

// Designator is one designation descriptor of VPD page 83h.
type Designator struct {
	CodeSet     uint8
	Association uint8
	Type        uint8
	Data        []byte
}

// T10Designator names a unit by its vendor (8 characters) and an identifier
// that the vendor makes unique (SPC-4, 7.8.6.4).
func T10Designator(vendor, id string) Designator {
	b := make([]byte, 8+len(id))
	putASCII(b[:8], vendor)
	putASCII(b[8:], id)
	return Designator{CodeSet: CodeSetASCII, Type: DesignatorT10, Data: b}
}

// NAALocalDesignator names a unit by a locally assigned NAA name (NAA 3h,
// SPC-4, 7.8.6.6.4), which needs no registered company: the low 60 bits of id.
func NAALocalDesignator(id uint64) Designator {
	id = id&(1<<60-1) | 3<<60
	b := make([]byte, 8)
	for i := range b {
		b[i] = byte(id >> (56 - 8*i))
	}
	return Designator{CodeSet: CodeSetBinary, Type: DesignatorNAA, Data: b}
}

// EUI64Designator names a unit by an EUI-64 (SPC-4, 7.8.6.5).
func EUI64Designator(eui [8]byte) Designator {
	return Designator{CodeSet: CodeSetBinary, Type: DesignatorEUI64, Data: eui[:]}
}

// AppendVPDDeviceIdentification appends page 83h. Data beyond MaxDesignatorLen
// is cut.
func AppendVPDDeviceIdentification(dst []byte, designators ...Designator) []byte {
	start := len(dst)
	dst = beginVPD(dst, VPDDeviceIdentification)
	for _, d := range designators {
		data := d.Data[:min(len(d.Data), MaxDesignatorLen)]
		dst = append(dst, d.CodeSet&0xF, d.Association&3<<4|d.Type&0xF, 0, byte(len(data)))
		dst = append(dst, data...)
	}
	return endVPD(dst, start)
}

// ParseVPDDeviceIdentification reads page 83h. The designators' data are parts
// of b; one that is cut off is left out.
func ParseVPDDeviceIdentification(b []byte) ([]Designator, error) {
	p, err := payloadOf(b, VPDDeviceIdentification, 0)
	if err != nil {
		return nil, err
	}
	var ds []Designator
	for len(p) >= 4 {
		n := 4 + int(p[3])
		if n > len(p) {
			break
		}
		ds = append(ds, Designator{CodeSet: p[0] & 0xF, Association: p[1] >> 4 & 3, Type: p[1] & 0xF, Data: p[4:n]})
		p = p[n:]
	}
	return ds, nil
}
