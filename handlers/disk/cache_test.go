package disk

import (
	"errors"
	"testing"

	"scstuser/handlers"
	"scstuser/scsi"
)

func TestSynchronizeCache(t *testing.T) {
	for _, op := range []scsi.Opcode{scsi.OpSyncCache10, scsi.OpSyncCache16} {
		f := newFixture(t, full)
		for _, c := range []scsi.Command{{Op: op}, {Op: op, Immed: true}, {Op: op, LBA: 1, Blocks: 2}, {Op: op, LBA: testBlocks - 1}} {
			f.good(cdb(scsi.Command{Op: scsi.OpWrite10, LBA: 9, Blocks: 1}), pattern(byte(f.m.syncs), 1))
			f.good(cdb(c), nil)
			if !f.m.isStable() {
				t.Errorf("%+v: not everything is stable", c)
			}
		}
		f.fails(scsi.SenseLBAOutOfRange, cdb(scsi.Command{Op: op, LBA: testBlocks}), nil)
		f.fails(scsi.SenseLBAOutOfRange, cdb(scsi.Command{Op: op, LBA: 1, Blocks: testBlocks}), nil)

		f = newFixture(t, full, nvCache)
		f.good(cdb(scsi.Command{Op: op}), nil)
		if f.m.syncs != 0 {
			t.Error("synced a non-volatile cache")
		}
		newFixture(t, plain).good(cdb(scsi.Command{Op: op}), nil)
	}
}

func TestPreFetch(t *testing.T) {
	for _, op := range []scsi.Opcode{scsi.OpPreFetch10, scsi.OpPreFetch16} {
		f := newFixture(t, full)
		if r := f.exec(cdb(scsi.Command{Op: op, LBA: 2, Blocks: 3}), nil); r.Status != scsi.ConditionMet || f.m.prefetched != [2]int64{2 * 512, 3 * 512} {
			t.Errorf("%v, prefetched %v", r.Status, f.m.prefetched)
		}
		if r := f.exec(cdb(scsi.Command{Op: op, LBA: 2}), nil); r.Status != scsi.ConditionMet || f.m.prefetched != [2]int64{2 * 512, (testBlocks - 2) * 512} {
			t.Errorf("to the end: %v, prefetched %v", r.Status, f.m.prefetched)
		}
		f.fails(scsi.SenseLBAOutOfRange, cdb(scsi.Command{Op: op, LBA: testBlocks - 1, Blocks: 2}), nil)
		f.m.prefetchErr = handlers.ErrNotSupported
		f.good(cdb(scsi.Command{Op: op, LBA: 2, Blocks: 3}), nil)
		f.m.prefetchErr = errors.New("bad")
		f.fails(scsi.SenseReadError.WithInfo(2), cdb(scsi.Command{Op: op, LBA: 2, Blocks: 3}), nil)
		newFixture(t, plain).good(cdb(scsi.Command{Op: op, Blocks: 1}), nil)
	}
}

func TestPreFetchIsBounded(t *testing.T) {
	f := newFixture(t, full, func(m *mem, o *Options) { *m = *newMem(maxPrefetch + 512) })
	f.good(cdb(scsi.Command{Op: scsi.OpPreFetch10}), nil)
	if f.m.prefetched != [2]int64{0, maxPrefetch} {
		t.Errorf("prefetched %v", f.m.prefetched)
	}
}
