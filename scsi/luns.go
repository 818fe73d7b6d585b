package scsi

import "encoding/binary"

// ReportLUNsHeaderLen is the length of what precedes the LUNs in REPORT LUNS
// data.
const ReportLUNsHeaderLen = 8

// AppendReportLUNs appends REPORT LUNS data (SPC-4, 6.33). The LUNs are in
// SAM-5's 64-bit form: LUN 1 of a flat space is 0x0001000000000000.
func AppendReportLUNs(dst []byte, luns ...uint64) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(8*len(luns)))
	dst = append(dst, 0, 0, 0, 0)
	for _, l := range luns {
		dst = binary.BigEndian.AppendUint64(dst, l)
	}
	return dst
}

// ParseReportLUNs appends the LUNs of REPORT LUNS data to dst. The list is cut to
// what b has.
func ParseReportLUNs(dst []uint64, b []byte) ([]uint64, error) {
	if len(b) < ReportLUNsHeaderLen {
		return dst, ErrShortData
	}
	if n := uint64(binary.BigEndian.Uint32(b)) + ReportLUNsHeaderLen; n < uint64(len(b)) {
		b = b[:n]
	}
	for b = b[ReportLUNsHeaderLen:]; len(b) >= 8; b = b[8:] {
		dst = append(dst, binary.BigEndian.Uint64(b))
	}
	return dst, nil
}
