package arena

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"unsafe"
)

var (
	// ErrNoMemory is returned by Alloc when Options.MaxBytes would be
	// exceeded or the kernel gives no more memory.
	ErrNoMemory = errors.New("no memory for data buffers")
	// ErrFault is returned by Map for a range that isn't inside one live
	// allocation; EFAULT in the rules (R38, R52).
	ErrFault = errors.New("bad address")
	// ErrNotAllocated is returned by Free for an address that isn't the
	// start of a live allocation: it never was one, or it was freed before.
	ErrNotAllocated = errors.New("not a live allocation")
	// ErrLive is returned by Close when allocations are still live.
	ErrLive = errors.New("allocations are still live")
	// ErrClosed is returned by Alloc after Close.
	ErrClosed = errors.New("arena is closed")
)

// Options of an Arena. The zero value is good.
type Options struct {
	// MaxBytes limits the bytes of all live allocations together, each
	// rounded up to whole pages. 0 is no limit.
	MaxBytes int64
}

// Stats says what an Arena holds at one moment.
type Stats struct {
	// Live is the number of allocations, LiveBytes their bytes, rounded up
	// to whole pages.
	Live, LiveBytes int64
	// PeakBytes is the highest LiveBytes so far.
	PeakBytes int64
	// Slabs is the number of slabs in use and Large that of allocations
	// with a mapping of their own.
	Slabs, Large int64
	// SpareBytes is the address space held for reuse, MappedBytes that of
	// slabs, large allocations and the spare together.
	SpareBytes, MappedBytes int64
}

// Arena is the memory of one handler. Use New.
type Arena struct {
	max      uint64
	pageSize uint64
	maxShift uint // log2 of pages in the largest class, one slab

	// mu guards everything below, and the slabs that regions and partial
	// point to. It does not guard the memory itself.
	mu sync.Mutex
	// regions is all mapped memory but the spare, sorted by base.
	regions []region
	// partial holds, for each class, the slabs with a free slot.
	partial [maxClasses]slabList
	// spare is an empty slab kept for the next class that needs one.
	spare *slab
	live  int64
	bytes uint64
	peak  uint64
	slabs int64
	large int64
	// pinned are the starts of allocations that Free leaves alone.
	pinned map[uint64]struct{}
	// closed is set by Close: nothing more is handed out.
	closed bool
}

// region is one mapping: a slab if slab is set, otherwise one large allocation.
type region struct {
	base, size uint64
	slab       *slab
}

func (r region) holds(addr uint64) bool { return addr-r.base < r.size }

// New makes an empty arena. It maps nothing yet.
func New(o Options) *Arena {
	page := uint64(os.Getpagesize())
	a := &Arena{pageSize: page}
	if o.MaxBytes > 0 {
		a.max = uint64(o.MaxBytes)
	}
	for page<<a.maxShift < slabSize && a.maxShift < maxClasses-1 {
		a.maxShift++
	}
	return a
}

// Alloc returns the page-aligned address of n bytes, rounded up to whole
// pages; the bytes hold whatever an earlier owner left there. n must be
// positive. The error is ErrNoMemory, ErrClosed, or says that n is wrong.
func (a *Arena) Alloc(n int) (uint64, error) {
	if n <= 0 {
		return 0, fmt.Errorf("allocate %d bytes: the size must be positive", n)
	}
	size := (uint64(n) + a.pageSize - 1) &^ (a.pageSize - 1)

	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case a.closed:
		return 0, ErrClosed
	case a.max != 0 && (size > a.max || a.bytes > a.max-size):
		return 0, fmt.Errorf("%w: %d bytes more would exceed the limit of %d (%d in use)",
			ErrNoMemory, size, a.max, a.bytes)
	}
	addr, err := a.take(size)
	if err != nil {
		return 0, fmt.Errorf("%w: map %d bytes: %w", ErrNoMemory, size, err)
	}
	a.live++
	a.bytes += size
	a.peak = max(a.peak, a.bytes)
	return addr, nil
}

