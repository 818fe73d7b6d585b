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
	g.awaitAttached(t, p)
	return p
}

// awaitAttached waits until a program that stays has attached its device.
func (g *guest) awaitAttached(t *testing.T, p *vm.Process) {
	t.Helper()
	g.until(t, "the device is attached", func() bool {
		select {
		case <-p.Done():
			t.Fatalf("attach has ended: %s%s", p.Stdout(), p.Stderr())
		default:
		}
		return strings.Contains(p.Stdout(), "is attached")
	})
}

// attachIoctl attaches /dev/nbd0 by ioctls, with a program whose end the test awaits.
func (g *guest) attachIoctl(t *testing.T, options ...string) *vm.Process {
	t.Helper()
	args := append([]string{"fileio_tgt", "attach", "--ioctl"}, append(options, "/dev/nbd0")...)
	p, err := g.Start(vm.Command{Args: args})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.detach(t) })
	g.awaitAttached(t, p)
	return p
}

// ends waits for the end of a program, which has to say this if it is not "", and
// then fails.
func (g *guest) ends(t *testing.T, p *vm.Process, says string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	if _, err := p.Wait(ctx); (err == nil) != (says == "") || !strings.Contains(p.Stderr(), says) {
		t.Errorf("%v: %s", err, p.Stderr())
	}
	g.sh(t, "test ! -e /sys/block/nbd0/pid")
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
	t.Run("can't be written back", g.unwritten)
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
			p := g.attachIoctl(t, uri)
			g.sh(t, "%s; fileio_tgt detach /dev/nbd0", write)
			g.ends(t, p, "")
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

// unwritten: what was written can't be sent, because the server hangs or is gone.
// Nobody is kept from detaching the device, or not told what that costs.
func (g *guest) unwritten(t *testing.T) {
	const lost = "what was written to it last may be lost"
	sent := func(t *testing.T, p *vm.Process, sig syscall.Signal) {
		t.Helper()
		if err := p.Signal(t.Context(), sig); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct {
		name    string
		options []string
		server  syscall.Signal // what becomes of the server before anything is written
		// write leaves more than there is room for on the way.
		write string
		end   func(t *testing.T, s *proc.Server, p *vm.Process)
	}{
		{"the server hangs, two signals", nil, syscall.SIGSTOP, "yes | head -c 32m >/dev/nbd0", func(t *testing.T, _ *proc.Server, p *vm.Process) {
			sent(t, p, syscall.SIGTERM)
			g.until(t, "people are told what takes time", func() bool { return strings.Contains(p.Stderr(), "is being sent") })
			select {
			case <-p.Done():
				t.Errorf("it did not wait for the server: %s", p.Stderr())
			default:
			}
			sent(t, p, syscall.SIGTERM)
			g.ends(t, p, lost)
		}},
		{"the server hangs, for too long", []string{"--write_back_timeout", "1s"}, syscall.SIGSTOP, "yes | head -c 32m >/dev/nbd0",
			func(t *testing.T, _ *proc.Server, p *vm.Process) {
				sent(t, p, syscall.SIGTERM)
				g.ends(t, p, lost)
			}},
		{"the server hangs, and nobody waits", []string{"--write_back_timeout", "0"}, syscall.SIGSTOP,
			"(yes | dd of=/dev/nbd0 bs=64k count=512 iflag=fullblock conv=fsync >/dev/null 2>&1 || :) & " +
				"while set -- $(cat /sys/block/nbd0/inflight); test $2 = 0; do sleep 0.1; done",
			func(t *testing.T, _ *proc.Server, p *vm.Process) {
				sent(t, p, syscall.SIGTERM)
				g.ends(t, p, "")
			}},
		{"the server dies", nil, 0, "yes | head -c 4m >/dev/nbd0", func(t *testing.T, s *proc.Server, p *vm.Process) {
			s.Kill()
			g.ends(t, p, lost)
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			img := image(t, 32<<20)
			s := start(t, proc.Config{Files: []string{img}})
			p := g.attachIoctl(t, append(tc.options, uri(t, s, img))...)
			g.sh(t, "cat /dev/nbd0 >/dev/null") // or a short write would have to read
			if tc.server != 0 {
				if err := s.Signal(tc.server); err != nil {
					t.Fatal(err)
				}
				defer s.Kill() // or the kernel might wait for it
			}
			g.sh(t, "%s", tc.write)
			tc.end(t, s, p)
		})
	}
}
