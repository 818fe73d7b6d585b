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

// reconnect: the server goes away and comes again, with a file system mounted
// under load. It survives, with all that is in it.
func (g *guest) reconnect(t *testing.T) {
	t.Run("SIGTERM, 1 connection", func(t *testing.T) {
		g.restart(t, 1, func(s *proc.Server) error { return s.Stop(stopTimeout) })
	})
	t.Run("SIGKILL, 2 connections", func(t *testing.T) {
		g.restart(t, 2, func(s *proc.Server) error { s.Kill(); return nil })
	})
}

// restart ends the server under load, and starts it again a second later.
func (g *guest) restart(t *testing.T, connections int, end func(*proc.Server) error) {
	const ops = 300
	img := image(t, diskSize)
	s := start(t, proc.Config{Files: []string{img}})
	g.attachResident(t, "--reconnect", "60s", "--timeout", "3s", "--connections", fmt.Sprint(connections), uri(t, s, img))
	g.sh(t, "mkfs.ext4 -q /dev/nbd0; mount -t ext4 /dev/nbd0 /mnt; mkdir /mnt/load")
	args := []string{"-dir", "/mnt/load", "-seed", fmt.Sprint(connections), "-ops", fmt.Sprint(ops)}
	load, err := g.Start(vm.Command{Args: append([]string{"fscheck"}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	g.until(t, "the load is under way", func() bool { return g.number(t, "find /mnt/load -type f | wc -l") > 3 })
	if err := end(s); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second) // the load stands still
	select {
	case <-load.Done():
		t.Errorf("the load has ended without a server: %s%s", load.Stdout(), load.Stderr())
	default:
	}
	start(t, proc.Config{Files: []string{img}, Listen: []proc.Endpoint{s.Endpoint(0)}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*within)
	defer cancel()
	if _, err := load.Wait(ctx); err != nil {
		t.Fatal(err)
	}
	g.sh(t, "umount /mnt; echo 3 >/proc/sys/vm/drop_caches; mount -t ext4 /dev/nbd0 /mnt; fscheck -verify %s; umount /mnt; e2fsck -f -n /dev/nbd0",
		strings.Join(args, " "))
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
