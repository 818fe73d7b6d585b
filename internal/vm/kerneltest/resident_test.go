package kerneltest

import (
	"context"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/proc"
	"scstuser/internal/vm"
)

// within is how long a step that waits for something may take.
const within = time.Minute

// attachResident attaches /dev/nbd0 with a program that stays. It has to detach
// the device and end well when it gets SIGTERM.
func (g *guest) attachResident(t *testing.T, options ...string) *vm.Process {
	t.Helper()
	args := append([]string{"fileio_tgt", "attach"}, append(options, "/dev/nbd0")...)
	p, err := g.Start(vm.Command{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), within)
		defer cancel()
		if t.Failed() {
			t.Logf("attach printed:\n%s%s", p.Stdout(), p.Stderr())
		}
		if _, err := g.Run(ctx, vm.Command{Args: []string{"sh", "-c", "! grep -q ' /mnt ' /proc/mounts || umount /mnt"}}); err != nil {
			t.Error(err)
		}
		if err := p.Signal(ctx, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		if _, err := p.Wait(ctx); err != nil {
			t.Error(err)
		}
		if _, err := g.Run(ctx, vm.Command{Args: []string{"test", "!", "-e", "/sys/block/nbd0/pid"}}); err != nil {
			t.Errorf("the device is still attached: %v", err)
		}
	})
	g.until(t, "the device is attached", func() bool {
		select {
		case <-p.Done():
			t.Fatalf("attach has ended: %s%s", p.Stdout(), p.Stderr())
		default:
		}
		return strings.Contains(p.Stdout(), "is attached")
	})
	return p
}

// until waits for something to become true.
func (g *guest) until(t *testing.T, what string, true func() bool) {
	t.Helper()
	for end := time.Now().Add(within); !true(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", within, what)
		}
	}
}

// reconnect: the server goes away and comes again, in order and by SIGKILL, with
// a file system mounted under load. It survives, with all that is in it.
func (g *guest) reconnect(t *testing.T) {
	img := image(t, diskSize)
	s := start(t, proc.Config{Files: []string{img}})
	listen := []proc.Endpoint{s.Endpoint(0)}
	g.attachResident(t, "--reconnect", "60s", "--timeout", "3s", "--connections", "2", uri(t, s, img))
	g.sh(t, "mkfs.ext4 -q /dev/nbd0; mount -t ext4 /dev/nbd0 /mnt")
	for seed, end := range []func(*proc.Server) error{
		func(s *proc.Server) error { return s.Stop(stopTimeout) },
		func(s *proc.Server) error { s.Kill(); return nil },
	} {
		dir := fmt.Sprintf("/mnt/load%d", seed)
		g.sh(t, "mkdir %s", dir)
		load, err := g.Start(vm.Command{Args: []string{"fscheck", "-dir", dir, "-seed", fmt.Sprint(seed), "-ops", "300"}})
		if err != nil {
			t.Fatal(err)
		}
		g.until(t, "the load is under way", func() bool { return g.number(t, "find %s -type f | wc -l", dir) > 3 })
		if err := end(s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second) // the load stands still
		select {
		case <-load.Done():
			t.Errorf("the load has ended without a server: %s%s", load.Stdout(), load.Stderr())
		default:
		}
		s = start(t, proc.Config{Files: []string{img}, Listen: listen})
		ctx, cancel := context.WithTimeout(t.Context(), 2*within)
		if _, err := load.Wait(ctx); err != nil {
			t.Error(err)
		}
		cancel()
	}
	g.sh(t, "umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount -t ext4 /dev/nbd0 /mnt; "+
		"fscheck -verify -dir /mnt/load0 -seed 0 -ops 300; fscheck -verify -dir /mnt/load1 -seed 1 -ops 300; umount /mnt; e2fsck -f -n /dev/nbd0")
}

// ioctlWay is the kernel's older interface.
func (g *guest) ioctlWay(t *testing.T) {
	img := image(t, diskSize)
	s := serve(t, proc.Config{Files: []string{img}})
	where := uri(t, s, img)
	g.attachResident(t, "--ioctl", "--connections", "4", where)
	d := device{path: "/dev/nbd0", size: diskSize, block: 512, allocated: func(t *testing.T) int64 { return allocatedBytes(t, img) }}
	t.Run("size", func(t *testing.T) { g.sizes(t, d) })
	g.fileSystem(t, d, ext4, 3)
	t.Run("in use", func(t *testing.T) {
		for _, options := range []string{"--ioctl", ""} {
			g.sh(t, "! fileio_tgt attach %s '%s' /dev/nbd0 2>/tmp/err; grep -q 'is attached already' /tmp/err || { cat /tmp/err; exit 1; }", options, where)
		}
		g.sizes(t, d) // still
		g.sh(t, "! fileio_tgt attach --resize '%s' /dev/nbd0 2>/tmp/err; grep -q 'not by netlink' /tmp/err || { cat /tmp/err; exit 1; }", where)
	})
}
