package fileio

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// learnMedium fills in what the data path wants to know about the medium.
func (f *File) learnMedium(st *unix.Stat_t) {
	f.zeroGrain, f.punchGrain = 1, int64(st.Blksize)
	f.cacheUnit = int64(os.Getpagesize())
	if b := int64(st.Blksize); b > f.cacheUnit && b&(b-1) == 0 {
		f.cacheUnit = b
	}
	if f.device {
		f.zeroGrain = int64(logicalBlock(f.fd))
		f.punchGrain = max(f.zeroGrain, discardGranularity(st.Rdev))
		f.speed = deviceSpeed(st.Rdev)
		return
	}
	// Only of a regular file: a device's node is on a memory file system.
	var fs unix.Statfs_t
	if err := unix.Fstatfs(f.fd, &fs); err == nil {
		kind := uint32(fs.Type) // its width and sign differ between machines
		f.memory = kind == unix.TMPFS_MAGIC || kind == unix.RAMFS_MAGIC
		f.speed = speeds[kind]
		if foreign[kind] {
			f.foreign = true
			f.noDsync.Store(true)
		}
	}
}

// deviceSize is the size of a block device in bytes.
func deviceSize(fd int) (int64, error) {
	var n uint64
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), unix.BLKGETSIZE64, uintptr(unsafe.Pointer(&n)))
	if errno != 0 {
		return 0, errno
	}
	return int64(n), nil
}

// deviceReadOnly says whether the device refuses writes.
func deviceReadOnly(fd int) bool {
	ro, err := unix.IoctlGetUint32(fd, unix.BLKROGET)
	return err == nil && ro != 0
}

// logicalBlock is the logical block size of a block device in bytes.
func logicalBlock(fd int) int {
	if n, err := unix.IoctlGetUint32(fd, unix.BLKSSZGET); err == nil && n > 0 {
		return int(n)
	}
	return MinBlockSize
}

// discardGranularity is what the device's driver says, 0 if it doesn't.
func discardGranularity(rdev uint64) int64 {
	dir := fmt.Sprintf("/sys/dev/block/%d:%d/", unix.Major(rdev), unix.Minor(rdev))
	for _, queue := range []string{"queue/", "../queue/"} { // a disk; a partition
		text, err := os.ReadFile(dir + queue + "discard_granularity")
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			return n
		}
	}
	return 0
}

var errNoDirect = errors.New("O_DIRECT is not supported")

// directAlignment finds what O_DIRECT wants offsets, lengths and memory to be
// multiples of, for an fd opened with it.
func directAlignment(fd int, device bool) (int, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, "", unix.AT_EMPTY_PATH, unix.STATX_DIOALIGN, &st)
	if err == nil && st.Mask&unix.STATX_DIOALIGN != 0 {
		align := max(st.Dio_mem_align, st.Dio_offset_align)
		if st.Dio_offset_align == 0 || align > bounceAlign || align&(align-1) != 0 {
			return 0, errNoDirect
		}
		return int(align), nil
	}
	if device {
		return logicalBlock(fd), nil
	}
	return probeAlignment(func(p []byte) error {
		return ignoringEINTR(func() error { _, err := unix.Pread(fd, p, 0); return err })
	})
}

// maxSector is the largest sector that is common, in bytes.
const maxSector = 4096

// probeAlignment tries reads of the sizes that sectors have.
func probeAlignment(read func(p []byte) error) (int, error) {
	b := newBounce()
	for n := MinBlockSize; n <= maxSector; n *= 2 {
		switch err := read(b.mem[:n]); err {
		case nil:
			return n, nil
		case unix.EINVAL:
		default:
			return 0, err
		}
	}
	return 0, errNoDirect
}
