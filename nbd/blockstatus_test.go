package nbd

import (
	"math"
	"slices"
	"testing"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

// Row 18: what the device says, as extents.
func TestRow18Extents(t *testing.T) {
	const terabyte = 1 << 40
	type run struct {
		lba    uint64
		blocks uint32
		status uint8
	}
	type runs = []run
	type extent struct{ length, state uint64 }
	type extents = []extent
	data, hole, anchored := uint8(scsi.LBAMapped), uint8(scsi.LBADeallocated), uint8(scsi.LBAAnchored)
	for _, tc := range []struct {
		name                 string
		runs                 runs
		flags                uint16
		offset, length       uint64
		structured, extended extents
	}{
		{"the last one goes past the request", runs{{0, 8, data}, {8, 100, hole}, {108, 4, data}}, 0, 0, 8192,
			extents{{4096, 0}, {51200, 3}}, nil},
		{"REQ_ONE does not", runs{{0, 800, hole}}, nbdtest.CmdFlagReqOne, 0, 8192, extents{{8192, 3}}, nil},
		{"REQ_ONE is one, whatever the device says", runs{{0, 8, hole}, {8, 8, data}}, nbdtest.CmdFlagReqOne, 0, 8192, extents{{4096, 3}}, nil},
		{"alike ones are one", runs{{0, 8, data}, {8, 8, data}, {16, 8, hole}, {24, 8, hole}, {32, 8, data}}, 0, 0, 1 << 20,
			extents{{8192, 0}, {8192, 3}, {4096, 0}}, nil},
		{"anchored blocks are zeroes with space", runs{{0, 8, anchored}, {8, 8, hole}}, 0, 0, 8192, extents{{4096, 2}, {4096, 3}}, nil},
		{"begins inside a run", runs{{2, 20, hole}}, 0, 4096, 4096, extents{{22*512 - 4096, 3}}, nil},
		{"parts of blocks", runs{{0, 8, hole}, {8, 8, data}}, 0, 100, 4096, extents{{3996, 3}, {4096, 0}}, nil},
		{"more than 32 bits", runs{{0, math.MaxUint32, hole}}, 0, 0, 1 << 20, extents{{1<<32 - 512, 3}}, extents{{math.MaxUint32 * 512, 3}}},
		{"more than 32 bits of data, then others", runs{{0, 1 << 24, data}, {1 << 24, 8, hole}}, 0, 0, 1 << 20,
			extents{{1<<32 - 512, 0}}, extents{{1 << 33, 0}}},
		{"nothing", runs{}, 0, 0, 8192, extents{{8192, 0}}, nil},
		{"cut at the end of the export", runs{{0, math.MaxUint32, data}, {math.MaxUint32, 1, hole}}, 0, 2*terabyte - 1<<20, 1 << 20,
			extents{{1<<20 - 512, 0}, {512, 3}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			for m, want := range map[nbdtest.Mode]extents{nbdtest.Structured: tc.structured, nbdtest.Extended: tc.extended} {
				if want == nil {
					want = tc.structured
				}
				f := newFakeRig(t, fakeTraits{capacity: func(c *scsi.Capacity) { c.LastLBA = math.MaxUint32 }}, Options{})
				c := f.openChunked(t, m)
				f.next(scsi.OpServiceActionIn16, func(cmd *target.Cmd) {
					var l []scsi.LBAStatus
					for _, r := range tc.runs {
						l = append(l, scsi.LBAStatus{LBA: r.lba, Blocks: r.blocks, Status: r.status})
					}
					cmd.SetStatus(scsi.Good)
					cmd.RespLen = int32(copy(cmd.Buf, scsi.AppendLBAStatus(nil, l...)))
					cmd.Done()
				})
				l, e := c.BlockStatus(tc.offset, tc.length, tc.flags)
				var got extents
				for _, x := range l {
					got = append(got, extent{x.Length, x.State})
				}
				if e != nbdtest.OK || !slices.Equal(got, want) {
					t.Errorf("%v: %v, %v; want %v", m, got, e, want)
				}
			}
		})
	}
}

// A device that can't tell its holes has none, without being asked; one that
// does not say what holes read as has holes that may be anything.
func TestRow18DevicesWithoutAMap(t *testing.T) {
	for _, tc := range []struct {
		name   string
		traits fakeTraits
		asked  bool
		state  uint64
	}{
		{"no GET LBA STATUS", fakeTraits{noMap: true}, false, 0},
		{"thick", fakeTraits{thick: true}, false, 0},
		{"holes of garbage", fakeTraits{capacity: func(c *scsi.Capacity) { c.LBPRZ = false }}, true, nbdtest.StateHole},
		{"holes of zeroes", fakeTraits{}, true, nbdtest.StateHole | nbdtest.StateZero},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeRig(t, tc.traits, Options{})
			c := f.openChunked(t, nbdtest.Structured)
			l, e := c.BlockStatus(0, 1<<20, nbdtest.CmdFlagReqOne)
			if e != nbdtest.OK || !slices.Equal(l, []nbdtest.Extent{{Length: 1 << 20, State: tc.state}}) {
				t.Errorf("%v, %v", l, e)
			}
			if asked := len(f.executed(scsi.OpServiceActionIn16)) > 0; asked != tc.asked {
				t.Errorf("the device is asked: %v", asked)
			}
			reply := c.Ask(readOf(1, 0, 4096))
			if zero := tc.state&nbdtest.StateZero != 0; reply.Errno != nbdtest.OK || (reply.Holes > 0) != zero {
				t.Errorf("READ: %v, %d bytes of holes", reply.Errno, reply.Holes)
			}
		})
	}
}

// Row 18: an error of the device is told.
func TestRow18DeviceFails(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.openChunked(t, nbdtest.Structured)
	f.next(scsi.OpServiceActionIn16, sense(scsi.SenseReadError))
	r := c.Ask(nbdtest.Request{Type: nbdtest.CmdBlockStatus, Length: 4096})
	if r.Errno != nbdtest.EIO || r.Message == "" {
		t.Errorf("%v %q, want EIO", r.Errno, r.Message)
	}
	if _, e := c.BlockStatus(0, 4096, 0); e != nbdtest.OK {
		t.Error(e)
	}
}
