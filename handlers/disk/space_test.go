package disk

import (
	"bytes"
	"errors"
	"testing"

	"scstuser/handlers"
	"scstuser/scsi"
)

func unmapList(ds ...scsi.UnmapDescriptor) []byte {
	b := make([]byte, scsi.UnmapHeaderLen+len(ds)*scsi.UnmapDescriptorLen)
	return b[:scsi.PutUnmapDescriptors(b, ds...)]
}

func unmapCDB(list []byte) []byte {
	return cdb(scsi.Command{Op: scsi.OpUnmap, ParamLen: uint32(len(list))})
}

// filled says whether n blocks from lba on are all b, and their neighbours not.
func (f *fixture) filled(lba, n int, b []byte) bool {
	for i := range testBlocks {
		same := bytes.Equal(f.m.data[i*512:(i+1)*512], b)
		if same != (i >= lba && i < lba+n) {
			return false
		}
	}
	return true
}

func TestWriteSame(t *testing.T) {
	zero := make([]byte, 512)
	for kind, backing := range kinds {
		for _, tt := range []struct {
			name    string
			c       scsi.Command
			pattern []byte
		}{
			{"10", scsi.Command{Op: scsi.OpWriteSame10, LBA: 3, Blocks: 5}, pattern(1, 1)},
			{"16", scsi.Command{Op: scsi.OpWriteSame16, LBA: 3, Blocks: 5}, pattern(2, 1)},
			{"one block", scsi.Command{Op: scsi.OpWriteSame16, LBA: 3, Blocks: 1}, pattern(3, 1)},
			{"to the end", scsi.Command{Op: scsi.OpWriteSame16, LBA: 3}, pattern(4, 1)},
			{"zeroes", scsi.Command{Op: scsi.OpWriteSame16, LBA: 3, Blocks: 5}, zero},
			{"NDOB", scsi.Command{Op: scsi.OpWriteSame16, NDOB: true, LBA: 3, Blocks: 5}, zero},
			{"NDOB, one block", scsi.Command{Op: scsi.OpWriteSame16, NDOB: true, LBA: 3, Blocks: 1}, zero},
			{"NDOB, all", scsi.Command{Op: scsi.OpWriteSame16, NDOB: true}, zero},
		} {
			f := newFixture(t, backing)
			f.good(cdb(tt.c), tt.pattern)
			n := int(tt.c.Blocks)
			if n == 0 {
				n = testBlocks - int(tt.c.LBA)
			}
			if !f.filled(int(tt.c.LBA), n, tt.pattern) {
				t.Errorf("%s, %s: other blocks, or other bytes, were written", kind, tt.name)
			}
		}
	}
}

func TestWriteSameOfMoreThanAChunk(t *testing.T) {
	const blocks = 2*chunkSize/512 + 3
	f := newFixture(t, plain, func(m *mem, _ *Options) { *m = *newMem(blocks * 512) })
	p := pattern(6, 1)
	f.good(cdb(scsi.Command{Op: scsi.OpWriteSame16, Blocks: blocks}), p)
	if !bytes.Equal(f.m.data, bytes.Repeat(p, blocks)) {
		t.Error("other bytes were written")
	}
	f.m.writeErr = badFrom(chunkSize+1024, errors.New("bad"))
	f.fails(scsi.SenseWriteError.WithInfo(chunkSize/512+2), cdb(scsi.Command{Op: scsi.OpWriteSame16, Blocks: blocks}), p)
}

func TestWriteSameOfZeroesTakesTheFastWay(t *testing.T) {
	unsupported := func(m *mem, _ *Options) { m.spaceErr = handlers.ErrNotSupported }
	for _, tt := range []struct {
		name                   string
		unmap                  bool
		edit                   func(*mem, *Options)
		punches, zeros, writes int
	}{
		{"zero", false, nil, 0, 1, 0},
		{"punch", true, nil, 1, 0, 0},
		{"zero not supported", false, unsupported, 0, 1, 1},
		{"punch not supported", true, unsupported, 1, 1, 1},
	} {
		f := newFixture(t, full)
		if tt.edit != nil {
			tt.edit(f.m, nil)
		}
		f.good(cdb(scsi.Command{Op: scsi.OpWriteSame16, NDOB: true, Unmap: tt.unmap, LBA: 1, Blocks: 9}), nil)
		if f.m.punches != tt.punches || f.m.zeros != tt.zeros || f.m.writes != tt.writes {
			t.Errorf("%s: %d punches, %d zeros, %d writes", tt.name, f.m.punches, f.m.zeros, f.m.writes)
		}
		if !f.filled(1, 9, make([]byte, 512)) {
			t.Errorf("%s: not zeroed", tt.name)
		}
	}
	f := newFixture(t, full)
	f.good(cdb(scsi.Command{Op: scsi.OpWriteSame10, Unmap: true, LBA: 1, Blocks: 9}), pattern(1, 1))
	if f.m.punches != 0 || !f.filled(1, 9, pattern(1, 1)) {
		t.Error("UNMAP with a pattern that is not zeroes did not write it")
	}
}

