package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/internal/status"
	"scstuser/nbd"
	"scstuser/ucmd"
)

// The values of --control that are not paths. controlAuto stands for "not
// given".
const (
	controlAuto = ""
	controlNone = "none"
)

// closeStatusTimeout is how long answers under way may take at the end.
const closeStatusTimeout = time.Second

// introspection is who answers questions about a program.
type introspection struct {
	started time.Time
	servers []*status.Server
	// socket is the control socket's path and metrics the URL of the
	// metrics; "": there is none.
	socket, metrics string
}

// open starts answering what cfg says should be.
func (i *introspection) open(cfg *config, log *logrus.Logger, src status.Source) error {
	if err := i.openControl(cfg, log, src); err != nil {
		return err
	}
	return i.openMetrics(cfg, log, src)
}

// openControl starts answering on the control socket. Without one that was
// asked for there is no start; the default one is a convenience.
func (i *introspection) openControl(cfg *config, log *logrus.Logger, src status.Source) error {
	path := cfg.Control
	if path == controlNone {
		return nil
	}
	var l net.Listener
	var err error
	if path == controlAuto {
		path, l, err = listenDefault()
	} else {
		l, err = status.Listen(path)
	}
	switch {
	case err == nil:
		i.socket = absolute(path)
		i.servers = append(i.servers, status.Serve(l, status.ControlHandler(src), log.WithField("socket", path)))
		return nil
	case cfg.Control != controlAuto:
		return fmt.Errorf("--control: %w", err)
	}
	log.WithError(err).Warn("there is no control socket, so \"" + programName + " status\" does not find this process; " +
		"--control PATH makes one elsewhere, --control none does without")
	return nil
}

// listenDefault makes the control socket where the status subcommand looks.
func listenDefault() (path string, l net.Listener, err error) {
	dir, err := status.DefaultDir(programName)
	if err != nil {
		return "", nil, err
	}
	if err := dir.Make(); err != nil {
		return "", nil, err
	}
	path = dir.Path(os.Getpid())
	l, err = status.Listen(path)
	return path, l, err
}

// openMetrics starts answering Prometheus, if that was asked for.
func (i *introspection) openMetrics(cfg *config, log *logrus.Logger, src status.Source) error {
	if cfg.Metrics == "" {
		return nil
	}
	l, err := net.Listen("tcp", cfg.Metrics)
	if err != nil {
		return fmt.Errorf("--metrics %s: %w", cfg.Metrics, pathCause(err))
	}
	addr := nbd.ListenAddrOf(l)
	i.metrics = "http://" + addr.Address + "/metrics"
	i.servers = append(i.servers, status.Serve(l, status.MetricsHandler(src), log.WithField("metrics", addr.Address)))
	told := log.WithField("url", i.metrics)
	if exposed(addr) {
		told.Warn("other hosts may be able to read the metrics, and there is no authentication")
		return nil
	}
	told.Info("metrics for Prometheus")
	return nil
}

// close stops answering, and removes the control socket.
func (i *introspection) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeStatusTimeout)
	defer cancel()
	for _, s := range i.servers {
		s.Close(ctx)
	}
}

var _ status.Source = (*program)(nil)

// snapshot is what all programs have to tell; devices are added to it.
func (i *introspection) snapshot(server *nbd.Server, listeners []net.Listener) *status.Snapshot {
	now := time.Now()
	s := &status.Snapshot{
		Format: status.Format, Program: programName, Version: version(), PID: os.Getpid(),
		Time: now.UTC(), Started: i.started.UTC(), Uptime: now.Sub(i.started).Seconds(),
		Listeners: []status.Listener{}, Devices: []status.Device{}, Options: map[string]string{},
		Runtime: status.RuntimeNow(),
	}
	for _, l := range listeners {
		s.Listeners = append(s.Listeners, status.Listener(nbd.ListenAddrOf(l)))
	}
	s.Connections.Now, s.Connections.Limit = server.Connections()
	return s
}

// Snapshot implements status.Source.
func (p *program) Snapshot(commands bool) *status.Snapshot {
	s := p.status.snapshot(p.server, p.opened)
	s.Releases = status.ReleasesOf(p.registry.Releases())
	buffers := p.arena.Stats()
	s.Buffers = status.Buffers{Live: buffers.LiveBytes, Peak: buffers.PeakBytes, Limit: p.cfg.MaxBufferBytes}
	for i := range options {
		if opt := &options[i]; opt.device {
			s.Options[opt.name] = opt.bind(p.cfg).String()
		}
	}
	for _, d := range p.disks {
		device := status.DeviceOf(d.dev, commands)
		device.File, device.Size, device.ReadOnly = absolute(d.path), d.export.Size(), d.export.ReadOnly()
		device.Faults = faultStates(d.disk)
		s.Devices = append(s.Devices, device)
	}
	return s
}

// Device implements status.Source.
func (p *program) Device(name string) *ucmd.Device {
	for _, d := range p.disks {
		if d.dev.Desc().Name == name {
			return d.dev
		}
	}
	return nil
}
