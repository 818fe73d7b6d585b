package powercut

import (
	"encoding/binary"
	"hash/crc32"
)

// SectorSize is the unit in which a disk is taken to write whole or not at all,
// in bytes.
const SectorSize = 512

// A stamped sector, all numbers little-endian:
//
//	  0  magic        8
//	  8  Stamp.ID     8
//	 16  Stamp.Sector 8
//	 24  Stamp.Gen    8
//	 32  filling    476  from the three above, so that no two sectors are alike anywhere
//	508  checksum     4  CRC-32C of the rest
const (
	stampMagic  = 0x7475637265776f70 // "powercut"
	fillStart   = 32
	checksumPos = SectorSize - 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Stamp says which request of which journal a sector was written by.
type Stamp struct {
	ID     uint64 // of the journal
	Sector uint64 // where it belongs
	Gen    uint64 // the request's generation, from 1
}

// Encode makes the SectorSize bytes of b the sector of the stamp.
func (s Stamp) Encode(b []byte) {
	b = b[:SectorSize]
	binary.LittleEndian.PutUint64(b, stampMagic)
	binary.LittleEndian.PutUint64(b[8:], s.ID)
	binary.LittleEndian.PutUint64(b[16:], s.Sector)
	binary.LittleEndian.PutUint64(b[24:], s.Gen)
	x := mix(s.ID ^ mix(s.Sector^mix(s.Gen)))
	for at := fillStart; at < checksumPos; at += 4 {
		x += 0x9e3779b97f4a7c15
		binary.LittleEndian.PutUint32(b[at:], uint32(mix(x)>>32))
	}
	binary.LittleEndian.PutUint32(b[checksumPos:], crc32.Checksum(b[:checksumPos], castagnoli))
}

// mix spreads the bits of x over all of it (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// Content is what kind of thing a sector holds.
type Content uint8

// What a sector can hold.
const (
	Zeroes  Content = iota // nothing but zeroes
	Stamped                // a stamp with a right checksum
	Torn                   // a stamp, or a part of one, with a wrong checksum
	Foreign                // anything else
)

// String names the content.
func (c Content) String() string {
	switch c {
	case Zeroes:
		return "zeroes"
	case Stamped:
		return "a stamped sector"
	case Torn:
		return "a torn sector"
	}
	return "foreign data"
}

// Decode says what the SectorSize bytes of b are. The stamp is what b says, even
// if it is torn, and means something only if it is Stamped.
func Decode(b []byte) (Stamp, Content) {
	b = b[:SectorSize]
	if allZero(b) {
		return Stamp{}, Zeroes
	}
	s := Stamp{
		ID:     binary.LittleEndian.Uint64(b[8:]),
		Sector: binary.LittleEndian.Uint64(b[16:]),
		Gen:    binary.LittleEndian.Uint64(b[24:]),
	}
	switch {
	case crc32.Checksum(b[:checksumPos], castagnoli) != binary.LittleEndian.Uint32(b[checksumPos:]):
		return s, Torn
	case binary.LittleEndian.Uint64(b) != stampMagic || s.Gen == 0:
		return s, Foreign
	}
	return s, Stamped
}

func allZero(b []byte) bool {
	for len(b) >= 8 {
		if binary.LittleEndian.Uint64(b) != 0 {
			return false
		}
		b = b[8:]
	}
	return true
}