func TestWriteSameErrors(t *testing.T) {
	f := newFixture(t, full, func(_ *mem, o *Options) { o.MaxWriteSame = 8 * 512 })
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(1, 4), cdb(scsi.Command{Op: scsi.OpWriteSame16, Anchor: true, Unmap: true, Blocks: 1}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(10, -1), cdb(scsi.Command{Op: scsi.OpWriteSame16, Blocks: 9}), nil)
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(7, -1), cdb(scsi.Command{Op: scsi.OpWriteSame10}), nil)
	f.good(cdb(scsi.Command{Op: scsi.OpWriteSame10, LBA: testBlocks - 8}), nil)
	f.fails(scsi.SenseLBAOutOfRange, cdb(scsi.Command{Op: scsi.OpWriteSame16, LBA: testBlocks}), nil)
	f.fails(scsi.SenseLBAOutOfRange, cdb(scsi.Command{Op: scsi.OpWriteSame16, LBA: testBlocks - 1, Blocks: 2}), nil)
	lbdata := cdb(scsi.Command{Op: scsi.OpWriteSame10, Blocks: 1})
	lbdata[1] |= 2
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(1, 2), lbdata, nil)
	newFixture(t, plain).fails(scsi.SenseInvalidFieldInCDB.AtCDB(1, 3), cdb(scsi.Command{Op: scsi.OpWriteSame16, Unmap: true, Blocks: 1}), nil)
}

func TestUnmap(t *testing.T) {
	f := newFixture(t, full)
	list := unmapList(scsi.UnmapDescriptor{LBA: 2, Blocks: 3}, scsi.UnmapDescriptor{LBA: 9}, scsi.UnmapDescriptor{LBA: 5, Blocks: 2})
	f.good(unmapCDB(list), list)
	if f.m.punches != 2 || !f.filled(2, 5, make([]byte, 512)) {
		t.Error("unmapped blocks don't read as zeroes, or others do")
	}
	f.good(unmapCDB(nil), nil)
	empty := unmapList()
	f.good(unmapCDB(empty), empty)

	f.m.spaceErr = handlers.ErrNotSupported
	f.good(unmapCDB(list), list)
}

func TestUnmapErrorsTouchNothing(t *testing.T) {
	limits := func(_ *mem, o *Options) { o.MaxUnmap = 8 * 512 }
	f := newFixture(t, full, limits)
	d := func(lba uint64, n uint32) scsi.UnmapDescriptor { return scsi.UnmapDescriptor{LBA: lba, Blocks: n} }
	bad := unmapList(d(0, 1))
	bad[1]--
	many := unmapList(make([]scsi.UnmapDescriptor, maxUnmapDescriptors+1)...)
	param := scsi.SenseInvalidFieldInParameterList.AtParameter
	for _, tt := range []struct {
		name string
		list []byte
		want scsi.Sense
	}{
		{"cut header", unmapList(d(0, 1))[:7], scsi.SenseParameterListLength},
		{"lengths that contradict", bad, param(0, -1)},
		{"second out of range", unmapList(d(0, 1), d(testBlocks, 1)), scsi.SenseLBAOutOfRange},
		{"second overflows", unmapList(d(0, 1), d(1<<64-1, 2)), scsi.SenseLBAOutOfRange},
		{"empty one out of range", unmapList(d(0, 1), d(testBlocks+1, 0)), scsi.SenseLBAOutOfRange},
		{"more blocks than allowed", unmapList(d(0, 5), d(10, 4)), param(8+16+8, -1)},
		{"more descriptors than allowed", many, param(2, -1)},
	} {
		f.fails(tt.want, unmapCDB(tt.list), tt.list)
		if f.m.punches != 0 {
			t.Fatalf("%s: something was unmapped", tt.name)
		}
	}
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(1, 0), cdb(scsi.Command{Op: scsi.OpUnmap, Anchor: true}), nil)
	max := unmapList(make([]scsi.UnmapDescriptor, maxUnmapDescriptors)...)
	f.good(unmapCDB(max), max)

	f.m.spaceErr = errors.New("bad")
	list := unmapList(d(7, 1))
	f.fails(scsi.SenseWriteError.WithInfo(7), unmapCDB(list), list)
}

func TestUnmapNeedsAPuncher(t *testing.T) {
	newFixture(t, cache).fails(scsi.SenseInvalidOpcode, unmapCDB(nil), nil)
}

