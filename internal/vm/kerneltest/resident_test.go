package kerneltest

import (
	"bytes"
	"context"
	"fmt"
	"os"
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
	t.Run("written back", g.writtenBack)
	t.Run("hurry", g.hurry)
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

// writtenBack: what a program has written to the device without a sync is at the
// server when the device is detached. The kernel sees to that when the device is
// closed for the last time, and somebody has it open here: our own program, as the
// older interface wants it, or another one.
func (g *guest) writtenBack(t *testing.T) {
	for _, tc := range []struct {
		name string
		run  func(t *testing.T, uri, write string)
	}{
		{"SIGTERM, ioctl", func(t *testing.T, uri, write string) {
			g.attachResident(t, "--ioctl", uri) // and its end
			g.sh(t, "%s", write)
		}},
		{"detach, ioctl", func(t *testing.T, uri, write string) {
			p, err := g.Start(vm.Command{Args: []string{"fileio_tgt", "attach", "--ioctl", uri, "/dev/nbd0"}})
			if err != nil {
				t.Fatal(err)
			}
			g.until(t, "the device is attached", func() bool { return strings.Contains(p.Stdout(), "is attached") })
			g.sh(t, "%s; fileio_tgt detach /dev/nbd0", write)
			ctx, cancel := context.WithTimeout(t.Context(), within)
			defer cancel()
			if _, err := p.Wait(ctx); err != nil {
				t.Error(err)
			}
		}},
		{"detach, netlink, open elsewhere", func(t *testing.T, uri, write string) {
			g.sh(t, "fileio_tgt attach '%s' /dev/nbd0; exec 3</dev/nbd0; %s; fileio_tgt detach /dev/nbd0", uri, write)
		}},
	} {
		const size = 8 << 20
		img := image(t, size)
		s := serve(t, proc.Config{Files: []string{img}})
		t.Run(tc.name, func(t *testing.T) { tc.run(t, uri(t, s, img), fmt.Sprintf("yes | head -c %d >/dev/nbd0", size)) })
		got, err := os.ReadFile(img)
		if err != nil {
			t.Fatal(err)
		}
		if want := bytes.Repeat([]byte("y\n"), size/2); !bytes.Equal(got, want) {
			same := 0
			for same < len(got) && got[same] == want[same] {
				same++
			}
			t.Errorf("%s: of %d bytes the server has the first %d", tc.name, size, same)
		}
	}
}

// hurry: a server that hangs keeps nobody from detaching the device, who is told what
// that costs.
func (g *guest) hurry(t *testing.T) {
	const size = 32 << 20 // more than there is room for on the way
	img := image(t, size)
	s := serve(t, proc.Config{Files: []string{img}})
	p, err := g.Start(vm.Command{Args: []string{"fileio_tgt", "attach", "--ioctl", uri(t, s, img), "/dev/nbd0"}})
	if err != nil {
		t.Fatal(err)
	}
	g.until(t, "the device is attached", func() bool { return strings.Contains(p.Stdout(), "is attached") })
	g.sh(t, "cat /dev/nbd0 >/dev/null") // or a short write would have to read
	signal := func(sig syscall.Signal) {
		t.Helper()
		if err := p.Signal(t.Context(), sig); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.Signal(syscall.SIGCONT); err != nil {
			t.Error(err)
		}
	}()
	g.sh(t, "yes | head -c %d >/dev/nbd0", size)
	signal(syscall.SIGTERM)
	g.until(t, "people are told what takes time", func() bool { return strings.Contains(p.Stderr(), "is being sent") })
	select {
	case <-p.Done():
		t.Errorf("it did not wait for the server: %s", p.Stderr())
	default:
	}
	signal(syscall.SIGTERM)
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if _, err := p.Wait(ctx); err == nil || !strings.Contains(p.Stderr(), "what was written to it last may be lost") {
		t.Errorf("%v: %s", err, p.Stderr())
	}
	g.sh(t, "test ! -e /sys/block/nbd0/pid")
}
