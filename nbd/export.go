package nbd

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"scstuser/scsi"
	"scstuser/target"
)

// ExportConfig says what to export.
type ExportConfig struct {
	// Name is what clients ask for; see ExportInfo.
	Name        string
	Description string
	Device      *target.Device
}

// Export is a device as clients see it. What it can do was found out by
// asking the device itself, whatever handler stands behind it.
type Export struct {
	name, description string
	dev               *target.Device
	probe             *initiator

	// Set once, before the first client.
	blockSize uint32
	readOnly  bool
	// fua: the device takes the FUA bit; else a write is followed by a sync.
	fua               bool
	canTrim, canCache bool
	canWriteSame      bool // NDOB; else zeroes are written
	canWriteSameUnmap bool // and unmapped blocks read as zeroes
	maxUnmap          uint64
	maxWriteSame      uint64
	maxPayload        uint32

	// size is the size in bytes as last asked.
	size atomic.Uint64
	gone atomic.Bool

	// refreshing lets one goroutine at a time ask for the size.
	refreshing sync.Mutex
	background sync.WaitGroup
}

// Name returns the export's name.
func (e *Export) Name() string { return e.name }

// Size returns the export's size in bytes.
func (e *Export) Size() uint64 { return e.size.Load() }

// BlockSize returns the logical block size in bytes.
func (e *Export) BlockSize() uint32 { return e.blockSize }

// ReadOnly says whether clients may write.
func (e *Export) ReadOnly() bool { return e.readOnly }

// newExport attaches to the device and asks what it is.
func newExport(ctx context.Context, cfg ExportConfig, maxPayload uint32) (*Export, error) {
	e := &Export{name: cfg.Name, description: cfg.Description, dev: cfg.Device}
	var err error
	e.probe, err = newInitiator(ctx, cfg.Device, cfg.Name, e.capacityChanged, func() { e.gone.Store(true) })
	if err != nil {
		return nil, fmt.Errorf("export %q: %w", cfg.Name, err)
	}
	if err := e.discover(ctx, maxPayload); err != nil {
		_ = e.close(ctx)
		return nil, fmt.Errorf("export %q: %w", cfg.Name, err)
	}
	return e, nil
}

// discover asks the device what it can do. Only the capacity is a must.
func (e *Export) discover(ctx context.Context, maxPayload uint32) error {
	c, err := e.capacity(ctx)
	if err != nil {
		return err
	}
	e.blockSize = c.BlockSize
	if b := c.BlockSize; b == 0 || b&(b-1) != 0 || b > maxMinBlock {
		return fmt.Errorf("a block size of %d bytes can't be exported: NBD takes powers of two up to %d", b, maxMinBlock)
	}
	e.size.Store((c.LastLBA + 1) * uint64(c.BlockSize))
	if b, err := e.probe.do(ctx, scsi.EncodeModeSense10(true, 0, 0x3f, 0, 252)); err == nil {
		if h, _, _, err := scsi.ParseModeHeader10(b); err == nil {
			e.readOnly, e.fua = h.WriteProtected, h.DPOFUA
		}
	}
	e.discoverLimits(ctx, maxPayload)
	if c.LBPME {
		e.discoverProvisioning(ctx, c.LBPRZ)
	}
	e.canWriteSame = !e.readOnly && e.supports(ctx, scsi.OpWriteSame16)
	e.canTrim = e.canTrim && !e.readOnly && e.supports(ctx, scsi.OpUnmap)
	e.canCache = e.supports(ctx, scsi.OpPreFetch16)
	return nil
}

// discoverLimits reads the Block Limits page.
func (e *Export) discoverLimits(ctx context.Context, maxPayload uint32) {
	e.maxPayload, e.maxUnmap, e.maxWriteSame = maxPayload, math.MaxUint32, math.MaxUint32
	b, err := e.probe.do(ctx, scsi.EncodeInquiry(true, scsi.VPDBlockLimits, 252))
	if err != nil {
		return
	}
	l, err := scsi.ParseVPDBlockLimits(b)
	if err != nil {
		return
	}
	if l.MaxTransfer > 0 {
		e.maxPayload = uint32(min(uint64(maxPayload), uint64(l.MaxTransfer)*uint64(e.blockSize)))
	}
	if l.MaxUnmapBlocks > 0 {
		e.maxUnmap = uint64(l.MaxUnmapBlocks)
	}
	if l.MaxWriteSame > 0 {
		e.maxWriteSame = min(l.MaxWriteSame, math.MaxUint32)
	}
}

// discoverProvisioning reads the Logical Block Provisioning page.
func (e *Export) discoverProvisioning(ctx context.Context, readsZero bool) {
	b, err := e.probe.do(ctx, scsi.EncodeInquiry(true, scsi.VPDLogicalProvisioning, 252))
	if err != nil {
		return
	}
	if p, err := scsi.ParseVPDLogicalProvisioning(b); err == nil {
		e.canTrim = p.LBPU
		e.canWriteSameUnmap = p.LBPWS && readsZero
	}
}

// supports asks whether the device knows a command. One that can't be asked
// is taken not to: what it lacks is done another way, or not offered.
func (e *Export) supports(ctx context.Context, op scsi.Opcode) bool {
	b, err := e.probe.do(ctx, scsi.EncodeReportSupportedOpcodes(1, op, 0, false, 252))
	if err != nil {
		return false
	}
	ok, err := scsi.ParseSupport(b)
	return err == nil && ok
}

// capacity reads the size and the block size.
func (e *Export) capacity(ctx context.Context) (scsi.Capacity, error) {
	b, err := e.probe.do(ctx, scsi.EncodeReadCapacity16(32))
	if err == nil {
		return scsi.ParseReadCapacity16(b)
	}
	var refused *senseError
	if !errors.As(err, &refused) || refused.sense.Key != scsi.KeyIllegalRequest {
		return scsi.Capacity{}, fmt.Errorf("read capacity: %w", err)
	}
	if b, err = e.probe.do(ctx, scsi.EncodeReadCapacity10()); err != nil {
		return scsi.Capacity{}, fmt.Errorf("read capacity: %w", err)
	}
	return scsi.ParseReadCapacity10(b)
}

// capacityChanged asks again. It is called by the device, so it asks on a
// goroutine of its own.
func (e *Export) capacityChanged() {
	e.background.Go(func() {
		e.refreshing.Lock()
		defer e.refreshing.Unlock()
		if c, err := e.capacity(context.Background()); err == nil && c.BlockSize == e.blockSize {
			e.size.Store((c.LastLBA + 1) * uint64(c.BlockSize))
		}
	})
}

// flags are the transmission flags (rows 13, 21): what really works.
func (e *Export) flags() uint16 {
	f := flagHasFlags | flagSendFlush | flagSendFUA | flagCanMultiConn
	if e.canCache {
		f |= flagSendCache
	}
	if e.readOnly {
		return f | flagReadOnly
	}
	f |= flagSendWriteZeroes
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
		MinBlock: e.blockSize, PreferredBlock: max(e.blockSize, preferredBlock), MaxBlock: e.maxPayload,
	}, nil
}

// preferredBlock is what a page cache likes, in bytes.
const preferredBlock = 4096

// close leaves the device.
func (e *Export) close(ctx context.Context) error {
	e.background.Wait()
	return e.probe.sess.Close(ctx)
}