// take finds size bytes, whole pages. The caller holds mu.
func (a *Arena) take(size uint64) (uint64, error) {
	class := classOf(size / a.pageSize)
	if class > a.maxShift {
		base, err := mapMemory(size)
		if err != nil {
			return 0, err
		}
		a.insert(region{base: base, size: size})
		a.large++
		return base, nil
	}
	s := a.partial[class].first
	if s == nil {
		var err error
		if s, err = a.newSlab(class); err != nil {
			return 0, err
		}
	}
	slot := s.take(uint16(size / a.pageSize))
	if s.free == 0 {
		a.partial[class].remove(s)
	}
	return s.base + uint64(slot)*s.slotSize, nil
}

// newSlab makes the spare or new memory a slab of the class. The caller holds
// mu.
func (a *Arena) newSlab(class uint) (*slab, error) {
	s := a.spare
	a.spare = nil
	if s == nil {
		base, err := mapMemory(slabSize)
		if err != nil {
			return nil, err
		}
		// A huge page would make a slab of which one buffer is in use
		// cost 2 MiB. Advice only: the answer doesn't matter.
		adviseSmallPages(base, slabSize)
		s = &slab{base: base}
	}
	s.init(class, a.pageSize)
	a.insert(region{base: s.base, size: slabSize, slab: s})
	a.partial[class].push(s)
	a.slabs++
	return s, nil
}

// Free gives an allocation back. addr must be what Alloc returned; otherwise
// the error is ErrNotAllocated and nothing happens.
func (a *Arena) Free(addr uint64) error {
	a.mu.Lock()
	unmap, err := a.release(addr)
	a.mu.Unlock()
	if err != nil {
		return fmt.Errorf("free %#x: %w", addr, err)
	}
	if unmap.size != 0 {
		if err := unmapMemory(unmap.base, unmap.size); err != nil {
			return fmt.Errorf("free %#x: unmap: %w", addr, err)
		}
	}
	return nil
}

// release takes the allocation out of the tables and returns the region to
// unmap, if any. The caller holds mu.
func (a *Arena) release(addr uint64) (unmap region, err error) {
	if _, ok := a.pinned[addr]; ok {
		return region{}, nil
	}
	i, ok := a.find(addr)
	if !ok {
		return region{}, ErrNotAllocated
	}
	r := a.regions[i]
	s := r.slab
	if s == nil {
		if addr != r.base {
			return region{}, ErrNotAllocated
		}
		a.forget(r.size)
		a.large--
		a.regions = slices.Delete(a.regions, i, i+1)
		return r, nil
	}
	slot, off := s.locate(addr)
	pages := s.pages[slot]
	if off != 0 || pages == 0 {
		return region{}, ErrNotAllocated
	}
	wasFull := s.free == 0
	s.put(slot)
	a.forget(uint64(pages) * a.pageSize)
	if wasFull {
		a.partial[s.class].push(s)
	}
	if s.free < s.slots {
		return region{}, nil
	}
	a.partial[s.class].remove(s)
	a.slabs--
	a.regions = slices.Delete(a.regions, i, i+1)
	if a.spare == nil && !a.closed {
		a.spare = s
		return region{}, nil
	}
	return r, nil
}

// forget takes one allocation out of the sums. The caller holds mu.
func (a *Arena) forget(size uint64) {
	a.live--
	a.bytes -= size
}

// Bytes views n bytes at addr. It is for the owner of the allocation and
// checks nothing: addr must come from Alloc, plus an offset at most, and n
// bytes from there must be inside the allocation. Use Map for anything that
// somebody else says. The slice is valid until the allocation is freed.
func (a *Arena) Bytes(addr uint64, n int) []byte { return view(addr, n) }

// Map views n bytes at addr if they lie inside one live allocation, whose end
// is the requested size rounded up to a page; otherwise the error is ErrFault.
// It may be called with any addr and n. The slice is valid until the
// allocation is freed.
func (a *Arena) Map(addr uint64, n int) ([]byte, error) {
	if n < 0 {
		return nil, ErrFault
	}
	a.mu.Lock()
	left := a.room(addr)
	a.mu.Unlock()
	if left == 0 || uint64(n) > left {
		return nil, ErrFault
	}
	return view(addr, n), nil
}

