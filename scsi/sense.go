package scsi

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strings"
)

// SenseKey is the coarse kind of an error (SPC-4, 4.5.6).
type SenseKey uint8

// The sense keys.
const (
	KeyNoSense        SenseKey = 0x0
	KeyRecovered      SenseKey = 0x1
	KeyNotReady       SenseKey = 0x2
	KeyMediumError    SenseKey = 0x3
	KeyHardwareError  SenseKey = 0x4
	KeyIllegalRequest SenseKey = 0x5
	KeyUnitAttention  SenseKey = 0x6
	KeyDataProtect    SenseKey = 0x7
	KeyBlankCheck     SenseKey = 0x8
	KeyVendorSpecific SenseKey = 0x9
	KeyCopyAborted    SenseKey = 0xA
	KeyAbortedCommand SenseKey = 0xB
	KeyVolumeOverflow SenseKey = 0xD
	KeyMiscompare     SenseKey = 0xE
	KeyCompleted      SenseKey = 0xF
)

var keyNames = [16]string{
	"NO SENSE", "RECOVERED ERROR", "NOT READY", "MEDIUM ERROR", "HARDWARE ERROR", "ILLEGAL REQUEST",
	"UNIT ATTENTION", "DATA PROTECT", "BLANK CHECK", "VENDOR SPECIFIC", "COPY ABORTED", "ABORTED COMMAND",
	"RESERVED KEY C", "VOLUME OVERFLOW", "MISCOMPARE", "COMPLETED",
}

// String returns the standard's name.
func (k SenseKey) String() string { return keyNames[k&0xF] }

// ASC is an additional sense code with its qualifier: code<<8 | qualifier.
type ASC uint16

// String returns the standard's name for the codes that this package defines,
// the numbers for others.
func (a ASC) String() string {
	if n, ok := ascNames[a]; ok {
		return n
	}
	return fmt.Sprintf("ASC %#02x ASCQ %#02x", uint8(a>>8), uint8(a))
}

// Sense is sense data without its format: a comparable value. The predefined
// ones are compared with Is, or with == where no position was added.
type Sense struct {
	Key SenseKey
	ASC ASC

	// Info is the INFORMATION field, for medium errors and miscompares the
	// first block concerned; InfoValid says that it is set.
	Info      uint64
	InfoValid bool

	// Deferred says that an earlier command failed, one that was answered
	// already.
	Deferred bool

	// FieldValid says that FieldPointer names the first byte in error, for
	// ILLEGAL REQUEST: of the CDB if FieldInCDB, else of the parameter list.
	FieldValid, FieldInCDB bool
	FieldPointer           uint16
	// FieldBit is the leftmost bit in error of that byte; negative: not told.
	FieldBit int8
}

// WithInfo returns s with the INFORMATION field set.
func (s Sense) WithInfo(info uint64) Sense {
	s.Info, s.InfoValid = info, true
	return s
}

// AtCDB returns s with a pointer to a byte of the CDB and its leftmost bit in
// error (negative: none).
func (s Sense) AtCDB(at uint16, bit int8) Sense {
	s.FieldValid, s.FieldInCDB, s.FieldPointer, s.FieldBit = true, true, at, bit
	return s
}

// AtParameter is AtCDB for a byte of the parameter list.
func (s Sense) AtParameter(at uint16, bit int8) Sense {
	s.FieldValid, s.FieldInCDB, s.FieldPointer, s.FieldBit = true, false, at, bit
	return s
}

// Is says whether s has the key and code of other, wherever it points to.
func (s Sense) Is(other Sense) bool { return s.Key == other.Key && s.ASC == other.ASC }

// String describes s in one line.
func (s Sense) String() string {
	var b strings.Builder
	if s.Deferred {
		b.WriteString("deferred ")
	}
	fmt.Fprintf(&b, "%s, %s (%X/%02X/%02X)", s.Key, s.ASC, uint8(s.Key), uint8(s.ASC>>8), uint8(s.ASC))
	if s.InfoValid {
		fmt.Fprintf(&b, ", information %d", s.Info)
	}
	if s.FieldValid {
		where := "parameter list"
		if s.FieldInCDB {
			where = "cdb"
		}
		fmt.Fprintf(&b, ", %s byte %d", where, s.FieldPointer)
		if s.FieldBit >= 0 {
			fmt.Fprintf(&b, " bit %d", s.FieldBit)
		}
	}
	return b.String()
}

// Lengths of the encoded forms.
const (
	// FixedSenseLen is what AppendFixed appends.
	FixedSenseLen = 18
	// MaxSenseLen is the most that AppendDescriptor appends.
	MaxSenseLen = 8 + 12 + 8
)

// Response codes (SPC-4, 4.5.1).
const (
	senseFixed              = 0x70
	senseFixedDeferred      = 0x71
	senseDescriptor         = 0x72
	senseDescriptorDeferred = 0x73
)

// AppendFixed appends the fixed format (SPC-4, 4.5.3), FixedSenseLen bytes. An
// Info beyond 32 bits does not fit and is left out.
func (s Sense) AppendFixed(dst []byte) []byte {
	var b [FixedSenseLen]byte
	b[0] = senseFixed
	if s.Deferred {
		b[0] = senseFixedDeferred
	}
	if s.InfoValid && s.Info <= math.MaxUint32 {
		b[0] |= 0x80
		binary.BigEndian.PutUint32(b[3:], uint32(s.Info))
	}
	b[2] = byte(s.Key & 0xF)
	b[7] = FixedSenseLen - 8
	binary.BigEndian.PutUint16(b[12:], uint16(s.ASC))
	s.putField(b[15:18])
	return append(dst, b[:]...)
}

