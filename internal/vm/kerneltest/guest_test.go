package kerneltest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"scstuser/internal/status"
	"scstuser/internal/vm"
)

// daemon starts a program that stays, in the guest, and waits until it has
// printed ready. It has to end well when it gets SIGTERM.
func (g *guest) daemon(t *testing.T, ready, commandLine string, args ...any) *vm.Process {
	t.Helper()
	p, err := g.Start(vm.Command{Args: []string{"sh", "-c", "exec " + fmt.Sprintf(commandLine, args...)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		if err := p.Signal(ctx, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		} else if t.Failed() {
			t.Logf("%s printed:\n%s%s", commandLine, p.Stdout(), p.Stderr())
		}
	})
	g.until(t, fmt.Sprintf("%q", ready), func() bool {
		select {
		case <-p.Done():
			t.Fatalf("it has ended: %s%s", p.Stdout(), p.Stderr())
		default:
		}
		return strings.Contains(p.Stdout(), ready)
	})
	return p
}

// guestImage makes a sparse image in the guest's memory.
func (g *guest) guestImage(t *testing.T, size int64, block int) (string, device) {
	t.Helper()
	const path = "/tmp/image"
	g.sh(t, "truncate -s %d %s", size, path)
	t.Cleanup(func() { g.cleanUp(t, "rm "+path) })
	return path, device{path: "/dev/nbd0", size: size, block: block, allocated: func(t *testing.T) int64 {
		return 512 * g.number(t, "stat -c %%b %s", path)
	}}
}

// cleanUp runs a script at the end of a test.
func (g *guest) cleanUp(t *testing.T, script string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	if _, err := g.Run(ctx, vm.Command{Args: []string{"sh", "-euc", script}}); err != nil {
		t.Error(err)
	}
}

// guestServer is server and client on one machine.
func (g *guest) guestServer(t *testing.T) {
	t.Run("ext4, blocks of 4096, unix socket", func(t *testing.T) {
		img, d := g.guestImage(t, diskSize, 4096)
		g.daemon(t, "stop with", "fileio_tgt -b 4096 --control /tmp/control --listen unix:/tmp/nbd -f %s", img)
		g.attach(t, "nbd+unix:///image?socket=/tmp/nbd", "--connections 4")
		g.sizes(t, d)
		g.fileSystem(t, d, ext4, 4)
		t.Run("TRIM and FLUSH arrive", func(t *testing.T) {
			good := g.goodCommands(t, "/tmp/control")
			if good["UNMAP"] == 0 || good["SYNCHRONIZE CACHE(16)"] == 0 {
				t.Errorf("%v", good)
			}
		})
		t.Run("blkdiscard -z", func(t *testing.T) {
			before := g.goodCommands(t, "/tmp/control")
			g.zeroes(t, d)
			after := g.goodCommands(t, "/tmp/control")
			// Which of the two is the kernel's business: 6.1 writes.
			wrote, zeroed := after["WRITE(16)"]-before["WRITE(16)"], after["WRITE SAME(16)"]-before["WRITE SAME(16)"]
			t.Logf("data and zeroes of 512 KiB each came as %d WRITE and %d WRITE_ZEROES", wrote, zeroed)
			if wrote+zeroed < 2 {
				t.Errorf("%v, and before %v", after, before)
			}
		})
	})
	t.Run("xfs, blocks of 512, --attach", func(t *testing.T) {
		img, d := g.guestImage(t, diskSize, 512)
		g.daemon(t, "stop with", "fileio_tgt --attach /dev/nbd0 --listen unix:/tmp/nbd -f %s", img)
		t.Cleanup(func() { g.cleanUp(t, "! grep -q ' /mnt ' /proc/mounts || umount /mnt") })
		g.until(t, "the device is attached", func() bool { return g.number(t, "cat /sys/block/nbd0/size") > 0 })
		g.sizes(t, d)
		g.fileSystem(t, d, xfs, 5)
	})
	g.sh(t, "test ! -e /sys/block/nbd0/pid") // --attach has detached it
}

// goodCommands asks a server in the guest how many commands went well, by name.
func (g *guest) goodCommands(t *testing.T, control string) map[string]uint64 {
	t.Helper()
	var s status.Snapshot
	if err := json.Unmarshal([]byte(g.sh(t, "fileio_tgt status --json %s", control)), &s); err != nil {
		t.Fatal(err)
	}
	good := make(map[string]uint64)
	for _, c := range s.Devices[0].Counters.Commands {
		if c.Result == "GOOD" {
			good[c.Name] += c.Count
		}
	}
	return good
}
