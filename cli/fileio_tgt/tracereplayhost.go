package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/ioctl/fusenode"
	"scstuser/ioctl/node"
	"scstuser/ioctl/replay"
	"scstuser/ioctl/trace"
	"scstuser/ucmd"
)

// errHandlerDiffers is trace replay --as host's exit status 1; the difference
// itself is on stdout.
var errHandlerDiffers = errors.New("the handler did not answer as recorded")

// replayStop is how long a handler may take to end after SIGTERM.
const replayStop = 5 * time.Second

// nodePlace is what stands for the node's path in a handler's arguments.
const nodePlace = "{}"

// handlerUnderTest is a handler program on a node of its own.
type handlerUnderTest struct {
	dir     string
	host    *node.Host
	mounted *fusenode.Mounted
	cmd     *exec.Cmd
	ended   chan struct{} // closed when the program has; cmd has its state then
	devices chan *ucmd.Device
	known   map[string]*ucmd.Device
}

// replayAsHost plays the host's side of a trace against a program.
func replayAsHost(rec *trace.Recording, program []string, stderr io.Writer) (res *replay.Result, err error) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	h, err := startHandler(program, stderr)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, h.stop()) }()
	return replay.RunAsHost(ctx, rec, h.find, replay.Options{})
}

// startHandler mounts a node in a new directory and starts the program on it.
func startHandler(program []string, stderr io.Writer) (h *handlerUnderTest, err error) {
	h = &handlerUnderTest{ended: make(chan struct{}), devices: make(chan *ucmd.Device), known: map[string]*ucmd.Device{}}
	if h.dir, err = os.MkdirTemp("", "fileio_tgt-replay-*"); err != nil {
		return nil, err
	}
	log := logrus.New()
	log.SetOutput(stderr)
	log.SetLevel(logrus.ErrorLevel)
	h.host = node.New(node.Options{Log: log, Serve: func(ctx context.Context, d *ucmd.Device) {
		select {
		case h.devices <- d:
			<-ctx.Done()
		case <-ctx.Done():
		}
	}})
	if h.mounted, err = fusenode.Mount(fusenode.Options{Dir: h.dir, Host: h.host, Log: log, Version: scstInterface}); err != nil {
		return nil, errors.Join(err, os.Remove(h.dir))
	}
	args := make([]string, len(program))
	for i, a := range program {
		args[i] = strings.ReplaceAll(a, nodePlace, filepath.Join(h.dir, fusenode.NodeName))
	}
	h.cmd = exec.Command(args[0], args[1:]...)
	h.cmd.Stdout, h.cmd.Stderr = stderr, stderr // stdout is the difference's
	if err := h.cmd.Start(); err != nil {
		close(h.ended)
		return nil, errors.Join(fmt.Errorf("run the handler: %w", err), h.stop())
	}
	go func() {
		defer close(h.ended)
		_ = h.cmd.Wait() // its state is looked at where it matters
	}()
	return h, nil
}

// find waits until the program has registered a device of that name.
func (h *handlerUnderTest) find(ctx context.Context, name string) (*ucmd.Device, error) {
	for h.known[name] == nil {
		select {
		case d := <-h.devices:
			h.known[d.Desc().Name] = d
		case <-h.ended:
			return nil, fmt.Errorf("the handler ended (%v) before it registered a device %q", h.cmd.ProcessState, name)
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Second):
			return nil, fmt.Errorf("the handler has not registered a device %q within 10s; write %s where its node's path belongs", name, nodePlace)
		}
	}
	return h.known[name], nil
}

// stop ends the program, the host and the mount.
func (h *handlerUnderTest) stop() error {
	if h.cmd != nil && h.cmd.Process != nil {
		_ = h.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		select {
		case <-h.ended:
		case <-time.After(replayStop):
			_ = h.cmd.Process.Kill()
		}
	}
	<-h.ended
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	return errors.Join(h.host.Close(ctx), h.mounted.Close(ctx), os.Remove(h.dir))
}
