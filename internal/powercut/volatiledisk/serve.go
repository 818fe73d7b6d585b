package volatiledisk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/handlers/disk"
	"scstuser/nbd"
	"scstuser/ucmd"
)

// closeTimeout bounds each step of Server.Close.
const closeTimeout = 10 * time.Second

// Export is the name that a Server has for its disk; it is the default export as
// well.
const Export = "disk"

// Config says how a disk is served. The zero value is a disk as it is.
type Config struct {
	// WriteThrough and NVCache are those of disk.Options, on top of the disk.
	WriteThrough, NVCache bool
	// Inline says that the goroutine of a connection carries out what need
	// not wait.
	Inline bool
}

// Server serves a Disk over NBD.
type Server struct {
	disk   *Disk
	dev    *ucmd.Device
	stop   context.CancelFunc // ends the handler
	served chan error         // how it ended
	server *nbd.Server
	failed chan error // how serving ended

	closeOnce sync.Once
	err       error // of Close
}

// Serve serves a disk on a unix socket, until Close.
func Serve(d *Disk, path string, cfg Config) (*Server, error) {
	h, err := disk.New(d, disk.Options{Name: Export, WriteThrough: cfg.WriteThrough, NVCache: cfg.NVCache})
	if err != nil {
		return nil, err
	}
	buffers := arena.New(arena.Options{})
	dev, err := ucmd.NewRegistry(ucmd.Limits{}).Register(ucmd.Desc{
		Name: Export, Type: ucmd.TypeDisk, BlockSize: SectorSize,
		Opt: ucmd.Opt{
			Parse: uint8(ucmd.ParseException), Reuse: uint8(ucmd.ReuseAll), OnFree: uint8(ucmd.OnFreeIgnore),
			TST: 1, QueueAlg: 1,
		},
	}, handlers.Memory{Arena: buffers}, nil)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Server{
		disk: d, dev: dev, stop: stop, served: make(chan error, 1),
		server: nbd.NewServer(nbd.Options{}), failed: make(chan error, 1),
	}
	go func() {
		s.served <- handlers.Serve(ctx, dev, h, handlers.Options{Arena: buffers, Inline: cfg.Inline, BlockSize: SectorSize})
	}()
	if err := s.listen(path); err != nil {
		close(s.failed)
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) listen(path string) error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if _, err := s.server.AddExport(ctx, nbd.ExportConfig{Name: Export, Device: s.dev.Target()}); err != nil {
		return err
	}
	l, err := nbd.Listen(nbd.ListenAddr{Network: "unix", Address: path})
	if err != nil {
		return err
	}
	go func() { s.failed <- s.server.Serve(l) }()
	return nil
}

// Close closes the disk, which ends what hangs in it, then stops serving. It may
// be called again.
func (s *Server) Close() error {
	s.closeOnce.Do(func() { s.err = s.close() })
	return s.err
}

func (s *Server) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	err := s.disk.Close()
	err = errors.Join(err, s.server.Shutdown(ctx), <-s.failed)
	s.stop()
	err = errors.Join(err, <-s.served, s.dev.Close(ctx))
	if err != nil {
		return fmt.Errorf("stop serving the disk: %w", err)
	}
	return nil
}
