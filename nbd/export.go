package nbd

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/sirupsen/logrus"

	"scstuser/target"
)

// ExportConfig says what to export.
type ExportConfig struct {
	// Name is what clients ask for, and Description a line for people; see
	// ExportInfo for what they may be.
	Name, Description string
	// Device is the device. Its owner keeps it and releases it.
	Device *target.Device
}

// Export is a device as clients see it. What it can do was found out by asking
// the device itself, whatever handler stands behind it (discover.go). Its
// methods may be called from any goroutine.
type Export struct {
	name, description string
	dev               *target.Device
	probe             *initiator
	log               *logrus.Entry

	// caps do not change any more once the export is offered.
	caps

	// size is the size in bytes as last asked; gone: the device is being
	// released.
	size atomic.Uint64
	gone atomic.Bool

	// data is where there is no hole (knowndata.go). exactly is set, and
	// exact in use, once there was an unaligned change (changes.go).
	data    knownData
	exactly atomic.Bool
	exact   exactChanges

	// attaching is held by the client that tries to attach to the device.
	attaching chan struct{}

	// mu guards what follows.
	mu sync.Mutex
	// refreshing: somebody asks for the size. stale: it has changed since.
	// closed: nobody may ask any more.
	refreshing, stale, closed bool
	// refreshed is broadcast when refreshing ends.
	refreshed sync.Cond
}

var _ exportRef = (*Export)(nil)

// Name returns the export's name.
func (e *Export) Name() string { return e.name }

// Size returns the export's size in bytes, as the device last told it.
func (e *Export) Size() uint64 { return e.size.Load() }

// BlockSize returns the logical block size in bytes, the unit of all requests.
func (e *Export) BlockSize() uint32 { return e.blockSize }

// ReadOnly says whether the device refuses to be changed (row 21).
func (e *Export) ReadOnly() bool { return e.readOnly }

// newExport attaches to the device and asks what it is.
func newExport(ctx context.Context, cfg ExportConfig, o *Options) (*Export, error) {
	e := &Export{
		name: cfg.Name, description: cfg.Description, dev: cfg.Device,
		log: o.Log.WithField("export", cfg.Name), attaching: make(chan struct{}, 1),
		refreshing: true, // that is what discover does
	}
	e.refreshed.L = &e.mu
	e.exact.init()
	var err error
	e.probe, err = newInitiator(ctx, cfg.Device, cfg.Name, e.capacityChanged, func() { e.gone.Store(true) })
	if err != nil {
		return nil, err
	}
	err = e.discover(ctx, o.MaxPayload)
	if err == nil {
		info, _ := e.info()
		err = info.Validate()
	}
	if err != nil {
		e.endRefresh(true)
		_ = e.close(ctx)
		return nil, err
	}
	if !e.endRefresh(false) {
		go e.refresh() // it has changed while we asked
	}
	return e, nil
}

// flags are the transmission flags (rows 13, 21): what really works.
func (e *Export) flags() uint16 {
	f := flagHasFlags | flagSendFlush | flagSendFUA | flagCanMultiConn
	if e.canCache {
		f |= flagSendCache
	}
	if e.rotational {
		f |= flagRotational
	}
	if e.readOnly {
		return f | flagReadOnly
	}
	f |= flagSendWriteZeroes
	if e.fastUnmap || e.fastKeep {
		f |= flagSendFastZero
	}
	if e.canTrim {
		f |= flagSendTrim
	}
	return f
}

// info implements exportRef.
func (e *Export) info() (ExportInfo, error) {
	if e.gone.Load() {
		return ExportInfo{}, target.ErrReleased
	}
	return ExportInfo{
		Name: e.name, Description: e.description, Size: e.size.Load(), Flags: e.flags(),
		MinBlock: e.blockSize, PreferredBlock: e.preferredBlock, MaxBlock: e.maxPayload,
	}, nil
}

// capacityChanged asks the device for its size again. It is called by the
// device, so it asks on a goroutine of its own.
func (e *Export) capacityChanged() {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
	case e.refreshing:
		e.stale = true // what that one hears may be old
	default:
		e.refreshing = true
		go e.refresh()
	}
}

// refresh asks until what it has heard is not older than the last change.
func (e *Export) refresh() {
	for {
		if err := e.readSize(context.Background()); err != nil {
			e.log.WithError(err).Warn("the new size of the device can't be found out; the old one stays")
		}
		if e.endRefresh(false) {
			return
		}
	}
}

// endRefresh ends refreshing, if nothing has changed meanwhile or it is given
// up.
func (e *Export) endRefresh(giveUp bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stale && !e.closed && !giveUp {
		e.stale = false
		return false
	}
	e.refreshing = false
	e.refreshed.Broadcast()
	return true
}

// readSize takes over the device's present size. Its block size can't change
// under clients that have been told another one.
func (e *Export) readSize(ctx context.Context) error {
	c, err := e.probe.capacity(ctx)
	if err != nil {
		return err
	}
	if c.BlockSize != e.blockSize {
		return fmt.Errorf("its block size has changed from %d to %d bytes: export it anew", e.blockSize, c.BlockSize)
	}
	size, err := sizeOf(c)
	if err == nil {
		e.size.Store(size)
	}
	return err
}

// close leaves the device. It waits for what is being asked, or for ctx. It may
// be called again.
func (e *Export) close(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.refreshed.Broadcast()
	})
	defer stop()
	e.mu.Lock()
	e.closed = true
	for e.refreshing && ctx.Err() == nil {
		e.refreshed.Wait()
	}
	e.mu.Unlock()
	return e.probe.sess.Close(ctx)
}
