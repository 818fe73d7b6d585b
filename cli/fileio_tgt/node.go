package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/ioctl/client"
)

// notWithDevice are the options of those who serve clients and own the buffer
// pools, which with --device is the node's host.
var notWithDevice = []string{
	"listen", "max_connections", "max_inflight", "max_inflight_bytes", "handshake_timeout",
	"socket_mode", "socket_owner", "tls", "tls_certificates", "tls_verify_peer", "allow", "idle_timeout", "keepalive", "attach",
	"inline", "sendfile", "max_cached", "debug", "max_ucmds", "cmd_timeout", "cmd_timeout_action",
	"attach_timeout", "suspend_timeout", "release_timeout", "control", "metrics", "record",
}

// checkDevice checks what may not be there together with --device. given tells
// which options were on the command line.
func (c *config) checkDevice(given map[string]bool) error {
	if c.Device == "" {
		if c.DeviceVersion != "" {
			return usagef("--device_version is for a node; name it with --device")
		}
		return nil
	}
	for _, name := range notWithDevice {
		if given[name] {
			return usagef("--%s is for the host of the node with --device, which has the clients and the buffer pools; leave it out here",
				name)
		}
	}
	return nil
}

// serveNode registers the disks with a node and serves them there. It is serve
// for --device.
func serveNode(ctx context.Context, cfg *config, log *logrus.Logger, ready func(served)) (err error) {
	p := &nodeProgram{
		cfg: cfg, log: log, arena: arena.New(arena.Options{MaxBytes: cfg.MaxBufferBytes}),
		ended: make(chan error, len(cfg.Exports)), over: make(chan struct{}),
	}
	for _, e := range cfg.Exports {
		d, err := openDisk(cfg, log, e, openMedium)
		if err != nil {
			return errors.Join(err, p.Shutdown(context.Background()))
		}
		p.disks = append(p.disks, &nodeDisk{exportedDisk: d})
	}
	for _, d := range p.disks {
		if err := d.register(p); err != nil {
			return errors.Join(err, p.Shutdown(context.Background()))
		}
	}
	var flushing sync.WaitGroup
	defer flushing.Wait()
	if cfg.FlushInterval > 0 {
		flushing.Go(func() { every(p.cfg.FlushInterval, p.over, p.flush) })
	}
	ready(p.describe())
	select {
	case <-p.over:
		return p.outcome
	case <-ctx.Done():
		err = ctx.Err()
	case err = <-p.ended:
		// A handler that ends by itself has lost its device. The others are
		// at the same node.
		log.WithError(err).Error("a device was lost; stopping")
	}
	return errors.Join(err, p.Shutdown(context.Background()))
}

// nodeProgram is what a run with --device holds.
type nodeProgram struct {
	cfg   *config
	log   *logrus.Logger
	arena *arena.Arena // one for all: devices may share their pools
	disks []*nodeDisk
	ended chan error // a handler has ended that nobody has stopped

	shutdown sync.Once
	outcome  error         // of the shutdown; set before over is closed
	over     chan struct{} // closed when everything is released
}

var _ control = (*nodeProgram)(nil)

// nodeDisk is a disk that is registered with a node.
type nodeDisk struct {
	*exportedDisk
	port *client.Device
}

