package target

import (
	"sync/atomic"

	"scstuser/scsi"
)

// Range is a run of blocks.
type Range struct {
	LBA, Blocks uint64
}

// writeSameChunk bounds one internal WRITE, in bytes.
const writeSameChunk = 256 << 10

// writeSame is a WRITE SAME that the handler wants the target to carry out.
type writeSame struct {
	c      *Cmd
	ranges []Range
	// step says who goes on after a write: 0 nobody yet, 1 its completion,
	// 2 the loop that submitted it. Without it a write that completes inside
	// submit would recurse once per chunk.
	step   atomic.Int32
	status scsi.Status
	sense  []byte
}

// WriteSame carries a WRITE SAME out as WRITE(16) commands of c's session,
// each block being the one in c.Buf, and then calls Done (rule R60). The
// ranges lie inside what c's CDB names. c is at exec.
func (c *Cmd) WriteSame(ranges []Range) {
	w := &writeSame{c: c, ranges: append([]Range(nil), ranges...)}
	w.loop()
}

// loop submits writes until one does not complete at once.
func (w *writeSame) loop() {
	for w.next() {
		if w.step.CompareAndSwap(0, 1) {
			return
		}
	}
	w.c.SetStatus(w.status)
	if w.status == scsi.CheckCondition {
		w.c.SetSenseBytes(w.sense)
	}
	w.c.Done()
}

// next submits one write; false: there is nothing left to do.
func (w *writeSame) next() bool {
	if w.status != scsi.Good {
		return false
	}
	if w.c.aborted.Load() {
		w.c.setAborted()
		w.status, w.sense = w.c.Status, append([]byte(nil), w.c.Sense()...)
		return false
	}
	for len(w.ranges) > 0 && w.ranges[0].Blocks == 0 {
		w.ranges = w.ranges[1:]
	}
	if len(w.ranges) == 0 {
		return false
	}
	block := int(w.c.sess.dev.opt.BlockSize)
	r := &w.ranges[0]
	n := min(r.Blocks, uint64(max(writeSameChunk/block, 1)))
	cdb := scsi.EncodeWrite16(r.LBA, uint32(n), false)
	r.LBA += n
	r.Blocks -= n
	w.step.Store(0)
	i := &internalCmd{parent: w.c, fill: w.fill, over: w.over}
	w.c.sess.submitInternal(i, cdb.Slice())
	return true
}

func (w *writeSame) fill(buf []byte) {
	block := w.c.Buf[:w.c.sess.dev.opt.BlockSize]
	for len(buf) > 0 {
		buf = buf[copy(buf, block):]
	}
}

func (w *writeSame) over(i *internalCmd) {
	w.status, w.sense = i.status, i.sense
	if w.step.CompareAndSwap(0, 2) {
		return
	}
	w.loop()
}
