package volatiledisk

import (
	"fmt"
	"math/rand/v2"
)

// Policy is what becomes of a cache when the power goes.
type Policy uint8

// The policies. A disk may write its cache to the medium in any order, so each of
// them is something that disks do.
const (
	// LoseAll: nothing of it gets to the medium.
	LoseAll Policy = iota
	// KeepAll: it was all on its way.
	KeepAll
	// SomeWrites: each write does or does not.
	SomeWrites
	// SomeParts: each part of each write, of the size that is written whole,
	// does or does not.
	SomeParts
	// Prefix: the first so many writes do, and a part of the next.
	Prefix
	numPolicies
)

// String names the policy.
func (p Policy) String() string {
	return [numPolicies]string{"all lost", "all kept", "some writes kept", "some parts kept", "a prefix kept"}[p]
}

// Loss says what a cut has done.
type Loss struct {
	Policy Policy
	// Writes were in the cache, Sectors of theirs, and Lost of these are not
	// on the medium.
	Writes, Sectors, Lost int
}

// String tells it on one line.
func (l Loss) String() string {
	return fmt.Sprintf("%d writes in the cache, %v: %d of %d sectors lost", l.Writes, l.Policy, l.Lost, l.Sectors)
}

// CutAfter makes the power go by itself when so many more changes and flushes
// were carried out: the next one hangs, and all after it. HasCut tells when that
// happens; what of the cache is on the medium is decided by Cut.
func (d *Disk) CutAfter(commands int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.until = max(commands, 0)
}

// HasCut is closed when the power has gone.
func (d *Disk) HasCut() <-chan struct{} { return d.cut }

// PullPlug makes the power go now. It may be called again. Without a Cut after it
// nothing of the cache gets to the medium.
func (d *Disk) PullPlug() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.powerOff()
}

// powerOff is the moment itself. The caller holds mu.
func (d *Disk) powerOff() {
	if !d.off {
		d.off = true
		close(d.cut)
	}
}

// Cut makes the power go, if it has not gone yet, and decides with rng what of
// the cache is on the medium. It is called once, before Close.
func (d *Disk) Cut(rng *rand.Rand) Loss { return d.CutAs(Policy(rng.IntN(int(numPolicies))), rng) }

// CutAs is Cut with a certain policy.
func (d *Disk) CutAs(p Policy, rng *rand.Rand) Loss {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.powerOff()
	loss := Loss{Policy: p}
	keep := p.decide(rng, len(d.cache))
	for i, c := range d.cache {
		if !c.durable {
			loss.Writes++
		}
		for at, next := c.off, int64(0); at < c.off+c.n; at = next {
			next = min((at/d.whole+1)*d.whole, c.off+c.n)
			// What was durable replaces what is before it in the cache.
			kept := c.durable || keep(i, at-c.off, c.n)
			if kept {
				d.apply(d.m.chunks, at/chunkSize, c, at, next-at, false)
			}
			if !c.durable {
				loss.Sectors += int((next - at) / SectorSize)
			}
			if !kept {
				loss.Lost += int((next - at) / SectorSize)
			}
		}
	}
	d.cache, d.now = nil, nil
	return loss
}

// decide returns who says whether the part at byte s (of n) of change i gets to
// the medium. It is asked in order, about each change.
func (p Policy) decide(rng *rand.Rand, changes int) func(i int, s, n int64) bool {
	switch p {
	case LoseAll:
		return func(int, int64, int64) bool { return false }
	case KeepAll:
		return func(int, int64, int64) bool { return true }
	case SomeWrites:
		odds := rng.Float64()
		last, kept := -1, false
		return func(i int, _, _ int64) bool {
			if i != last {
				last, kept = i, rng.Float64() < odds
			}
			return kept
		}
	case SomeParts:
		odds := rng.Float64()
		return func(int, int64, int64) bool { return rng.Float64() < odds }
	}
	end, part := rng.IntN(changes+1), rng.Float64()
	return func(i int, s, n int64) bool {
		return i < end || i == end && float64(s) < part*float64(n)
	}
}
