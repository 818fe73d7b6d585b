package kerneltest

import (
	"fmt"
	"testing"

	"scstuser/internal/proc"
)

const diskSize = 384 << 20

// hostServer is the kernel's client with the server on this host.
func (g *guest) hostServer(t *testing.T) {
	for i, tc := range []struct {
		fs      fsSteps
		block   int
		options string
	}{
		{ext4, 512, "--connections 4"},
		{xfs, 4096, "--connections 4"},
	} {
		t.Run(fmt.Sprintf("%s, blocks of %d", tc.fs.name, tc.block), func(t *testing.T) {
			img := image(t, diskSize)
			s := serve(t, proc.Config{Files: []string{img}, Block: tc.block})
			g.attach(t, uri(t, s, img), tc.options)
			d := device{path: "/dev/nbd0", size: diskSize, block: tc.block, allocated: func(t *testing.T) int64 { return allocatedBytes(t, img) }}
			t.Run("size", func(t *testing.T) { g.sizes(t, d) })
			g.fileSystem(t, d, tc.fs, uint64(i))
			t.Run("blkdiscard -z", func(t *testing.T) { g.zeroes(t, d) })
		})
	}
}
