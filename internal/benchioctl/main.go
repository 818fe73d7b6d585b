// Command benchioctl measures what a command costs that a handler in a process
// of its own, in C or in Go, carries out through the node: 4 KiB reads at several
// depths, beside the bare round trip of an ioctl, in the same run. It needs root, /dev/fuse and
// a C compiler, and is run by "make bench-ioctl".
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/ioctl/fusenode"
	"scstuser/ioctl/node"
	"scstuser/target"
	"scstuser/ucmd"
)

func main() {
	becomeHandler()
	seconds := flag.Int("seconds", 2, "how long each row takes")
	flag.Parse()
	if err := run(os.Stdout, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "benchioctl:", err)
		os.Exit(1)
	}
}

// rig is a mount with a handler.
type rig struct {
	dir     string
	mounted *fusenode.Mounted
	host    *node.Host
	program string
}

// run measures, and prints the table.
func run(w io.Writer, each time.Duration) (err error) {
	dir, err := os.MkdirTemp("", "benchioctl")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	log := logrus.New()
	log.SetOutput(io.Discard)
	r := &rig{dir: filepath.Join(dir, "m"), program: filepath.Join(dir, "handler")}
	if out, err := exec.Command("cc", "-O2", "-Iioctl/abi", "-o", r.program, "internal/benchioctl/testdata/handler.c").CombinedOutput(); err != nil {
		return fmt.Errorf("compile the handler: %w: %s", err, out)
	}
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return err
	}
	r.host = node.New(node.Options{Log: log})
	if r.mounted, err = fusenode.Mount(fusenode.Options{Dir: r.dir, Host: r.host, Log: log}); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		err = errors.Join(err, r.host.Close(ctx), r.mounted.Close(ctx))
	}()
	bare, err := r.roundTrip(each)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "bare round trip of an ioctl: %v\n\n", bare)
	fmt.Fprintf(w, "%-7s %-6s %12s %14s %15s %15s %12s\n", "handler", "depth", "commands/s", "per command", "of a round trip", "cmds per ioctl", "host syscalls")
	for _, h := range []handler{{"C", r.cHandler}, {"Go", goHandler}} {
		for _, depth := range []int{1, 16, 64} {
			if err := r.row(w, h, depth, each, bare); err != nil {
				return err
			}
		}
	}
	return nil
}

// handler is a program that is measured; start makes the command that runs it at
// a node.
type handler struct {
	name  string
	start func(node string) (*exec.Cmd, error)
}

// cHandler is the handler in C.
func (r *rig) cHandler(node string) (*exec.Cmd, error) {
	return exec.Command(r.program, node, "serve", strconv.Itoa(batch)), nil
}

// roundTrip is how long the smallest ioctl takes.
func (r *rig) roundTrip(each time.Duration) (time.Duration, error) {
	out, err := exec.Command(r.program, r.mounted.NodePath(), "roundtrip", strconv.Itoa(int(each.Seconds()))).Output()
	if err != nil {
		return 0, fmt.Errorf("round trip: %w", err)
	}
	ns, err := strconv.Atoi(strings.TrimSpace(string(out)))
	return time.Duration(ns), err
}

// row measures one depth with a handler of its own.
func (r *rig) row(w io.Writer, h handler, depth int, each, bare time.Duration) error {
	handler, err := h.start(r.mounted.NodePath())
	if err != nil {
		return err
	}
	handler.Stderr = os.Stderr
	if err := handler.Start(); err != nil {
		return err
	}
	defer func() {
		_ = handler.Process.Kill()
		_ = handler.Wait()
		for len(r.host.Devices()) > 0 {
			time.Sleep(time.Millisecond)
		}
	}()
	dev, err := r.device("bench")
	if err != nil {
		return err
	}
	load := newLoad(depth)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if load.sess, err = dev.Target().NewSession(ctx, load, target.SessionInfo{Initiator: "bench", Target: "bench"}); err != nil {
		return err
	}
	load.start()
	time.Sleep(each / 10) // until buffers are there
	ioctls, copies := r.mounted.Counters()
	before, t0 := load.done.Load(), time.Now()
	time.Sleep(each)
	n, took := load.done.Load()-before, time.Since(t0)
	ioctls2, copies2 := r.mounted.Counters()
	load.stop()
	if n == 0 || load.failed.Load() > 0 {
		return fmt.Errorf("depth %d: %d commands ended, %d of all failed", depth, n, load.failed.Load())
	}
	calls := float64(ioctls2 - ioctls)
	per := took / time.Duration(n)
	// Each ioctl is a read and a write of /dev/fuse besides the copies.
	fmt.Fprintf(w, "%-7s %-6d %12.0f %14v %15.2f %15.1f %12.2f\n", h.name, depth, float64(n)/took.Seconds(), per.Round(10*time.Nanosecond),
		float64(per)/float64(bare), float64(n)/calls, (2*calls+float64(copies2-copies))/float64(n))
	return nil
}

// device waits for a device.
func (r *rig) device(name string) (*ucmd.Device, error) {
	for range 5000 {
		for _, d := range r.host.Devices() {
			if d.Desc().Name == name {
				return d, nil
			}
		}
		time.Sleep(time.Millisecond)
	}
	return nil, fmt.Errorf("the handler did not register %s", name)
}
