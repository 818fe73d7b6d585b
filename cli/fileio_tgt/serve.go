package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/handlers/arena"
	"scstuser/nbd"
	"scstuser/ucmd"
)

// serve puts the rooms together: a device for each export, an NBD server in
// front of them. It is a serveFunc.
func serve(ctx context.Context, cfg *config, log *logrus.Logger, ready func(served)) error {
	if cfg.Device != "" {
		return serveNode(ctx, cfg, log, ready)
	}
	return newProgram(cfg, log).run(ctx, ready)
}

// newProgram makes a program that has not opened anything yet.
func newProgram(cfg *config, log *logrus.Logger) *program {
	p := &program{
		frontEnd: frontEnd{cfg: cfg, log: log}, arena: arena.New(arena.Options{MaxBytes: cfg.MaxBufferBytes}),
		open: openMedium, over: make(chan struct{}), lost: make(chan struct{}), left: make(chan struct{}),
	}
	p.status.started = time.Now()
	p.registry = ucmd.NewRegistry(limits(cfg, reporter{log: log, cutOff: p.cutOff}))
	return p
}

// run is serve.
func (p *program) run(ctx context.Context, ready func(served)) (err error) {
	cfg, log := p.cfg, p.log
	if err := p.newServer(); err != nil {
		return err
	}
	defer func() {
		if p.started {
			return // Shutdown has released everything, or has given up
		}
		err = errors.Join(err, p.release(context.Background()))
	}()
	if err := p.openMedia(); err != nil {
		return err
	}
	listeners, err := p.listen()
	if err != nil {
		return err
	}
	if err := p.export(ctx); err != nil {
		return err
	}
	if err := p.status.open(p.cfg, p.log, p); err != nil {
		return err
	}
	p.started = true
	serving := int32(len(listeners))
	for _, l := range listeners {
		p.accepting.Go(func() {
			if err := p.server.Serve(l); err != nil {
				log.WithError(err).Error("a listener failed; the others go on")
			} else if atomic.AddInt32(&serving, -1) == 0 {
				close(p.left)
			}
		})
	}
	if cfg.FlushInterval > 0 {
		p.accepting.Go(func() { every(p.cfg.FlushInterval, p.over, p.flush) })
	}
	if cfg.CmdAction == cmdKill {
		p.watchHandlers()
	}
	if err := p.attach(ctx); err != nil {
		return errors.Join(err, p.shutdownInTime())
	}
	ready(p.describe(listeners))
	select {
	case <-p.lost:
		return errors.Join(errNothingLeft, p.shutdownInTime())
	case <-p.left:
		return p.shutdownInTime() // sockets with one client, who has left
	case <-p.over:
		return p.outcome
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.Shutdown(context.Background()))
	}
}

// program is what a run of fileio_tgt holds.
type program struct {
	frontEnd
	arena    *arena.Arena // one for all: devices may share their pools
	registry *ucmd.Registry
	disks    []*exportedDisk
	started  bool
	// open opens an export's medium; a test has its own.
	open  func(*config, exportConfig) (m medium, err error)
	local *localDevice // nil without --attach
	// left is closed when nobody is accepted any more.
	left chan struct{}
	// lost is closed when no export is left (cutoff.go).
	lost chan struct{}

	accepting sync.WaitGroup
	shutdown  sync.Once
	outcome   error         // of the shutdown; set before over is closed
	over      chan struct{} // closed when everything is released

	status introspection
}

// openMedia opens every file before anything else is touched.
func (p *program) openMedia() error {
	for _, e := range p.cfg.Exports {
		d, err := openDisk(p.cfg, p.log, e, p.open)
		if err != nil {
			return err
		}
		p.disks = append(p.disks, d)
	}
	return nil
}

// export registers the devices and offers them.
func (p *program) export(ctx context.Context) error {
	for _, d := range p.disks {
		if err := d.register(p); err != nil {
			return err
		}
		e, err := p.server.AddExport(ctx, nbd.ExportConfig{
			Name: d.name, Description: d.backing.Describe(), Device: d.dev.Target(),
		})
		if err != nil {
			return err
		}
		d.export = e
	}
	return nil
}

// describe is what the banner tells.
func (p *program) describe(listeners []net.Listener) served {
	s := served{Control: p, Socket: p.status.socket, Metrics: p.status.metrics}
	for _, d := range p.disks {
		s.Exports = append(s.Exports, servedExport{
			Name: d.name, Path: d.path, Size: int64(d.export.Size()), Tail: d.tail,
			BlockSize: int(d.export.BlockSize()), ReadOnly: d.export.ReadOnly(),
		})
	}
	for _, l := range listeners {
		// Others can't be connected to: there is one client, who is here.
		if a := nbd.ListenAddrOf(l); a.Network == "tcp" || a.Network == "unix" || a.Network == "vsock" {
			s.Listeners = append(s.Listeners, a)
		}
	}
	return s
}

// Resize implements control: it looks at the media again and announces what
// has changed.
func (p *program) Resize() {
	for _, d := range p.disks {
		if d.isCutOff() {
			continue
		}
		log := p.log.WithField("device", d.name)
		changed, size, ok, err := d.resize()
		if !ok {
			continue
		}
		switch {
		case err != nil:
			log.WithError(err).Error("the size can't be read again; the old one stays")
		case changed:
			d.handlerPort.CapacityChanged()
			log.WithField("size", size).Info("capacity changed; new clients see it")
		default:
			log.WithField("size", size).Info("the size has not changed")
		}
	}
}

// every calls do each time that the interval has passed, until over is closed.
func every(interval time.Duration, over <-chan struct{}, do func()) {
	t := time.NewTicker(interval)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			do()
		case <-over:
			return
		}
	}
}

// flush is what --flush does every so often: idle buffers go back.
func (p *program) flush() {
	for _, d := range p.disks {
		if d.isCutOff() {
			continue
		}
		if err := d.handlerPort.FlushCache(); err != nil {
			p.log.WithField("device", d.name).WithError(err).Warn("the buffer pool was not flushed")
		}
	}
}

// Shutdown implements control: commands in flight are answered, then
// everything is released.
func (p *program) Shutdown(ctx context.Context) error {
	p.shutdown.Do(func() {
		p.outcome = p.release(ctx)
		close(p.over)
		p.accepting.Wait()
	})
	<-p.over
	return p.outcome
}

// release undoes what was done, as far as it was: clients first, then the
// handlers, the devices and the media.
func (p *program) release(ctx context.Context) error {
	errs := []error{p.detach(), p.server.Shutdown(ctx)}
	for _, l := range p.opened {
		_ = l.Close() // one that was never served from
	}
	errs = append(errs, releaseDisks(ctx, p.disks))
	p.status.close() // till here one could see what the end waits for
	if err := errors.Join(errs...); err != nil {
		return err // a handler that still runs uses the buffers
	}
	if err := p.arena.Close(); err != nil && !errors.Is(err, arena.ErrLive) {
		return fmt.Errorf("release the data buffers: %w", err)
	}
	return nil
}
