package arena

import "math/bits"

const (
	// slabSize is the size of a slab and of the largest class, in bytes.
	slabSize = 4 << 20
	// maxClasses is how many classes there are at most: 1, 2, 4 ... 1024
	// pages of 4 KiB. With larger pages there are fewer.
	maxClasses = 11
	// maxSlots is the number of one-page slots in a slab of 4 KiB pages.
	maxSlots = 1 << (maxClasses - 1)
)

// classOf is the class of an allocation: log2 of its pages, rounded up.
func classOf(pages uint64) uint { return uint(bits.Len64(pages - 1)) }

// slab is slabSize bytes cut into equal slots of one class. All of it is
// guarded by Arena.mu.
type slab struct {
	base     uint64
	slotSize uint64
	class    uint
	slots    int
	free     int
	// used has a bit per slot; pages holds how many pages of the slot its
	// allocation asked for, 0 when the slot is free.
	used  [maxSlots / 64]uint64
	pages [maxSlots]uint16
	// next and prev link the slab into its class's list while free > 0.
	next, prev *slab
}

// init cuts an empty slab, new or spare, for a class.
func (s *slab) init(class uint, pageSize uint64) {
	s.class = class
	s.slotSize = pageSize << class
	s.slots = int(slabSize / s.slotSize)
	s.free = s.slots
}

// take marks the lowest free slot used, of which there must be one.
func (s *slab) take(pages uint16) int {
	for w := range s.used {
		if s.used[w] == ^uint64(0) {
			continue
		}
		bit := bits.TrailingZeros64(^s.used[w])
		slot := w*64 + bit
		s.used[w] |= 1 << bit
		s.pages[slot] = pages
		s.free--
		return slot
	}
	panic("arena: slab without a free slot is listed as having one")
}

// put marks a used slot free.
func (s *slab) put(slot int) {
	s.used[slot/64] &^= 1 << (slot % 64)
	s.pages[slot] = 0
	s.free++
}

// locate is the slot that holds addr, which is in the slab, and where in it.
func (s *slab) locate(addr uint64) (slot int, off uint64) {
	off = addr - s.base
	// The slot size is a power of two; divisions cost more than the rest.
	shift := uint(bits.TrailingZeros64(s.slotSize))
	return int(off >> shift), off & (s.slotSize - 1)
}

// slabList is a list of slabs, linked through them.
type slabList struct{ first *slab }

func (l *slabList) push(s *slab) {
	s.prev, s.next = nil, l.first
	if l.first != nil {
		l.first.prev = s
	}
	l.first = s
}

func (l *slabList) remove(s *slab) {
	if s.prev != nil {
		s.prev.next = s.next
	} else {
		l.first = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev = nil, nil
}