// register makes the device at the node and starts its handler.
func (d *nodeDisk) register(p *nodeProgram) error {
	cfg := p.cfg
	port, err := client.Open(cfg.Device, d.desc(cfg), client.Options{Version: cfg.DeviceVersion, Multi: cfg.MultiCmd})
	if err != nil {
		return err
	}
	d.port = port
	if cfg.PreallocBuffers > 0 {
		err := handlers.Preallocate(port, p.arena, cfg.PreallocBuffers, int(cfg.PreallocBufferSize), !cfg.SGVNoClustered)
		if err != nil {
			return fmt.Errorf("device %s: preallocate %d buffers of %d bytes: %w", d.name, cfg.PreallocBuffers, cfg.PreallocBufferSize, err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop, d.served = stop, make(chan error, 1)
	go func() {
		err := handlers.Serve(ctx, port, d.disk, handlers.Options{
			Arena: p.arena, Threads: cfg.Threads, Multi: cfg.MultiCmd, BlockSize: uint32(cfg.BlockSize),
		})
		if ctx.Err() == nil {
			p.ended <- d.lost(p.cfg, err)
			err = nil // told
		}
		d.served <- err
	}()
	return nil
}

// lost explains the end of a handler that nobody has stopped.
func (d *nodeDisk) lost(cfg *config, err error) error {
	if err == nil {
		return fmt.Errorf("device %s: the host of the node %s has released it; start this program again when the host is back",
			d.name, cfg.Device)
	}
	return fmt.Errorf("device %s was lost: %w", d.name, err)
}

// describe is what the banner tells.
func (p *nodeProgram) describe() served {
	s := served{Control: p, Node: p.cfg.Device}
	for _, d := range p.disks {
		s.Exports = append(s.Exports, servedExport{
			Name: d.name, Path: d.path, Size: d.disk.Size(), Tail: d.tail,
			BlockSize: d.disk.BlockSize(), ReadOnly: d.disk.ReadOnly(),
		})
	}
	return s
}

// Resize implements control.
func (p *nodeProgram) Resize() {
	for _, d := range p.disks {
		log := p.log.WithField("device", d.name)
		changed, size, ok, err := d.resize()
		if !ok {
			continue
		}
		if err == nil && changed {
			err = d.port.CapacityChanged()
		}
		switch {
		case err != nil:
			log.WithError(err).Error("the size was not read again or not announced")
		case changed:
			log.WithField("size", size).Info("capacity changed; the node's host tells its clients")
		default:
			log.WithField("size", size).Info("the size has not changed")
		}
	}
}

// flush makes the node give back every buffer that is not in use.
func (p *nodeProgram) flush() {
	for _, d := range p.disks {
		if d.port == nil {
			continue
		}
		if err := d.port.FlushCache(); err != nil && !errors.Is(err, client.ErrGone) {
			p.log.WithField("device", d.name).WithError(err).Warn("the buffer pool was not flushed")
		}
	}
}

// giveBack is how long the way out waits for buffers to come back.
const giveBack = time.Second

// Shutdown implements control: what the handlers have begun is finished and
// answered, then the devices are closed, which tells the host.
func (p *nodeProgram) Shutdown(ctx context.Context) error {
	p.shutdown.Do(func() {
		p.takeBack(ctx)
		if p.outcome = releaseDisks(ctx, p.disks); p.outcome == nil {
			// Buffers that the host still has count go with the process.
			if err := p.arena.Close(); err != nil && !errors.Is(err, arena.ErrLive) {
				p.outcome = fmt.Errorf("release the data buffers: %w", err)
			}
		}
		close(p.over)
	})
	<-p.over
	return p.outcome
}

// takeBack lets the handlers take back, while they still serve, the buffers
// that nothing uses (rule R35): the host need not find out that they are gone.
// It is a courtesy, and waits for nobody who does not answer.
func (p *nodeProgram) takeBack(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, giveBack)
	defer cancel()
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		p.flush()
	}()
	select {
	case <-flushed:
	case <-ctx.Done():
		return
	}
	for p.arena.Stats().Live > 0 && ctx.Err() == nil {
		time.Sleep(time.Millisecond)
	}
}

// release stops the handler, closes the device and then the medium. A host that
// is gone is not told.
func (d *nodeDisk) release(ctx context.Context) error {
	var errs []error
	if d.stop != nil {
		d.stop()
		select {
		case err := <-d.served:
			if err != nil && !errors.Is(err, client.ErrGone) {
				errs = append(errs, fmt.Errorf("device %s: %w", d.name, err))
			}
		case <-ctx.Done():
			// It may still use the medium: leave it to the end of the process.
			return fmt.Errorf("device %s: its handler did not finish: %w", d.name, ctx.Err())
		}
		d.stop = nil
	}
	if d.port != nil {
		errs = append(errs, d.port.Close(ctx))
	}
	return errors.Join(append(errs, d.exportedDisk.release(ctx))...)
}
