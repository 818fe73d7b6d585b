package kerneltest

import (
	"testing"
)

// fsSteps is what is different between the file systems.
type fsSteps struct {
	name, mkfs, check string
}

var (
	ext4 = fsSteps{"ext4", "mkfs.ext4 -q -F", "e2fsck -f -n"}
	xfs  = fsSteps{"xfs", "mkfs.xfs -q -f", "xfs_repair -n"}
)

// load is how many operations fscheck does, each reading one of which asks the
// disk, and the directories that are copied.
func (d device) load() (ops int, trees string) {
	if d.slow {
		return 50, "/usr/sbin"
	}
	return 150, "/lib /usr/sbin"
}

// fileSystem makes a file system on a device, uses it in every way that we can
// think of, and checks it.
func (g *guest) fileSystem(t *testing.T, d device, fs fsSteps, seed uint64) {
	ops, trees := d.load()
	step := func(name string, f func(t *testing.T)) {
		t.Helper()
		if !t.Run(name, f) {
			t.FailNow()
		}
	}
	step("mkfs", func(t *testing.T) {
		g.sh(t, "%s %s; mount -t %s %s /mnt", fs.mkfs, d.path, fs.name, d.path)
	})
	step("copy a tree", func(t *testing.T) {
		g.sh(t, "mkdir /mnt/tree; cp -a %[1]s /mnt/tree; sync -f /mnt; echo 3 >/proc/sys/vm/drop_caches; "+
			"for d in %[1]s; do diff -r $d /mnt/tree/${d##*/}; done", trees)
	})
	step("load", func(t *testing.T) {
		g.sh(t, "mkdir /mnt/load; fscheck -dir /mnt/load -seed %d -ops %d", seed, ops)
	})
	g.sh(t, "rm -r /mnt/tree; sync -f /mnt")
	if d.allocated != nil {
		step("fstrim", func(t *testing.T) { g.trim(t, d) })
	}
	step("mount again", func(t *testing.T) {
		g.sh(t, "umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount -t %s %s /mnt; fscheck -verify -dir /mnt/load -seed %d -ops %d; umount /mnt",
			fs.name, d.path, seed, ops)
	})
	step("fsck", func(t *testing.T) {
		g.sh(t, "%s %s", fs.check, d.path)
	})
}

// trim requires fstrim to give room back that files had which are gone.
func (g *guest) trim(t *testing.T, d device) {
	before := d.allocated(t)
	g.sh(t, "fstrim /mnt; sync -f /mnt")
	after := d.allocated(t)
	if freed := before - after; freed < 1<<20 {
		t.Errorf("the image took %d bytes and takes %d: fstrim has freed no tree", before, after)
	}
}

// zeroes writes something, and makes it zeroes again with WRITE ZEROES.
func (g *guest) zeroes(t *testing.T, d device) {
	g.sh(t, "dd if=/usr/sbin/xfs_repair of=%s bs=64k count=8 conv=fsync 2>/dev/null", d.path)
	g.sh(t, "blkdiscard -z -f -l 512k %s; echo 3 >/proc/sys/vm/drop_caches; dd if=%s bs=64k count=8 2>/dev/null | tr -d '\\0' | wc -c | grep -qx 0", d.path, d.path)
}

// sizes requires the kernel to know what the device is.
func (g *guest) sizes(t *testing.T, d device) {
	t.Helper()
	if n := g.number(t, "blockdev --getsize64 %s", d.path); n != d.size {
		t.Errorf("%s has %d bytes, want %d", d.path, n, d.size)
	}
	if n := g.number(t, "blockdev --getss %s", d.path); n != int64(d.block) {
		t.Errorf("%s has blocks of %d bytes, want %d", d.path, n, d.block)
	}
}
