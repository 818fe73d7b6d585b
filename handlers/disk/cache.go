package disk

import (
	"errors"

	"scstuser/handlers"
	"scstuser/scsi"
)

// syncCache is SYNCHRONIZE CACHE 10 and 16. The whole cache is synced whatever the
// range, and IMMED does not make the answer come earlier: an error could only be
// told to another command then.
func (d *Disk) syncCache(r *handlers.Request, c scsi.Command) {
	if _, ok := d.toEnd(r, c.LBA, c.Blocks); !ok || d.opts.NVCache {
		return
	}
	if s, ok := d.syncSense(d.sync()); !ok {
		r.Fail(s)
	}
}

// maxPrefetch bounds what one PRE-FETCH reads ahead, in bytes.
const maxPrefetch = 64 << 20

// preFetch is PRE-FETCH 10 and 16. CONDITION MET says that the Backing reads all of
// the blocks into memory; GOOD, that it does not (SBC-3, 5.11).
func (d *Disk) preFetch(r *handlers.Request, c scsi.Command) {
	n, ok := d.toEnd(r, c.LBA, c.Blocks)
	if !ok || d.prefetcher == nil {
		return
	}
	most := uint64(maxPrefetch) >> d.shift
	err := d.prefetcher.Prefetch(int64(c.LBA<<d.shift), int64(min(n, most)<<d.shift))
	switch {
	case errors.Is(err, handlers.ErrNotSupported):
	case err != nil:
		r.Fail(d.readSense(err, c.LBA, 0))
	case n <= most:
		r.Status = scsi.ConditionMet
	}
}
