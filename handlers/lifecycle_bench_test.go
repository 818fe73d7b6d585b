package handlers_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// BenchmarkLifecycle is a command from parse to on-free with nothing behind it:
// handlers/disk over nullio in this process, inline, all buffers reused. Its
// sub-benchmarks name the command, how many goroutines submit, and how many
// devices they have: they divide them, each goes round its own; one device is
// for all, on a session each. ns/op is the wall time per command of all,
// cpu-ns/op what the process used for it: where others use the machine too only
// the latter can be relied on. "make bench-lifecycle" prints it as tables.
func BenchmarkLifecycle(b *testing.B) {
	for _, devices := range []int{1, 10, 1000} {
		x := newLifecycle(b, devices)
		for _, cmd := range benchCommands {
			for _, goroutines := range []int{1, 2, 4} {
				b.Run(fmt.Sprintf("%s/goroutines=%d/devices=%d", cmd.name, goroutines, devices), func(b *testing.B) {
					x.run(b, cmd.cdb, goroutines)
				})
			}
		}
		x.close()
	}
}

// lifecycle is the devices of a benchmark and those who use them.
type lifecycle struct {
	b       *testing.B
	arena   *arena.Arena
	devices []*ucmd.Device
	users   [4]*lifecycleUser
	serving sync.WaitGroup
	stop    context.CancelFunc
}

func newLifecycle(b *testing.B, devices int) *lifecycle {
	ctx, stop := context.WithCancel(context.Background())
	x := &lifecycle{b: b, arena: arena.New(arena.Options{}), stop: stop}
	reg := ucmd.NewRegistry(ucmd.Limits{})
	for i := range devices {
		dev, err := reg.Register(ucmd.Desc{
			Name: fmt.Sprint("disk", i), Type: ucmd.TypeDisk, BlockSize: 512,
			Opt: ucmd.Opt{OnFree: uint8(ucmd.OnFreeIgnore), Reuse: uint8(ucmd.ReuseAll), TST: 1, QueueAlg: 1},
		}, handlers.Memory{Arena: x.arena}, nil)
		if err != nil {
			b.Fatal(err)
		}
		x.devices = append(x.devices, dev)
		h := newDisk(b) // one each: what they share would be measured
		x.serving.Go(func() {
			if err := handlers.Serve(ctx, dev, h, handlers.Options{Arena: x.arena, Inline: true}); err != nil {
				b.Error(err)
			}
		})
	}
	for i := range x.users {
		u := &lifecycleUser{number: i, wake: make(chan struct{}, 1)}
		for _, dev := range x.devices {
			s, err := dev.Target().NewSession(ctx, u, target.SessionInfo{Initiator: "i", Target: "t"})
			if err != nil {
				b.Fatal(err)
			}
			u.sessions = append(u.sessions, s)
		}
		x.users[i] = u
	}
	return x
}

// run submits b.N commands from so many goroutines.
func (x *lifecycle) run(b *testing.B, cdb scsi.CDB, goroutines int) {
	for _, u := range x.users[:goroutines] {
		u.submit(cdb, len(x.devices), goroutines) // brings the buffers
	}
	b.ReportAllocs()
	before := cpuTime(b)
	b.ResetTimer()
	var all sync.WaitGroup
	for i, u := range x.users[:goroutines] {
		n := (b.N + i) / goroutines
		all.Go(func() { u.submit(cdb, n, goroutines) })
	}
	all.Wait()
	b.StopTimer()
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
	for _, u := range x.users[:goroutines] {
		if u.failed > 0 {
			b.Fatalf("%d commands failed", u.failed)
		}
	}
}

// cpuTime is what the process has used, in nanoseconds.
func cpuTime(b *testing.B) int64 {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return u.Utime.Nano() + u.Stime.Nano()
}

// close ends the devices and checks that they give everything back.
func (x *lifecycle) close() {
	for _, dev := range x.devices {
		if err := dev.FlushCache(); err != nil {
			x.b.Error(err)
		}
	}
	x.stop()
	x.serving.Wait()
	for _, dev := range x.devices {
		if err := dev.Close(context.Background()); err != nil {
			x.b.Error(err)
		}
	}
}

// lifecycleUser is an initiator with one command under way.
type lifecycleUser struct {
	quickFront
	sessions []*target.Session
	number   int // among the users
	failed   int
	cmd      target.Cmd
	// over is 0 while the command is under way, 1 when it is over, 2 when the
	// user waits on wake: another one's goroutine has the command.
	over atomic.Int32
	wake chan struct{}
}

// submit runs n commands, one after the other, on every users-th session.
func (u *lifecycleUser) submit(cdb scsi.CDB, n, users int) {
	first := u.number % min(users, len(u.sessions))
	at := first
	for range n {
		u.over.Store(0)
		u.cmd.Init(cdb.Slice(), scsi.QueueSimple)
		u.sessions[at].Submit(&u.cmd)
		if u.over.CompareAndSwap(0, 2) {
			<-u.wake
		}
		if u.cmd.Status != scsi.Good {
			u.failed++
		}
		if at += users; at >= len(u.sessions) {
			at = first
		}
	}
}

// Freed implements target.Frontend.
func (u *lifecycleUser) Freed(*target.Cmd) {
	if !u.over.CompareAndSwap(0, 1) {
		u.wake <- struct{}{}
	}
}
