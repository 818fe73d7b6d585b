package kerneltest

import (
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"scstuser/internal/proc"
)

const diskSize = 384 << 20

// hostServer is the kernel's client with the server on this host.
func (g *guest) hostServer(t *testing.T) {
	for i, tc := range []struct {
		fs    fsSteps
		block int
	}{
		{ext4, 512},
		{xfs, 4096},
	} {
		t.Run(fmt.Sprintf("%s, blocks of %d", tc.fs.name, tc.block), func(t *testing.T) {
			d, _ := g.attachImage(t, diskSize, proc.Config{Block: tc.block})
			t.Run("size", func(t *testing.T) { g.sizes(t, d) })
			g.fileSystem(t, d, tc.fs, uint64(i))
			t.Run("blkdiscard -z", func(t *testing.T) { g.zeroes(t, d) })
		})
	}
	t.Run("read-only", g.readOnly)
	t.Run("grow", g.grow)
}

// attachImage serves a new image of that size on this host and attaches it in
// the guest, with 4 connections.
func (g *guest) attachImage(t *testing.T, size int64, c proc.Config) (device, *proc.Server) {
	t.Helper()
	img := image(t, size)
	c.Files = []string{img}
	if c.Block == 0 {
		c.Block = 512
	}
	s := serve(t, c)
	g.attach(t, uri(t, s, img), "--connections 4")
	return device{path: "/dev/nbd0", size: size, block: c.Block, allocated: func(t *testing.T) int64 { return allocatedBytes(t, img) }}, s
}

// readOnly: the kernel knows that it can't write, and reads.
func (g *guest) readOnly(t *testing.T) {
	img := image(t, 64<<20)
	s := start(t, proc.Config{Files: []string{img}})
	g.sh(t, "fileio_tgt attach '%s' /dev/nbd0; mkfs.ext4 -q /dev/nbd0; mount -t ext4 /dev/nbd0 /mnt; echo text >/mnt/file; umount /mnt; fileio_tgt detach /dev/nbd0", uri(t, s, img))
	if err := s.Stop(stopTimeout); err != nil {
		t.Fatal(err)
	}
	s = serve(t, proc.Config{Files: []string{img}, ReadOnly: true})
	g.attach(t, uri(t, s, img), "")
	if out := g.sh(t, "blockdev --getro /dev/nbd0; mount -t ext4 -o ro /dev/nbd0 /mnt; cat /mnt/file; umount /mnt"); out != "1\ntext\n" {
		t.Errorf("%q", out)
	}
	g.sh(t, "! dd if=/dev/zero of=/dev/nbd0 count=1 2>/dev/null")
}

// grow: SIGUSR1 makes the server see a larger image, attach --resize the kernel,
// with a file system mounted, which then grows.
func (g *guest) grow(t *testing.T) {
	const small, large = 64 << 20, 160 << 20
	img := image(t, small)
	s := serve(t, proc.Config{Files: []string{img}})
	where := uri(t, s, img)
	g.attach(t, where, "--connections 4")
	d := device{path: "/dev/nbd0", size: small, block: 512}
	g.sizes(t, d)
	g.sh(t, "mkfs.ext4 -q /dev/nbd0; mount -t ext4 /dev/nbd0 /mnt; mkdir /mnt/load; fscheck -dir /mnt/load -seed 9 -ops 40")
	if err := os.Truncate(img, large); err != nil {
		t.Fatal(err)
	}
	if err := s.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	out := ""
	for range 50 { // the signal takes its time
		if out = g.sh(t, "fileio_tgt attach --resize '%s' /dev/nbd0", where); strings.Contains(out, "160 MiB") {
			break
		}
	}
	if !strings.Contains(out, "160 MiB") {
		t.Fatalf("%q", out)
	}
	d.size = large
	g.sizes(t, d)
	g.sh(t, "resize2fs /dev/nbd0 2>/dev/null; dd if=/dev/zero of=/mnt/big bs=1M count=100 conv=fsync 2>/dev/null; "+
		"fscheck -verify -dir /mnt/load -seed 9 -ops 40; umount /mnt; e2fsck -f -n /dev/nbd0")
}
