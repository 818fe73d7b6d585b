package fusenode

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// logger is what clearStale needs of one.
type logger interface{ Warnf(string, ...any) }

// clearStale takes away what a crashed process left mounted at dir: a mount of
// our type that nobody serves any more. One that is alive is an error, and
// other people's mounts are left alone.
func clearStale(dir string, l logger) error {
	for {
		kind, err := mountedAt(dir)
		if err != nil {
			return fmt.Errorf("mount: %w", err)
		}
		if kind != "fuse."+fsName {
			return nil
		}
		var st unix.Stat_t
		if err := unix.Stat(dir, &st); !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
			return fmt.Errorf("mount: %s is served by another process of this kind already; choose another directory", dir)
		}
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("mount: %s has the remains of a former mount: %w; run umount -l %s as root", dir, err, dir)
		}
		l.Warnf("%s was still mounted by a process that has ended; unmounted", dir)
	}
}

// mountedAt is the file system type of the topmost mount at dir, "" if there is
// none.
func mountedAt(dir string) (kind string, err error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		if at, k := parseMountInfo(s.Text()); at == dir {
			kind = k
		}
	}
	return kind, s.Err()
}

// unescape is what proc(5) does to blanks in names.
var unescape = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)

// parseMountInfo is the mount point and type of one line (proc(5)): fields, a
// dash, and the type.
func parseMountInfo(line string) (at, kind string) {
	head, tail, ok := strings.Cut(line, " - ")
	fields := strings.Fields(head)
	if !ok || len(fields) < 5 {
		return "", ""
	}
	kind, _, _ = strings.Cut(tail, " ")
	return unescape.Replace(fields[4]), kind
}
