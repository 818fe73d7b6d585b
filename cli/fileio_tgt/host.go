package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/internal/status"
	"scstuser/ioctl/fusenode"
	"scstuser/ioctl/node"
	"scstuser/ioctl/trace"
	"scstuser/nbd"
	"scstuser/ucmd"
)

// serveWhat is the serveFunc of the program: a host, or files.
func serveWhat(ctx context.Context, cfg *config, log *logrus.Logger, ready func(served)) error {
	if cfg.Host.Mount != "" {
		return serveHost(ctx, cfg, log, ready)
	}
	return serve(ctx, cfg, log, ready)
}

// serveHost puts the rooms together for handlers in other processes: the node on
// its mount, an NBD server, and an export for each device that comes.
func serveHost(ctx context.Context, cfg *config, log *logrus.Logger, ready func(served)) (err error) {
	p := &hostProgram{frontEnd: frontEnd{cfg: cfg, log: log}, over: make(chan struct{}), sizes: map[string]uint64{}}
	p.status.started = time.Now()
	defer func() {
		if !p.started {
			err = errors.Join(err, p.release(context.Background()))
		}
	}()
	if err := p.start(); err != nil {
		return err
	}
	p.started = true
	s := served{Control: p, Socket: p.status.socket, Metrics: p.status.metrics}
	for _, l := range p.opened {
		s.Listeners = append(s.Listeners, nbd.ListenAddrOf(l))
		p.accepting.Go(func() {
			if err := p.server.Serve(l); err != nil {
				log.WithError(err).Error("a listener failed; the others go on")
			}
		})
	}
	ready(s)
	select {
	case <-p.over:
		return p.outcome
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.Shutdown(context.Background()))
	}
}

// hostProgram is what a run of fileio_tgt host holds.
type hostProgram struct {
	frontEnd
	recorder *trace.Recorder // nil: nobody records
	host     *node.Host
	mounted  *fusenode.Mounted
	link     nodeLink
	status   introspection
	started  bool

	// mu guards sizes, in bytes, of the exports by name.
	mu    sync.Mutex
	sizes map[string]uint64

	accepting sync.WaitGroup
	shutdown  sync.Once
	outcome   error         // of the shutdown; set before over is closed
	over      chan struct{} // closed when everything is released
}

// start opens the listeners, the recording, the mount and the link, in the
// order in which they can fail without a trace.
func (p *hostProgram) start() error {
	cfg := p.cfg
	if err := p.newServer(); err != nil {
		return err
	}
	if _, err := p.listen(); err != nil {
		return err
	}
	o := node.Options{
		Limits:   p.limits(),
		Versions: cfg.Host.versions(), MaxDevices: cfg.Host.MaxDevices, MaxBuffers: cfg.MaxBufferBytes,
		Serve: p.export, Log: p.log,
	}
	if cfg.Debug != 0 {
		o.Observe = func(d ucmd.Desc) ucmd.Observer { return eventLog{p.log.WithField("device", d.Name)} }
	}
	if cfg.Host.Record != "" {
		w, err := trace.Create(cfg.Host.Record, trace.Header{
			Source: "host", Start: time.Now().UnixNano(), Command: strings.Join(os.Args, " "),
		})
		if err != nil {
			return err
		}
		p.recorder = trace.NewRecorder(w)
		o.Recorder = p.recorder
	}
	p.host = node.New(o)
	var err error
	p.mounted, err = fusenode.Mount(fusenode.Options{
		Dir: cfg.Host.Mount, Host: p.host, Mode: cfg.Host.Mode,
		Owner: cfg.Host.Owner.given, UID: cfg.Host.Owner.uid, GID: cfg.Host.Owner.gid,
		Version: scstInterface, Log: p.log,
	})
	if err != nil {
		return err
	}
	if cfg.Host.Link != "" {
		if err := p.link.make(cfg.Host.Link, p.mounted.NodePath()); err != nil {
			return err
		}
	}
	return p.status.open(cfg, p.log, p)
}

// limits are those of every device.
func (p *hostProgram) limits() ucmd.Limits {
	// What is cut off is a process that goes on without its device.
	l := limits(p.cfg, reporter{log: p.log, cutOff: func(string) {}})
	l.HandlerGrace = p.cfg.Host.HandlerGrace
	return l
}

