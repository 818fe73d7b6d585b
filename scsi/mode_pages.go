package scsi

import "encoding/binary"

// CachingPage is the caching mode page, 08h (SBC-3, 6.5.5), as far as a cache
// without tunables has it.
type CachingPage struct {
	WCE   bool // a write cache is in use
	RCD   bool // reads are not served from the cache
	DRA   bool // no read-ahead
	NVDis bool // the non-volatile cache is disabled
}

// AppendCachingPage appends the page, CachingPageLen bytes, not savable.
func AppendCachingPage(dst []byte, c CachingPage) []byte {
	var p [CachingPageLen]byte
	p[0], p[1] = ModePageCaching, CachingPageLen-2
	p[2] = byte(bit(c.WCE)<<2 | bit(c.RCD))
	p[12] = byte(bit(c.DRA)<<5 | bit(c.NVDis))
	return append(dst, p[:]...)
}

// ParseCachingPage reads a whole caching page.
func ParseCachingPage(b []byte) (CachingPage, error) {
	if len(b) < 3 {
		return CachingPage{}, ErrShortData
	}
	if b[0]&^byte(modePageSavable) != ModePageCaching {
		return CachingPage{}, ErrWrongPage
	}
	c := CachingPage{WCE: b[2]&4 != 0, RCD: b[2]&1 != 0}
	if len(b) > 12 {
		c.DRA, c.NVDis = b[12]&0x20 != 0, b[12]&1 != 0
	}
	return c, nil
}

// ControlPage is the control mode page, 0Ah (SPC-4, 7.5.8).
type ControlPage struct {
	TST             uint8 // task set type: 0 one per unit, 1 one per nexus
	TMFOnly         bool
	DSense          bool  // sense data in descriptor format
	GLTSD           bool  // no implicit saving of log parameters
	QueueAlgorithm  uint8 // 0 restricted, 1 unrestricted reordering
	QErr            uint8
	UAIntlck        uint8
	SWP             bool // software write protect
	TAS             bool // aborted commands get TASK ABORTED
	BusyTimeout     uint16
	SelfTestSeconds uint16
}

// AppendControlPage appends the page, ControlPageLen bytes, not savable.
func AppendControlPage(dst []byte, c ControlPage) []byte {
	var p [ControlPageLen]byte
	p[0], p[1] = ModePageControl, ControlPageLen-2
	p[2] = c.TST&7<<5 | byte(bit(c.TMFOnly)<<4|bit(c.DSense)<<2|bit(c.GLTSD)<<1)
	p[3] = c.QueueAlgorithm&0xF<<4 | c.QErr&3<<1
	p[4] = c.UAIntlck&3<<4 | byte(bit(c.SWP)<<3)
	p[5] = byte(bit(c.TAS) << 6)
	binary.BigEndian.PutUint16(p[8:], c.BusyTimeout)
	binary.BigEndian.PutUint16(p[10:], c.SelfTestSeconds)
	return append(dst, p[:]...)
}

// ParseControlPage reads a whole control page.
func ParseControlPage(b []byte) (ControlPage, error) {
	if len(b) < ControlPageLen {
		return ControlPage{}, ErrShortData
	}
	if b[0]&^byte(modePageSavable) != ModePageControl {
		return ControlPage{}, ErrWrongPage
	}
	return ControlPage{
		TST:             b[2] >> 5,
		TMFOnly:         b[2]&0x10 != 0,
		DSense:          b[2]&0x04 != 0,
		GLTSD:           b[2]&0x02 != 0,
		QueueAlgorithm:  b[3] >> 4,
		QErr:            b[3] >> 1 & 3,
		UAIntlck:        b[4] >> 4 & 3,
		SWP:             b[4]&0x08 != 0,
		TAS:             b[5]&0x40 != 0,
		BusyTimeout:     binary.BigEndian.Uint16(b[8:]),
		SelfTestSeconds: binary.BigEndian.Uint16(b[10:]),
	}, nil
}
