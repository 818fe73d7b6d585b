package target

import (
	"math"
	"slices"
	"sync/atomic"

	"scstuser/scsi"
)

// Range is a run of blocks.
type Range struct {
	LBA, Blocks uint64
}

// writeSameChunk bounds one internal WRITE, in bytes.
const writeSameChunk = 256 << 10

// writeSame is a WRITE SAME that the handler wants the target to carry out:
// one internal WRITE after the other.
type writeSame struct {
	internalCmd
	ranges []Range
	// step says who goes on after a write.
	step atomic.Int32
}

// The steps of a write. Without them one that completes inside submit would
// nest, once per chunk.
const (
	stepSubmitted int32 = iota
	stepLeft            // the loop has ended: the write's completion goes on
	stepOver            // the write is over: the loop goes on
)

// WriteSame carries a WRITE SAME out as WRITE(16) commands of c's session,
// each block being the one in c.Buf, and then calls Done (rule R60). c is at
// exec. Ranges that are not inside what c's CDB names (to the end of the
// medium, if that is 0 blocks) and a buffer of less than a block end it with
// HARDWARE ERROR.
func (c *Cmd) WriteSame(ranges []Range) {
	block := int(c.sess.dev.opt.BlockSize)
	if len(c.Buf) < block || !c.coversRanges(ranges) {
		c.SetSense(scsi.SenseHardwareInternalFailure)
		c.Done()
		return
	}
	w := &writeSame{ranges: slices.Clone(ranges)}
	w.parent, w.fill, w.over = c, w.fillBlocks, w.writeOver
	w.loop()
}

// coversRanges says whether all ranges are inside what c's CDB names.
func (c *Cmd) coversRanges(ranges []Range) bool {
	total := uint64(c.DataLen) / uint64(c.sess.dev.opt.BlockSize)
	if total == 0 {
		total = math.MaxUint64 - c.LBA
	}
	for _, r := range ranges {
		// Offsets, not sums: those could overflow.
		if at := r.LBA - c.LBA; r.LBA < c.LBA || at > total || r.Blocks > total-at {
			return false
		}
	}
	return true
}

// loop submits writes until one does not complete at once.
func (w *writeSame) loop() {
	for w.next() {
		if w.step.CompareAndSwap(stepSubmitted, stepLeft) {
			return
		}
	}
	c := w.parent
	if w.lost {
		c.Retry()
		return
	}
	c.SetStatus(w.status)
	if w.status == scsi.CheckCondition {
		c.SetSenseBytes(w.sense)
	}
	c.Done()
}

// next submits one write; false: there is nothing left to do, status and
// sense are the outcome.
func (w *writeSame) next() bool {
	for len(w.ranges) > 0 && w.ranges[0].Blocks == 0 {
		w.ranges = w.ranges[1:]
	}
	if w.status != scsi.Good || len(w.ranges) == 0 {
		return false
	}
	c := w.parent
	if c.aborted.Load() {
		c.setAborted()
		w.status, w.sense = c.Status, slices.Clone(c.Sense())
		return false
	}
	block := int(c.sess.dev.opt.BlockSize)
	r := &w.ranges[0]
	n := min(r.Blocks, uint64(max(writeSameChunk/block, 1)))
	cdb := scsi.EncodeWrite16(r.LBA, uint32(n), false)
	r.LBA += n
	r.Blocks -= n
	w.step.Store(stepSubmitted)
	c.sess.submitInternal(&w.internalCmd, cdb.Slice(), scsi.QueueSimple)
	return true
}

// fillBlocks repeats the parent's block.
func (w *writeSame) fillBlocks(buf []byte) {
	block := w.parent.Buf[:w.parent.sess.dev.opt.BlockSize]
	for len(buf) > 0 {
		buf = buf[copy(buf, block):]
	}
}

// writeOver takes the end of a write.
func (w *writeSame) writeOver() {
	if !w.step.CompareAndSwap(stepSubmitted, stepOver) {
		w.loop()
	}
}