func TestGetLBAStatus(t *testing.T) {
	f := newFixture(t, full)
	status := func(lba uint64, alloc uint32) []scsi.LBAStatus {
		t.Helper()
		runs, err := scsi.ParseLBAStatus(nil, f.good(cdb(scsi.Command{Op: scsi.OpServiceActionIn16, ServiceAction: scsi.SAGetLBAStatus, LBA: lba, AllocLen: alloc}), nil))
		if err != nil {
			t.Fatal(err)
		}
		return runs
	}
	want := func(what string, got []scsi.LBAStatus, want ...scsi.LBAStatus) {
		t.Helper()
		if len(got) != len(want) {
			t.Errorf("%s: %v, want %v", what, got, want)
			return
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
	}
	mapped, hole := uint8(scsi.LBAMapped), uint8(scsi.LBADeallocated)
	want("all mapped", status(0, 4096), scsi.LBAStatus{Blocks: testBlocks})
	list := unmapList(scsi.UnmapDescriptor{LBA: 8, Blocks: 8}, scsi.UnmapDescriptor{LBA: 60, Blocks: 4})
	f.good(unmapCDB(list), list)
	all := []scsi.LBAStatus{{LBA: 0, Blocks: 8, Status: mapped}, {LBA: 8, Blocks: 8, Status: hole}, {LBA: 16, Blocks: 44, Status: mapped}, {LBA: 60, Blocks: 4, Status: hole}}
	want("with holes", status(0, 4096), all...)
	want("from within a hole", status(10, 4096), append([]scsi.LBAStatus{{LBA: 10, Blocks: 6, Status: hole}}, all[2:]...)...)
	want("room for two", status(0, 8+2*16+15), all[:2]...)
	want("cut within the first", status(0, 23))

	// A block that is a hole in part is mapped, and a hole shrinks to whole
	// blocks.
	f.m.holes[8*512], f.m.holes[16*512-1] = false, false
	want("holes that end within blocks", status(7, 8+3*16), scsi.LBAStatus{LBA: 7, Blocks: 2, Status: mapped}, scsi.LBAStatus{LBA: 9, Blocks: 6, Status: hole}, scsi.LBAStatus{LBA: 15, Blocks: 45, Status: mapped})
	for i := range f.m.holes[20*512 : 40*512] {
		f.m.holes[20*512+i] = i%100 != 0
	}
	want("holes smaller than blocks", status(20, 4096), scsi.LBAStatus{LBA: 20, Blocks: 40, Status: mapped}, all[3])

	f.fails(scsi.SenseLBAOutOfRange, cdb(scsi.Command{Op: scsi.OpServiceActionIn16, ServiceAction: scsi.SAGetLBAStatus, LBA: testBlocks, AllocLen: 24}), nil)
	f.m.spaceErr = handlers.ErrNotSupported
	want("a backing that can't tell", status(1, 4096), scsi.LBAStatus{LBA: 1, Blocks: testBlocks - 1})
	f.m.spaceErr = errors.New("bad")
	f.fails(scsi.SenseReadError.WithInfo(5), cdb(scsi.Command{Op: scsi.OpServiceActionIn16, ServiceAction: scsi.SAGetLBAStatus, LBA: 5, AllocLen: 24}), nil)
	f = newFixture(t, plain)
	want("no Mapper", status(1, 4096), scsi.LBAStatus{LBA: 1, Blocks: testBlocks - 1})
}

// liar is a Mapper that breaks its contract.
type liar struct {
	*mem
	e handlers.Extent
}

func (l liar) NextExtent(int64) (handlers.Extent, error) { return l.e, nil }

func TestGetLBAStatusOfAMapperThatLies(t *testing.T) {
	c := cdb(scsi.Command{Op: scsi.OpServiceActionIn16, ServiceAction: scsi.SAGetLBAStatus, LBA: 2, AllocLen: 4096})
	for _, e := range []handlers.Extent{{Off: 1024}, {Off: 0, Len: 1024}, {Off: 4096, Len: 512}, {Off: 1024, Len: -1}} {
		newFixture(t, func(m *mem) handlers.Backing { return liar{m, e} }).fails(scsi.SenseReadError.WithInfo(2), c, nil)
	}
	f := newFixture(t, func(m *mem) handlers.Backing { return liar{m, handlers.Extent{Len: 1<<63 - 1, Hole: true}} })
	wantHex(t, "an extent beyond the end", f.good(c, nil), "0000001400000000", "0000000000000002", "0000003e", "01000000")
}

func TestLongRunsAreSplit(t *testing.T) {
	f := newFixture(t, plain)
	f.d.blocks.Store(1<<32 + 5)
	wantHex(t, "more than 2^32-1 blocks", f.good(cdb(scsi.Command{Op: scsi.OpServiceActionIn16, ServiceAction: scsi.SAGetLBAStatus, LBA: 2, AllocLen: 4096}), nil),
		"0000002400000000", "0000000000000002", "ffffffff", "00000000", "0000000100000001", "00000004", "00000000")
}
