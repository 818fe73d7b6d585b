package fileio

import (
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// makeExt4 makes a file system on dev and mounts it on dir.
func makeExt4(t *testing.T, dev, dir string) bool {
	t.Helper()
	if out, err := exec.Command("mkfs.ext4", "-q", "-b", "4096", dev).CombinedOutput(); err != nil {
		t.Skipf("SKIPPED, can't make a file system: %v: %s", err, out)
	}
	if err := unix.Mount(dev, dir, "ext4", 0, ""); err != nil {
		t.Skipf("SKIPPED, can't mount: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount %s: %v", dir, err)
		}
	})
	return true
}