// AppendDescriptor appends the descriptor format (SPC-4, 4.5.2), at most
// MaxSenseLen bytes.
func (s Sense) AppendDescriptor(dst []byte) []byte {
	var b [MaxSenseLen]byte
	b[0] = senseDescriptor
	if s.Deferred {
		b[0] = senseDescriptorDeferred
	}
	b[1] = byte(s.Key & 0xF)
	binary.BigEndian.PutUint16(b[2:], uint16(s.ASC))
	n := 8
	if s.InfoValid {
		d := b[n : n+12]
		d[0], d[1], d[2] = descInformation, 10, 0x80
		binary.BigEndian.PutUint64(d[4:], s.Info)
		n += 12
	}
	if s.FieldValid {
		d := b[n : n+8]
		d[0], d[1] = descSenseKeySpecific, 6
		s.putField(d[4:7])
		n += 8
	}
	b[7] = byte(n - 8)
	return append(dst, b[:n]...)
}

// Append appends s in the format that the control mode page's D_SENSE bit
// asks for.
func (s Sense) Append(dst []byte, dSense bool) []byte {
	if dSense {
		return s.AppendDescriptor(dst)
	}
	return s.AppendFixed(dst)
}

// Sense data descriptor types (SPC-4, 4.5.2.1).
const (
	descInformation      = 0x00
	descSenseKeySpecific = 0x02
)

// putField writes the field pointer form of the sense key specific data
// (SPC-4, 4.5.2.4.2).
func (s Sense) putField(b []byte) {
	if !s.FieldValid {
		return
	}
	b[0] = 0x80
	if s.FieldInCDB {
		b[0] |= 0x40
	}
	if s.FieldBit >= 0 {
		b[0] |= 0x08 | byte(s.FieldBit&7)
	}
	binary.BigEndian.PutUint16(b[1:], s.FieldPointer)
}

// getField is putField's reverse; the three bytes mean something else for
// other sense keys.
func (s *Sense) getField(b []byte) {
	if s.Key != KeyIllegalRequest || b[0]&0x80 == 0 {
		return
	}
	s.FieldValid, s.FieldInCDB = true, b[0]&0x40 != 0
	s.FieldPointer = binary.BigEndian.Uint16(b[1:])
	s.FieldBit = -1
	if b[0]&0x08 != 0 {
		s.FieldBit = int8(b[0] & 7)
	}
}

// Errors of ParseSense.
var (
	ErrNoSense         = errors.New("sense data has an unknown response code")
	ErrShortSense      = errors.New("sense data is too short for its sense key")
	errSenseDescriptor = errors.New("sense data descriptor runs past its end")
)

// ParseSense reads sense data of response codes 70h to 73h. Bytes that are cut
// off, as initiators with small buffers see it, count as not set; without the
// sense key it is ErrShortSense.
func ParseSense(b []byte) (Sense, error) {
	if len(b) == 0 {
		return Sense{}, ErrShortSense
	}
	switch b[0] & 0x7F {
	case senseFixed, senseFixedDeferred:
		return parseFixed(b)
	case senseDescriptor, senseDescriptorDeferred:
		return parseDescriptor(b)
	}
	return Sense{}, ErrNoSense
}

func parseFixed(b []byte) (Sense, error) {
	if len(b) < 3 {
		return Sense{}, ErrShortSense
	}
	s := Sense{Key: SenseKey(b[2] & 0xF), Deferred: b[0]&0x7F == senseFixedDeferred}
	if b[0]&0x80 != 0 && len(b) >= 7 {
		s.Info, s.InfoValid = uint64(binary.BigEndian.Uint32(b[3:])), true
	}
	if len(b) >= 8 {
		b = b[:min(len(b), 8+int(b[7]))]
	}
	if len(b) >= 14 {
		s.ASC = ASC(binary.BigEndian.Uint16(b[12:]))
	} else if len(b) == 13 {
		s.ASC = ASC(b[12]) << 8
	}
	if len(b) >= 18 {
		s.getField(b[15:18])
	}
	return s, nil
}

func parseDescriptor(b []byte) (Sense, error) {
	if len(b) < 2 {
		return Sense{}, ErrShortSense
	}
	s := Sense{Key: SenseKey(b[1] & 0xF), Deferred: b[0]&0x7F == senseDescriptorDeferred}
	if len(b) >= 4 {
		s.ASC = ASC(binary.BigEndian.Uint16(b[2:]))
	}
	if len(b) < 8 {
		return s, nil
	}
	d := b[8:min(len(b), 8+int(b[7]))]
	for len(d) >= 2 {
		n := 2 + int(d[1])
		if n > len(d) {
			return s, errSenseDescriptor
		}
		switch {
		case d[0] == descInformation && n >= 12 && d[2]&0x80 != 0:
			s.Info, s.InfoValid = binary.BigEndian.Uint64(d[4:]), true
		case d[0] == descSenseKeySpecific && n >= 8:
			s.getField(d[4:7])
		}
		d = d[n:]
	}
	return s, nil
}