// room is the number of bytes from addr to the end of its live allocation, 0
// if addr is in none. The caller holds mu.
func (a *Arena) room(addr uint64) uint64 {
	i, ok := a.find(addr)
	if !ok {
		return 0
	}
	r := a.regions[i]
	if r.slab == nil {
		return r.base + r.size - addr
	}
	slot, off := r.slab.locate(addr)
	size := uint64(r.slab.pages[slot]) * a.pageSize
	if off >= size {
		return 0
	}
	return size - off
}

// Pin makes the allocation that starts at addr stay for ever: Free has no
// effect on it, and it counts as live. It is for memory that something which
// can't be stopped, such as a system call that hangs, may still read or write.
// An address that is not the start of a live allocation is ignored.
func (a *Arena) Pin(addr uint64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.startsLive(addr) {
		return
	}
	if a.pinned == nil {
		a.pinned = map[uint64]struct{}{}
	}
	a.pinned[addr] = struct{}{}
}

// startsLive says whether a live allocation starts at addr. The caller holds
// mu.
func (a *Arena) startsLive(addr uint64) bool {
	i, ok := a.find(addr)
	if !ok {
		return false
	}
	r := a.regions[i]
	if r.slab == nil {
		return addr == r.base
	}
	slot, off := r.slab.locate(addr)
	return off == 0 && r.slab.pages[slot] != 0
}

// Stats is what the arena holds now.
func (a *Arena) Stats() Stats {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := Stats{
		Live: a.live, LiveBytes: int64(a.bytes), PeakBytes: int64(a.peak),
		Slabs: a.slabs, Large: a.large,
	}
	for _, r := range a.regions {
		st.MappedBytes += int64(r.size)
	}
	if a.spare != nil {
		st.SpareBytes = slabSize
		st.MappedBytes += slabSize
	}
	return st
}

// Close gives the spare back and ends allocation. Memory of live allocations
// is not pulled from under those who use it: then the error is ErrLive with
// their number, they can still be used and freed, and go with their Free. A
// second Close does the same again.
func (a *Arena) Close() error {
	a.mu.Lock()
	a.closed = true
	spare, live, bytes := a.spare, a.live, a.bytes
	a.spare = nil
	a.mu.Unlock()

	var err error
	if spare != nil {
		if e := unmapMemory(spare.base, slabSize); e != nil {
			err = fmt.Errorf("close arena: unmap: %w", e)
		}
	}
	if live != 0 {
		err = errors.Join(err, fmt.Errorf("close arena: %w: %d of %d bytes", ErrLive, live, bytes))
	}
	return err
}

// find is the index of the region that holds addr. The caller holds mu.
func (a *Arena) find(addr uint64) (int, bool) {
	i, exact := slices.BinarySearchFunc(a.regions, addr, func(r region, addr uint64) int {
		switch {
		case r.base < addr:
			return -1
		case r.base > addr:
			return 1
		}
		return 0
	})
	if exact {
		return i, true
	}
	if i == 0 || !a.regions[i-1].holds(addr) {
		return 0, false
	}
	return i - 1, true
}

// insert puts a region where the order wants it. The caller holds mu.
func (a *Arena) insert(r region) {
	i, _ := slices.BinarySearchFunc(a.regions, r.base, func(r region, base uint64) int {
		if r.base < base {
			return -1
		}
		return 1
	})
	a.regions = slices.Insert(a.regions, i, r)
}

// view makes a slice of an address.
//
// The conversion goes through memory because the direct one, from an integer
// to unsafe.Pointer, is one that vet can't tell from a mistake. It is sound
// here: the address came from mmap, so the memory is not in the Go heap, the
// collector neither moves nor frees it and ignores pointers to it, and there
// is no Go pointer whose life the integer would have to extend.
func view(addr uint64, n int) []byte {
	p := uintptr(addr)
	return unsafe.Slice((*byte)(*(*unsafe.Pointer)(unsafe.Pointer(&p))), n)
}
