package powercut

import (
	"flag"
	"math/rand/v2"
	"testing"

	"scstuser/internal/vm"
)

var cuts = flag.Int("powercut.cuts", 5, "how often TestI6PowerCuts cuts a virtual machine's power")

// No acknowledged durable write is lost by a power cut (I6). The server runs in a
// virtual machine, on disks with a volatile cache; the client is outside. Each
// cut is of three servers, in turn in all modes. In the end it is shown that a
// server which leaves out the flushes is found out.
func TestI6PowerCuts(t *testing.T) {
	vm.Need(t)
	rng := rand.New(rand.NewPCG(newSeed(t), 2))
	b := newRig(t, rng)
	defer func() { t.Logf("until then:\n%s", b.table()) }()
	b.boot(t, "mkfs.ext4", "mkfs.xfs")
	b.format(t)
	var before []mode
	for i := range *cuts {
		if i > 0 {
			b.boot(t)
			b.mount(t)
		}
		blockSize := []int{512, 512, 4096}[rng.IntN(3)]
		b.serve(t, func(place int) mode { return modes[(i+place)%len(modes)] }, blockSize)
		if lost := b.check(t, before); lost > 0 {
			t.Fatalf("cut %d: %d sectors lost", i, lost)
		}
		b.writeBack(t, []int{5, 100, 3000}[rng.IntN(3)])
		b.loadAndCut(t, b.loads(blockSize))
		before = b.running
	}
	b.boot(t, "e2fsck", "xfs_repair")
	b.mount(t)
	b.serve(t, func(int) mode { return modes[0] }, 512)
	if lost := b.check(t, before); lost > 0 {
		t.Fatalf("cut %d: %d sectors lost", *cuts, lost)
	}
	b.fsck(t)

	t.Run("nv_cache loses writes", func(t *testing.T) {
		careless := mode{name: "--nv_cache", options: []string{"--nv_cache"}}
		b.mount(t)
		b.serve(t, func(int) mode { return careless }, 512)
		if lost := b.check(t, nil); lost > 0 {
			t.Fatalf("%d sectors lost by an orderly end of the servers", lost)
		}
		// The cut comes long before the kernel would write by itself.
		b.writeBack(t, 3000)
		loads := b.loads(512)
		for i := range loads {
			loads[i].Mix = fuaOnly
		}
		b.loadAndCut(t, loads)
		b.boot(t)
		b.mount(t)
		b.serve(t, func(int) mode { return modes[0] }, 512)
		if lost := b.check(t, []mode{careless, careless, careless}); lost == 0 {
			t.Error("nothing was flushed and nothing lost: the test shows nothing")
		}
	})
}
