package fileio

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// speed is what is known beforehand about the space operations of a medium:
// whether they change the map of the blocks, or have the device do it, rather
// than write.
type speed struct{ punch, zero bool }

// speeds are the file systems that are known. Others may be as fast, but to
// find out one would have to change the file.
var speeds = map[uint32]speed{
	unix.EXT4_SUPER_MAGIC:  {punch: true, zero: true},
	unix.XFS_SUPER_MAGIC:   {punch: true, zero: true},
	unix.BTRFS_SUPER_MAGIC: {punch: true, zero: true},
	unix.F2FS_SUPER_MAGIC:  {punch: true, zero: true},
	unix.TMPFS_MAGIC:       {punch: true}, // it has no ZERO_RANGE
}

// FastZero says whether Punch and Zero are faster than writing zeroes: on file
// systems that are known for it, and on devices with a command for it, and
// until one of them turns out not to be there.
func (f *File) FastZero() (punch, zero bool) {
	return f.speed.punch && !f.noPunch.Load(), f.speed.zero && !f.noZero.Load()
}

// deviceSpeed asks the device's driver whether the device can zero blocks
// without being sent zeroes.
func deviceSpeed(rdev uint64) speed {
	dir := fmt.Sprintf("/sys/dev/block/%d:%d/", unix.Major(rdev), unix.Minor(rdev))
	for _, queue := range []string{"queue/", "../queue/"} { // a disk; a partition
		text, err := os.ReadFile(dir + queue + "write_zeroes_max_bytes")
		if err != nil {
			continue
		}
		n, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
		fast := err == nil && n > 0
		return speed{punch: fast, zero: fast}
	}
	return speed{}
}
