package arena

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapMemory maps size bytes of private zeroed memory that a forked child does
// not get: a page that both had would be copied for the one that writes first,
// and a kernel that has pinned it would go on with the other one's (rule R54).
// Addresses are kept as
// integers from here on: a stale pointer to memory that was unmapped, and that
// the Go heap then grew into, would confuse the collector.
func mapMemory(size uint64) (uint64, error) {
	if uint64(uintptr(size)) != size {
		return 0, unix.ENOMEM
	}
	p, err := unix.MmapPtr(-1, 0, nil, uintptr(size),
		unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
	if err != nil {
		return 0, err
	}
	base := uint64(uintptr(p))
	if err := unix.Madvise(view(base, int(size)), unix.MADV_DONTFORK); err != nil {
		_ = unix.MunmapPtr(p, uintptr(size))
		return 0, err
	}
	return base, nil
}

// unmapMemory undoes mapMemory.
func unmapMemory(base, size uint64) error {
	return unix.MunmapPtr(unsafe.Pointer(unsafe.SliceData(view(base, 1))), uintptr(size))
}

// adviseSmallPages asks for small pages in a mapping.
func adviseSmallPages(base, size uint64) {
	_ = unix.Madvise(view(base, int(size)), unix.MADV_NOHUGEPAGE)
}
