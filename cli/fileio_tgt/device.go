package main

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/sirupsen/logrus"

	"scstuser/handlers"
	"scstuser/handlers/disk"
	"scstuser/handlers/fileio"
	"scstuser/handlers/nullio"
	"scstuser/nbd"
	"scstuser/ucmd"
)

// exportedDisk is one export from its medium to its name.
type exportedDisk struct {
	name, path  string
	tail        int64 // bytes at the end that are not exported
	backing     describedBacking
	disk        *disk.Disk
	dev         *ucmd.Device
	handlerPort recordedPort // dev, or recording's
	recording   *recording   // nil: nobody records
	export      *nbd.Export

	stop   context.CancelFunc // ends the handler
	served chan error         // the handler's end
	// cut is closed, by cutOnce, when the handler is cut off (cutoff.go).
	cut     chan struct{}
	cutOnce sync.Once

	// mediumMu is held while the medium's size is read again, and while it is
	// closed; it guards mediumGone, which says that it is closed.
	mediumMu   sync.Mutex
	mediumGone bool
}

// describedBacking is what the program needs of a medium.
type describedBacking interface {
	handlers.Backing
	handlers.Described
}

// medium is what a disk is on.
type medium struct {
	describedBacking
	tail int64 // bytes at the end that are not exported
}

// openMedium opens the file or block device of an export.
func openMedium(cfg *config, e exportConfig) (medium, error) {
	f, err := fileio.Open(e.Path, fileio.Options{
		// --nullio takes the size from the file and nothing else.
		ReadOnly:     cfg.ReadOnly || cfg.NullIO,
		WriteThrough: cfg.WriteThrough, Direct: cfg.Direct && !cfg.NullIO,
		NVCache: cfg.NVCache, BlockSize: cfg.BlockSize,
	})
	if err != nil {
		return medium{}, err
	}
	if !cfg.NullIO {
		return medium{f, f.Tail()}, nil
	}
	return medium{nullio.New(f.Size(), cfg.ReadOnly), f.Tail()}, f.Close()
}

// openDisk opens the medium of an export, with open, and makes it a disk.
func openDisk(cfg *config, log *logrus.Logger, e exportConfig, open func(*config, exportConfig) (medium, error)) (*exportedDisk, error) {
	m, err := open(cfg, e)
	if err != nil {
		return nil, err
	}
	d := &exportedDisk{name: e.Name, path: e.Path, tail: m.tail, backing: m.describedBacking, cut: make(chan struct{})}
	d.disk, err = disk.New(d.backing, disk.Options{
		Name: e.Name, BlockSize: cfg.BlockSize, VdiskID: int(cfg.VdiskID),
		WriteThrough: cfg.WriteThrough, NVCache: cfg.NVCache, ReadOnly: cfg.ReadOnly,
		// A megabyte that is in the page cache is copied in about 100 us; on
		// another goroutine it would be sent from a cold processor cache. While a
		// long write is copied, the payload of the next one can be received.
		InlineRead: 1 << 20, InlineWrite: 256 << 10,
		FileRead: cfg.fileRead(),
		Faults:   faultLog{log.WithField("device", e.Name)},
	})
	if err != nil {
		return nil, errors.Join(err, d.backing.Close())
	}
	return d, nil
}

