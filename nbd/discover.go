package nbd

import (
	"context"
	"fmt"
	"math"
	"math/bits"

	"scstuser/scsi"
)

// caps is what a device can do.
type caps struct {
	// blockSize is the logical block size, maxPayload the longest READ or
	// WRITE, preferredBlock what clients should use; all in bytes.
	blockSize, preferredBlock, maxPayload uint32
	readOnly                              bool
	// fua: READ and WRITE take the FUA bit; else a sync follows.
	fua               bool
	canTrim, canCache bool
	canWriteSame      bool // with NDOB; else zeroes are written
	canWriteSameUnmap bool // and unmapped blocks read as zeroes
	// fastUnmap and fastKeep: WRITE SAME of zeroes, with and without UNMAP, is
	// faster than writing them.
	fastUnmap, fastKeep bool
	// canMap: GET LBA STATUS tells holes. holesAreZero: and they read as
	// zeroes.
	canMap, holesAreZero bool
	rotational           bool
	// maxUnmap, maxWriteSame and zeroBlocks (for plain writes of zeroes) are
	// what one command covers at most, in blocks.
	maxUnmap, maxWriteSame, zeroBlocks uint64
}

// pageSize is what a page cache likes, in bytes.
const pageSize = 4096

// discover asks the device what it can do. Only the capacity is a must: what
// the device does not tell it is taken not to have.
func (e *Export) discover(ctx context.Context, maxPayload uint32) error {
	c, err := e.probe.capacity(ctx)
	if err != nil {
		return err
	}
	if b := c.BlockSize; bits.OnesCount32(b) != 1 || b > maxMinBlock {
		return fmt.Errorf("a block size of %d bytes can't be exported: NBD takes powers of two up to %d", b, maxMinBlock)
	}
	size, err := sizeOf(c)
	if err != nil {
		return err
	}
	e.blockSize = c.BlockSize
	e.size.Store(size)
	if b, err := e.probe.do(ctx, scsi.EncodeModeSense10(true, 0, 0x3f, 0, 252)); err == nil {
		if h, _, _, err := scsi.ParseModeHeader10(b); err == nil {
			e.readOnly, e.fua = h.WriteProtected, h.DPOFUA
		}
	}
	if err := e.discoverLimits(ctx, maxPayload); err != nil {
		return err
	}
	if c.LBPME {
		e.discoverProvisioning(ctx, c.LBPRZ)
	}
	e.canWriteSame = !e.readOnly && e.probe.supports(ctx, scsi.OpWriteSame16)
	e.canTrim = e.canTrim && !e.readOnly && e.probe.supports(ctx, scsi.OpUnmap)
	e.canCache = e.probe.supports(ctx, scsi.OpPreFetch16)
	e.canMap = c.LBPME && e.probe.supportsAction(ctx, scsi.OpServiceActionIn16, scsi.SAGetLBAStatus)
	e.holesAreZero = e.canMap && c.LBPRZ
	e.discoverZeroing(ctx)
	e.rotational = e.probe.rotates(ctx)
	return ctx.Err()
}

// sizeOf is the size of a device in bytes. NBD has 64 bits for it; offsets of
// files, and so most clients, have 63.
func sizeOf(c scsi.Capacity) (uint64, error) {
	if c.LastLBA >= math.MaxInt64/uint64(c.BlockSize) {
		return 0, fmt.Errorf("a device whose last block is %d can't be exported: it ends beyond 2^63 bytes", c.LastLBA)
	}
	return (c.LastLBA + 1) * uint64(c.BlockSize), nil
}

// discoverLimits reads the Block Limits page (SBC-3, 6.6.3). A limit of 0 there
// is none.
func (e *Export) discoverLimits(ctx context.Context, maxPayload uint32) error {
	var l scsi.BlockLimits
	if b, err := e.probe.do(ctx, scsi.EncodeInquiry(true, scsi.VPDBlockLimits, 252)); err == nil {
		l, _ = scsi.ParseVPDBlockLimits(b)
	}
	most := uint64(maxPayload / e.blockSize)
	if l.MaxTransfer > 0 {
		most = min(most, uint64(l.MaxTransfer))
	}
	if most == 0 {
		return fmt.Errorf("a payload limit of %d bytes is less than a block of %d", maxPayload, e.blockSize)
	}
	e.maxPayload = uint32(most) * e.blockSize
	e.preferredBlock = max(e.blockSize, min(pageSize, uint32(1)<<(bits.Len32(e.maxPayload)-1)))
	e.zeroBlocks = min(most, zeroPiece/uint64(e.blockSize))
	e.maxUnmap = limit(uint64(l.MaxUnmapBlocks))
	e.maxWriteSame = limit(l.MaxWriteSame)
	return nil
}

// limit is a limit of the Block Limits page as a number of blocks that a CDB or
// an UNMAP descriptor has room for.
func limit(blocks uint64) uint64 {
	if blocks == 0 {
		return math.MaxUint32
	}
	return min(blocks, math.MaxUint32)
}

// discoverProvisioning reads the Logical Block Provisioning page (SBC-3, 6.6.4).
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
