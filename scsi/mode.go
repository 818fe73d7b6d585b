package scsi

import (
	"encoding/binary"
	"math"
)

// Mode page codes (SPC-4, 7.5; SBC-3, 6.5).
const (
	ModePageCaching = 0x08
	ModePageControl = 0x0A
	// ModePageAll asks MODE SENSE for all pages.
	ModePageAll = 0x3F
	// ModeSubPageAll asks MODE SENSE for the subpages as well.
	ModeSubPageAll = 0xFF
)

// Lengths of mode parameter headers, block descriptors and pages.
const (
	ModeHeader6Len        = 4
	ModeHeader10Len       = 8
	ShortBlockDescriptor  = 8
	LongBlockDescriptor   = 16
	CachingPageLen        = 20
	ControlPageLen        = 12
	modeWriteProtected    = 0x80
	modeDPOFUA            = 0x10
	modeLongLBA           = 0x01
	modePageSavable       = 0x80
	modePageSubPageFormat = 0x40
	modeSubPageHeaderLen  = 4
	modePageHeaderLen     = 2
)

// ModeHeader is a mode parameter header of either size (SPC-4, 7.5.5). The mode
// data length is not part of it.
type ModeHeader struct {
	MediumType     uint8
	WriteProtected bool // WP; reserved in MODE SELECT
	DPOFUA         bool // DPO and FUA are supported; reserved in MODE SELECT
	// LongLBA says that block descriptors have 16 bytes (10-byte header).
	LongLBA bool
	// BlockDescriptorLen is in bytes.
	BlockDescriptorLen uint16
}

func (h *ModeHeader) deviceSpecific() byte {
	var b byte
	if h.WriteProtected {
		b |= modeWriteProtected
	}
	if h.DPOFUA {
		b |= modeDPOFUA
	}
	return b
}

// AppendModeHeader6 appends the header of MODE SENSE(6) data, for `following`
// bytes of block descriptors and pages.
func AppendModeHeader6(dst []byte, h *ModeHeader, following int) []byte {
	n := min(ModeHeader6Len-1+following, math.MaxUint8)
	return append(dst, byte(n), h.MediumType, h.deviceSpecific(), byte(h.BlockDescriptorLen))
}

// AppendModeHeader10 is AppendModeHeader6 for MODE SENSE(10).
func AppendModeHeader10(dst []byte, h *ModeHeader, following int) []byte {
	n := min(ModeHeader10Len-2+following, math.MaxUint16)
	dst = binary.BigEndian.AppendUint16(dst, uint16(n))
	dst = append(dst, h.MediumType, h.deviceSpecific(), byte(bit(h.LongLBA)), 0)
	return binary.BigEndian.AppendUint16(dst, h.BlockDescriptorLen)
}

// ParseModeHeader6 splits MODE SENSE(6) data into its header, its block
// descriptors and its pages.
func ParseModeHeader6(b []byte) (h ModeHeader, descriptors, pages []byte, err error) {
	if len(b) < ModeHeader6Len {
		return h, nil, nil, ErrShortData
	}
	return ParseModeSelect6(b[:max(min(len(b), 1+int(b[0])), ModeHeader6Len)])
}

// ParseModeSelect6 is ParseModeHeader6 for the parameter list of MODE SELECT(6),
// in which the mode data length is reserved.
func ParseModeSelect6(b []byte) (h ModeHeader, descriptors, pages []byte, err error) {
	if len(b) < ModeHeader6Len {
		return h, nil, nil, ErrShortData
	}
	h = ModeHeader{
		MediumType:         b[1],
		WriteProtected:     b[2]&modeWriteProtected != 0,
		DPOFUA:             b[2]&modeDPOFUA != 0,
		BlockDescriptorLen: uint16(b[3]),
	}
	return splitMode(h, b, ModeHeader6Len)
}

// ParseModeHeader10 is ParseModeHeader6 for MODE SENSE(10).
func ParseModeHeader10(b []byte) (h ModeHeader, descriptors, pages []byte, err error) {
	if len(b) < ModeHeader10Len {
		return h, nil, nil, ErrShortData
	}
	n := 2 + int(binary.BigEndian.Uint16(b))
	return ParseModeSelect10(b[:max(min(len(b), n), ModeHeader10Len)])
}