// register makes the device and starts its handler.
func (d *exportedDisk) register(p *program) error {
	cfg := p.cfg
	desc := d.desc(cfg)
	var obs ucmd.Observer
	if cfg.Debug != 0 {
		obs = eventLog{p.log.WithField("device", d.name)}
	}
	dev, err := p.registry.Register(desc, handlers.Memory{Arena: p.arena}, obs)
	if err != nil {
		return err
	}
	d.dev, d.handlerPort = dev, dev
	if cfg.Record != "" {
		if d.recording, err = startRecording(cfg.Record, dev); err != nil {
			return err
		}
		d.handlerPort = d.recording.port
	}
	if cfg.PreallocBuffers > 0 {
		err := handlers.Preallocate(d.handlerPort, p.arena, cfg.PreallocBuffers, int(cfg.PreallocBufferSize), !cfg.SGVNoClustered)
		if err != nil {
			return fmt.Errorf("device %s: preallocate %d buffers of %d bytes: %w", d.name, cfg.PreallocBuffers, cfg.PreallocBufferSize, err)
		}
	}
	ctx, stop := context.WithCancel(context.Background())
	d.stop, d.served = stop, make(chan error, 1)
	go func() {
		d.served <- handlers.Serve(ctx, d.handlerPort, d.disk, handlers.Options{
			Arena: p.arena, Threads: cfg.Threads, Multi: cfg.MultiCmd, Inline: cfg.Inline,
			NonBlocking: cfg.NonBlocking, BlockSize: uint32(cfg.BlockSize),
		})
	}()
	return nil
}

// desc is how the device is registered, here or at a node.
func (d *exportedDisk) desc(cfg *config) ucmd.Desc {
	desc := ucmd.Desc{
		Name: d.name, Type: ucmd.TypeDisk, BlockSize: uint32(cfg.BlockSize),
		SGVShared: cfg.SGVShared, SGVNoClustered: cfg.SGVNoClustered,
		SGVSinglePages: int32(cfg.SGVSinglePages), SGVPurgeInterval: purgeSeconds(cfg),
		NonBlocking: cfg.NonBlocking,
		// As SCST's fileio_tgt registers its devices.
		Opt: ucmd.Opt{
			Parse: uint8(parseTypes[cfg.Parse]), OnFree: uint8(onFreeTypes[cfg.OnFree]),
			Reuse: uint8(reuseTypes[cfg.MemReuse]), TST: 1, QueueAlg: 1,
		},
	}
	if cfg.SGVShared {
		desc.SGVName = cfg.Exports[0].Name
	}
	return desc
}

func purgeSeconds(cfg *config) int32 {
	if cfg.SGVPurgeInterval < 0 {
		return -1
	}
	return int32(cfg.SGVPurgeInterval.Seconds())
}

var (
	parseTypes  = map[parseType]ucmd.ParseType{parseStd: ucmd.ParseStandard, parseCall: ucmd.ParseCall, parseExcpt: ucmd.ParseException}
	onFreeTypes = map[onFreeType]ucmd.OnFreeType{onFreeIgnore: ucmd.OnFreeIgnore, onFreeCall: ucmd.OnFreeCall}
	reuseTypes  = map[memReuse]ucmd.ReuseType{reuseAll: ucmd.ReuseAll, reuseRead: ucmd.ReuseRead, reuseWrite: ucmd.ReuseWrite, reuseNone: ucmd.ReuseNone}
)

// release stops the handler, releases the device and closes the medium. What
// was answered and is in the volatile cache is made durable on the way.
func (d *exportedDisk) release(ctx context.Context) error {
	if d.isCutOff() {
		return d.leave(ctx)
	}
	if d.stop != nil {
		d.stop()
		select {
		case err := <-d.served:
			if err != nil {
				return fmt.Errorf("device %s: %w", d.name, err)
			}
		case <-ctx.Done():
			return fmt.Errorf("device %s: its handler did not finish: %w", d.name, ctx.Err())
		}
	}
	return d.close(ctx)
}

// close is release once the handler has ended.
func (d *exportedDisk) close(ctx context.Context) error {
	var errs []error
	if d.dev != nil {
		errs = append(errs, d.dev.Close(ctx), d.recording.end())
	}
	return errors.Join(append(errs, d.closeMedium(ctx))...)
}

// eventLog logs every step of every ucmd, for --debug. It runs under the
// device's lock: a debugging aid, not a way to serve.
type eventLog struct{ log *logrus.Entry }

// Event implements ucmd.Observer.
func (l eventLog) Event(e ucmd.Event) { l.log.Debug(e.String()) }
