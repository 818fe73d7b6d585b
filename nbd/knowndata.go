package nbd

import (
	"slices"
	"sync/atomic"

	"scstuser/scsi"
)

// knownData remembers where an export has data, so that a READ there need not
// ask for holes. To forget some of it, or to take a hole for data, costs time
// and nothing else: the zeroes are read and sent. Holes are not remembered,
// because anybody may write there.
//
// It is read on every READ with structured replies, and takes no lock.
type knownData struct {
	known atomic.Pointer[dataMap]
	// holes counts what may have made new holes; a map that is older is not
	// used.
	holes atomic.Uint64
}

// dataMap is a list of runs of data, ascending and apart from each other, as
// they were when knownData.holes had the value state.
type dataMap struct {
	state uint64
	spans []span
}

// span is the blocks from start up to end.
type span struct{ start, end uint64 }

// maxSpans bounds a map; with more it starts anew.
const maxSpans = 1024

// covers says whether n blocks from lba are known to be data.
func (d *knownData) covers(lba, n uint64) bool {
	m := d.known.Load()
	if m == nil || m.state != d.holes.Load() {
		return false
	}
	i := m.search(lba)
	return i < len(m.spans) && m.spans[i].start <= lba && n <= m.spans[i].end-lba
}

// search returns the index of the first span that ends behind lba.
func (m *dataMap) search(lba uint64) int {
	lo, hi := 0, len(m.spans)
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if m.spans[mid].end > lba {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo
}

// state is what learn wants to know: take it before the device is asked.
func (d *knownData) state() uint64 { return d.holes.Load() }

// forget is called when a request may have made holes, before it is answered.
func (d *knownData) forget() { d.holes.Add(1) }

// learn takes note of the runs of data among those that the device answered to a
// question that was asked at state.
func (d *knownData) learn(state uint64, runs []scsi.LBAStatus) {
	if state != d.holes.Load() || !d.isNews(runs) {
		return
	}
	next := &dataMap{state: state}
	if m := d.known.Load(); m != nil && m.state == state {
		next.spans = slices.Clone(m.spans)
	}
	for _, s := range runs {
		if s.Status == scsi.LBAMapped && s.Blocks > 0 {
			next.add(span{s.LBA, s.LBA + uint64(s.Blocks)})
		}
	}
	// Whoever else learns at the same time may win: a pity, and no harm.
	d.known.Store(next)
}

// isNews says whether any of the runs is data that is not known.
func (d *knownData) isNews(runs []scsi.LBAStatus) bool {
	return slices.ContainsFunc(runs, func(s scsi.LBAStatus) bool {
		return s.Status == scsi.LBAMapped && !d.covers(s.LBA, uint64(s.Blocks))
	})
}

// add merges s into the list.
func (m *dataMap) add(s span) {
	i := m.search(s.start)
	if i > 0 && m.spans[i-1].end == s.start {
		i--
	}
	j := i
	for ; j < len(m.spans) && m.spans[j].start <= s.end; j++ {
		s.start, s.end = min(s.start, m.spans[j].start), max(s.end, m.spans[j].end)
	}
	if j == i && len(m.spans) >= maxSpans {
		m.spans, i, j = m.spans[:0], 0, 0
	}
	m.spans = slices.Replace(m.spans, i, j, s)
}