// ParseModeSelect10 is ParseModeSelect6 for MODE SELECT(10).
func ParseModeSelect10(b []byte) (h ModeHeader, descriptors, pages []byte, err error) {
	if len(b) < ModeHeader10Len {
		return h, nil, nil, ErrShortData
	}
	h = ModeHeader{
		MediumType:         b[2],
		WriteProtected:     b[3]&modeWriteProtected != 0,
		DPOFUA:             b[3]&modeDPOFUA != 0,
		LongLBA:            b[4]&modeLongLBA != 0,
		BlockDescriptorLen: binary.BigEndian.Uint16(b[6:]),
	}
	return splitMode(h, b, ModeHeader10Len)
}

func splitMode(h ModeHeader, b []byte, header int) (ModeHeader, []byte, []byte, error) {
	at := header + int(h.BlockDescriptorLen)
	if at > len(b) {
		return h, nil, nil, ErrShortData
	}
	return h, b[header:at], b[at:], nil
}

// BlockDescriptor is a mode parameter block descriptor (SBC-3, 6.5.2).
type BlockDescriptor struct {
	// Blocks is the number of blocks; the short form says 0xFFFFFFFF for
	// more.
	Blocks    uint64
	BlockSize uint32
}

// AppendBlockDescriptor appends the short (8 bytes) or the long (16 bytes)
// form.
func AppendBlockDescriptor(dst []byte, d BlockDescriptor, long bool) []byte {
	if long {
		dst = binary.BigEndian.AppendUint64(dst, d.Blocks)
		dst = append(dst, 0, 0, 0, 0)
		return binary.BigEndian.AppendUint32(dst, d.BlockSize)
	}
	dst = binary.BigEndian.AppendUint32(dst, uint32(min(d.Blocks, math.MaxUint32)))
	// The byte in front of the 24-bit block length is reserved.
	return binary.BigEndian.AppendUint32(dst, d.BlockSize&0xFFFFFF)
}

// ParseBlockDescriptor reads the form that b has the length of.
func ParseBlockDescriptor(b []byte) (BlockDescriptor, error) {
	switch {
	case len(b) == ShortBlockDescriptor:
		return BlockDescriptor{
			Blocks:    uint64(binary.BigEndian.Uint32(b)),
			BlockSize: binary.BigEndian.Uint32(b[4:]) & 0xFFFFFF,
		}, nil
	case len(b) == LongBlockDescriptor:
		return BlockDescriptor{
			Blocks:    binary.BigEndian.Uint64(b),
			BlockSize: binary.BigEndian.Uint32(b[12:]),
		}, nil
	}
	return BlockDescriptor{}, ErrShortData
}

// ModePage is one mode page as it stands in mode data.
type ModePage struct {
	Page, SubPage uint8
	Savable       bool // PS
	// Raw is the whole page, header included.
	Raw []byte
}

// NextModePage returns the first page of b and what follows it. A page that runs
// past b is ErrShortData.
func NextModePage(b []byte) (p ModePage, rest []byte, err error) {
	if len(b) < modePageHeaderLen {
		return p, nil, ErrShortData
	}
	p = ModePage{Page: b[0] & 0x3F, Savable: b[0]&modePageSavable != 0}
	n := modePageHeaderLen + int(b[1])
	if b[0]&modePageSubPageFormat != 0 {
		if len(b) < modeSubPageHeaderLen {
			return p, nil, ErrShortData
		}
		p.SubPage = b[1]
		n = modeSubPageHeaderLen + int(binary.BigEndian.Uint16(b[2:]))
	}
	if n > len(b) {
		return p, nil, ErrShortData
	}
	p.Raw = b[:n]
	return p, b[n:], nil
}

// FindModePage returns a page of mode data's pages, header included; nil if it is
// not there.
func FindModePage(pages []byte, page, subPage uint8) []byte {
	for len(pages) > 0 {
		p, rest, err := NextModePage(pages)
		if err != nil {
			return nil
		}
		if p.Page == page && p.SubPage == subPage {
			return p.Raw
		}
		pages = rest
	}
	return nil
}
