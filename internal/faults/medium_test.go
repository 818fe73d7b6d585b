package faults

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"scstuser/internal/faultfs"
)

// imageSize is the size of the disk that fails.
const imageSize = 16 << 20

// medium is what the image is on.
type medium struct {
	// name is for subtests, text for the document.
	name, text string
	make       func(t *testing.T) disk
}

// disk is a medium that was made.
type disk struct {
	// path is what the server serves.
	path string
	// faults is where faults are injected; nil: the medium has its own.
	faults *faultfs.FS
	// stored has the bytes at the same offsets; nil: elsewhere.
	stored *os.File
	// fill and empty, where there are any, take all space and give it back.
	fill, empty func(t *testing.T)
}

var (
	// plain is a file each of whose reads and writes reaches the disk.
	plain = medium{"plain", "image file", func(t *testing.T) disk { return faulty(t, false) }}
	// cached is a file behind the kernel's page cache.
	cached = medium{"cached", "image file in the page cache", func(t *testing.T) disk { return faulty(t, true) }}
	// block is a block device, whose pages the kernel caches.
	block = medium{"block", "block device", blockDevice}
	// throttled is one of which the kernel lets few pages be dirty.
	throttled = medium{"throttled", "block device with a small share of the page cache", throttledDevice}
	// ext4 is a file on a file system on a faulty block device.
	ext4 = medium{"ext4", "image file on ext4 on a broken disk", onExt4}
	// sparse is one on an ext4 that has no space for all of it.
	sparse = medium{"ext4", "sparse image on a small ext4", onSmallExt4}
	// small is a sparse file on a file system that has no space for all of it.
	small = medium{"tmpfs", "sparse image on a small tmpfs", onTmpfs}
)

// faulty mounts a faultfs.
func faulty(t *testing.T, cache bool) disk {
	t.Helper()
	backing, err := os.Create(filepath.Join(t.TempDir(), "backing"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { backing.Close() })
	if err := backing.Truncate(imageSize); err != nil {
		t.Fatal(err)
	}
	for _, at := range []int64{there, elsewhere} {
		// A hole would not be read.
		if _, err := backing.WriteAt(bytes.Repeat([]byte{0xEE}, 1<<20), at); err != nil {
			t.Fatal(err)
		}
	}
	s, err := faultfs.Mount(faultfs.Options{Dir: t.TempDir(), Backing: backing, Cached: cache})
	if errors.Is(err, faultfs.ErrNoFUSE) {
		missing(t, "%v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return disk{path: s.Path(), faults: s, stored: backing}
}

// tool runs a program of the system to its end. A process of its own does what
// touches the mounts that this one serves.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// blockDevice is a loop device on a faultfs.
func blockDevice(t *testing.T) disk {
	t.Helper()
	d := faulty(t, false)
	out, err := exec.Command("losetup", "--find", "--show", d.path).CombinedOutput()
	if err != nil {
		missing(t, "losetup: %v: %s", err, out)
	}
	dev := strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "--detach", dev).CombinedOutput(); err != nil {
			t.Errorf("losetup --detach %s: %v: %s", dev, err, out)
		}
	})
	d.path = dev
	return d
}

// throttledDevice is a block device that may have about 1 MiB of dirty pages.
func throttledDevice(t *testing.T) disk {
	t.Helper()
	d := blockDevice(t)
	var st unix.Stat_t
	if err := unix.Stat(d.path, &st); err != nil {
		t.Fatal(err)
	}
	bdi := fmt.Sprintf("/sys/class/bdi/%d:%d/", unix.Major(st.Rdev), unix.Minor(st.Rdev))
	set := func(file, value string) error { return os.WriteFile(bdi+file, []byte(value), 0) }
	if err := errors.Join(set("strict_limit", "1"), set("max_bytes", "1048576")); err != nil {
		missing(t, "the kernel has no such limit: %v", err)
	}
	t.Cleanup(func() { // the device is used again
		if err := errors.Join(set("max_ratio", "100"), set("strict_limit", "0")); err != nil {
			t.Error(err)
		}
	})
	return d
}

// onExt4 is an image on an ext4 on a blockDevice.
func onExt4(t *testing.T) disk {
	d, dir := mountExt4(t)
	path := filepath.Join(dir, "image")
	tool(t, "dd", "if=/dev/zero", "of="+path, "bs=1M", "count=8", "conv=fsync", "status=none")
	return disk{path: path, faults: d.faults}
}

// onSmallExt4 is a sparse image there.
func onSmallExt4(t *testing.T) disk {
	_, dir := mountExt4(t)
	path, filler := filepath.Join(dir, "image"), filepath.Join(dir, "filler")
	tool(t, "truncate", "-s", strconv.Itoa(imageSize), path)
	return disk{
		path: path,
		fill: func(t *testing.T) { fillUp(t, filler) },
		// Not by this process, which serves the disk below.
		empty: func(t *testing.T) { tool(t, "rm", filler); tool(t, "sync", path) },
	}
}

// fillUp takes all space that there is.
func fillUp(t *testing.T, filler string) {
	t.Helper()
	for _, piece := range []string{"64K", "512"} { // to the last block
		err := exec.Command("dd", "if=/dev/zero", "of="+filler, "oflag=append", "conv=notrunc,fsync", "bs="+piece, "status=none").Run()
		if err == nil {
			t.Fatal("the file system never gets full")
		}
	}
}

// mountExt4 makes an ext4 on a blockDevice and mounts it at dir.
func mountExt4(t *testing.T) (d disk, dir string) {
	t.Helper()
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		missing(t, "%v: install e2fsprogs", err)
	}
	d, dir = blockDevice(t), t.TempDir()
	tool(t, "mkfs.ext4", "-q", "-m", "0", d.path)
	tool(t, "mount", "-t", "ext4", d.path, dir)
	t.Cleanup(func() { tool(t, "umount", dir) })
	return d, dir
}

// onTmpfs is an image on a tmpfs with less space.
func onTmpfs(t *testing.T) disk {
	t.Helper()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=8M"); err != nil {
		missing(t, "mount a tmpfs: %v", err)
	}
	t.Cleanup(func() {
		// A program that another test is starting may have it open for a moment.
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	path, filler := filepath.Join(dir, "image"), filepath.Join(dir, "filler")
	stored, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stored.Close() })
	if err := stored.Truncate(imageSize); err != nil {
		t.Fatal(err)
	}
	return disk{
		path: path, stored: stored,
		fill: func(t *testing.T) { fillUp(t, filler) },
		empty: func(t *testing.T) {
			if err := os.Remove(filler); err != nil {
				t.Fatal(err)
			}
		},
	}
}
