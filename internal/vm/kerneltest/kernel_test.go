package kerneltest

import (
	"testing"

	"scstuser/internal/vm"
)

// TestKernel boots the guest and takes all steps in it.
func TestKernel(t *testing.T) {
	vm.Need(t)
	handler := cHandler(t)
	g := &guest{Machine: vm.Boot(t, vm.Config{
		Memory:   1536,
		Packages: []string{"scstuser/cli/fileio_tgt", "scstuser/internal/vm/fscheck"},
		Modules:  []string{"nbd", "ext4", "xfs", "fuse", "loop"},
		Files:    []vm.File{{Path: "/usr/local/bin/ram_handler", Source: handler}},
		Tools: []string{
			"mkfs.ext4", "e2fsck", "resize2fs", "mkfs.xfs", "xfs_repair", "blkdiscard", "fstrim", "losetup", "blockdev",
		},
	})}
	t.Run("server on the host", g.hostServer)
	t.Run("server in the guest", g.guestServer)
	t.Run("reconnect", g.reconnect)
	t.Run("ioctl", g.ioctlWay)
	t.Run("TLS", g.tlsRelay)
	t.Run("FUSE", g.fuse)
}