// How long the questions to a new device may take, and how long to wait before
// they are asked again: a handler may register before it serves.
const (
	discoverTime = 30 * time.Second
	exportPause  = time.Second
)

// export exports a device while its handler has it. It is node.Options.Serve.
func (p *hostProgram) export(ctx context.Context, d *ucmd.Device) {
	name := d.Desc().Name
	log := p.log.WithField("device", name)
	for told := false; ctx.Err() == nil; told = true {
		ask, cancel := context.WithTimeout(ctx, discoverTime)
		e, err := p.server.AddExport(ask, nbd.ExportConfig{Name: name, Device: d.Target()})
		cancel()
		switch {
		case err == nil:
			log.WithField("size", e.Size()).Info("exported over NBD")
			p.setSize(name, e.Size())
			<-ctx.Done()
			p.unexport(e, log)
			p.setSize(name, 0)
			return
		case errors.Is(err, nbd.ErrServerClosed):
			<-ctx.Done()
			return
		case !told && ctx.Err() == nil:
			log.WithError(err).Warn("the device can't be exported over NBD; trying again")
		}
		select {
		case <-ctx.Done():
		case <-time.After(exportPause):
		}
	}
}

// unexport takes an export back. Its clients get ESHUTDOWN from the release of
// the device.
func (p *hostProgram) unexport(e *nbd.Export, log *logrus.Entry) {
	ctx, cancel := context.WithTimeout(context.Background(), discoverTime)
	defer cancel()
	if err := p.server.RemoveExport(ctx, e); err != nil {
		log.WithError(err).Warn("the export is gone, but its session with the device has not ended")
	}
}

// setSize notes an export's size, 0 for one that is gone.
func (p *hostProgram) setSize(name string, size uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sizes[name] = size
	if size == 0 {
		delete(p.sizes, name)
	}
}

var _ status.Source = (*hostProgram)(nil)

// Snapshot implements status.Source.
func (p *hostProgram) Snapshot(commands bool) *status.Snapshot {
	s := p.status.snapshot(p.server, p.opened)
	s.Releases = status.ReleasesOf(p.host.Releases())
	s.Buffers.Limit = p.cfg.MaxBufferBytes
	for _, d := range p.host.Devices() {
		device := status.DeviceOf(d, commands)
		p.mu.Lock()
		device.Size = p.sizes[device.Name]
		p.mu.Unlock()
		s.Devices = append(s.Devices, device)
	}
	slices.SortFunc(s.Devices, func(a, b status.Device) int { return strings.Compare(a.Name, b.Name) })
	return s
}

// Device implements status.Source.
func (p *hostProgram) Device(name string) *ucmd.Device { return p.host.Device(name) }

// Resize implements control: initiators are told to ask for the size again.
func (p *hostProgram) Resize() {
	for _, d := range p.host.Devices() {
		d.CapacityChanged()
		p.log.WithField("device", d.Desc().Name).Info("told the initiators that the capacity has changed")
	}
}

// Shutdown implements control: clients first, then the devices, the mount and
// the link.
func (p *hostProgram) Shutdown(ctx context.Context) error {
	p.shutdown.Do(func() {
		p.outcome = p.release(ctx)
		close(p.over)
		p.accepting.Wait()
	})
	<-p.over
	return p.outcome
}

// release undoes what was done, as far as it was.
func (p *hostProgram) release(ctx context.Context) error {
	errs := []error{p.link.remove()}
	if p.server != nil {
		errs = append(errs, p.server.Shutdown(ctx))
	}
	for _, l := range p.opened {
		_ = l.Close() // one that was never served from
	}
	if p.host != nil {
		errs = append(errs, p.host.Close(ctx))
	}
	if p.mounted != nil {
		errs = append(errs, p.mounted.Close(ctx))
	}
	p.status.close() // till here one could see what the end waits for
	if p.recorder != nil {
		if err := p.recorder.Close(); err != nil {
			errs = append(errs, fmt.Errorf("finish the recording %s: %w", p.cfg.Host.Record, err))
		}
	}
	return errors.Join(errs...)
}
