package client

import (
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"

	"scstuser/internal/nodehost"
	"scstuser/internal/proc"
	"scstuser/ucmd"
)

// serveMounted is serveDisk at a mounted node.
func serveMounted(t testing.TB, path, image string, c handlerConfig) *handlerRig {
	t.Helper()
	return serveDisk(t, image, c, func(desc ucmd.Desc, o Options) (*Device, error) { return Open(path, desc, o) })
}

// The client at a node on a real mount, in all its shapes, with clients that
// check every byte; every buffer comes back and no command is left.
func TestMountedVerify(t *testing.T) {
	none := func(o *ucmd.Opt) { o.OnFree, o.Reuse = uint8(ucmd.OnFreeCall), uint8(ucmd.ReuseNone) }
	for _, c := range []handlerConfig{
		{1, 1, nil, false}, {4, 8, nil, false}, {16, 64, nil, false}, {4, 32, nil, true}, {4, 8, none, false},
	} {
		name := fmt.Sprintf("threads %d, multi %d, non-blocking %v, reuse %v", c.threads, c.multi, c.nonBlocking, c.opt == nil)
		t.Run(name, func(t *testing.T) {
			host := nodehost.Start(t)
			h := serveMounted(t, host.Node, image(t), c)
			host.WaitExport("disk1")
			host.FioVerify(t, "disk1", "--rw=randwrite", "--iodepth=16", "--size=24m", "--bssplit=4k/60:12k/20:64k/20", "--blockalign=4k")
			h.settle()
			h.leave()
			host.WaitGone("disk1")
		})
	}
}

// Registering again and again, from a process that serves under load.
func TestMountedComesAndGoes(t *testing.T) {
	host := nodehost.Start(t)
	path := image(t)
	for range 5 {
		h := serveMounted(t, host.Node, path, handlerConfig{threads: 4, multi: 16})
		host.WaitExport("disk1")
		ended := []<-chan time.Time{host.Load(t, "disk1"), host.Load(t, "disk1")}
		time.Sleep(20 * time.Millisecond)
		h.leave()
		for _, e := range ended {
			select {
			case <-e:
			case <-time.After(patience):
				t.Fatal("a request was not answered")
			}
		}
		host.WaitGone("disk1")
	}
}

// The host dies, and is started again: the handler learns it at once, blocked or
// polling, and can register anew.
func TestMountedHostKilled(t *testing.T) {
	for _, nonBlocking := range []bool{false, true} {
		t.Run(fmt.Sprintf("non-blocking %v", nonBlocking), func(t *testing.T) {
			host := nodehost.Start(t)
			path := image(t)
			for range 3 {
				h := serveMounted(t, host.Node, path, handlerConfig{threads: 4, multi: 16, nonBlocking: nonBlocking})
				host.WaitExport("disk1")
				host.Kill()
				select {
				case err := <-h.served:
					if !errors.Is(err, ErrGone) {
						t.Errorf("Serve: %v, want ErrGone", err)
					}
					h.served <- nil
				case <-time.After(patience):
					t.Fatal("the handler did not notice")
				}
				h.leave()
				host.Restart()
			}
		})
	}
}

// Non-blocking handlers that wait cost less than 5 % of a processor, here and at
// the host.
func TestR10MountedIdleCost(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector costs more than what is measured")
	}
	host := nodehost.Start(t)
	h := serveMounted(t, host.Node, image(t), handlerConfig{threads: 7, multi: 16, nonBlocking: true})
	host.WaitExport("disk1")
	time.Sleep(100 * time.Millisecond)
	cpu := func() (d time.Duration) {
		var self syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
			t.Fatal(err)
		}
		u, err := proc.ReadUsage(host.Pid())
		if err != nil {
			t.Fatal(err)
		}
		return time.Duration(self.Utime.Nano()+self.Stime.Nano()) + u.CPU
	}
	// Other programs may be at work here, which makes everything dearer: one
	// good span out of three is enough.
	const span = time.Second
	for try := 1; ; try++ {
		before := cpu()
		time.Sleep(span)
		used := cpu() - before
		t.Logf("%.1f %% of a processor", 100*used.Seconds()/span.Seconds())
		if used <= span/20 {
			break
		}
		if try == 3 {
			t.Errorf("idle handlers and their host used %v in %v", used, span)
			break
		}
	}
	h.leave()
}
