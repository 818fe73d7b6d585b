package kerneltest

import (
	"os/exec"
	"path/filepath"
	"testing"
)

// cHandler builds the example in C, static.
func cHandler(t *testing.T) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "ram_handler")
	cmd := exec.Command("make", "-s", "-C", "../../../examples/c-handler", "OUT="+out, "LDFLAGS=-static")
	if text, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return out
}

// The size of the handlers' disks.
const handlerMiB = 320

// fuse: a handler registers its device with our node, and a file system is made
// on the file that the device is over FUSE, and on /dev/nbd0.
func (g *guest) fuse(t *testing.T) {
	g.sh(t, "mkdir -p /run/scst")
	g.daemon(t, "stop with", "fileio_tgt host --mount /run/scst --listen unix:/tmp/nbd --control /tmp/control")
	t.Run("C handler", func(t *testing.T) {
		g.daemon(t, "serving", "ram_handler -t 4 -s %d /run/scst/scst_user", handlerMiB)
		d := device{size: handlerMiB << 20, block: 512}
		t.Run("loop, ext4", func(t *testing.T) { g.loop(t, "ram", false, d, ext4, 6) })
		t.Run("NBD, ext4", func(t *testing.T) {
			d := d
			d.path = "/dev/nbd0"
			g.attach(t, "nbd+unix:///ram?socket=/tmp/nbd", "--connections 4")
			g.sizes(t, d)
			g.fileSystem(t, d, ext4, 7)
		})
	})
	t.Run("Go handler", func(t *testing.T) {
		img, d := g.guestImage(t, handlerMiB<<20, 512)
		g.daemon(t, "stop with", "fileio_tgt --device /run/scst/scst_user -f %s", img)
		t.Run("loop with direct I/O, xfs", func(t *testing.T) { g.loop(t, "image", true, d, xfs, 8) })
	})
}

// loop makes a block device of a device's file, and a file system on that. A loop
// device without direct I/O sends each page by itself, which is slow.
func (g *guest) loop(t *testing.T, name string, direct bool, d device, fs fsSteps, seed uint64) {
	d.path, d.slow = "/dev/loop0", !direct
	g.sh(t, "losetup --direct-io=%s /dev/loop0 /run/scst/devices/%s/lun", map[bool]string{true: "on", false: "off"}[direct], name)
	t.Cleanup(func() { g.cleanUp(t, "! grep -q ' /mnt ' /proc/mounts || umount /mnt; losetup -d /dev/loop0") })
	g.sizes(t, d)
	g.fileSystem(t, d, fs, seed)
}
