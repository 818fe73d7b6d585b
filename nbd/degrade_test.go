package nbd

import (
	"math"
	"slices"
	"testing"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
)

// A handler that said it knew a command, and does not when it comes (nbd.md
// "NBD to SCSI").
func TestCommandsThatTheHandlerDoesNotKnow(t *testing.T) {
	for _, refusal := range []scsi.Sense{scsi.SenseInvalidOpcode, scsi.SenseInvalidFieldInCDB.AtCDB(1, 0), scsi.SenseInvalidFieldInParameterList} {
		t.Run(refusal.String(), func(t *testing.T) {
			f := newFakeRig(t, fakeTraits{}, Options{})
			for _, op := range []scsi.Opcode{scsi.OpWriteSame16, scsi.OpUnmap, scsi.OpPreFetch16} {
				f.next(op, times(2, sense(refusal))...)
			}
			c := f.open(t)
			data := pattern(1, 1<<20)
			if e := c.Write(0, data, 0); e != nbdtest.OK {
				t.Fatal(e)
			}
			f.forget()
			if e := c.WriteZeroes(4096, 600<<10, 0); e != nbdtest.OK {
				t.Errorf("WRITE_ZEROES: %v", e)
			}
			if ops, want := f.ops(), []scsi.Opcode{scsi.OpWriteSame16, scsi.OpWrite16, scsi.OpWrite16, scsi.OpWrite16}; !slices.Equal(ops, want) {
				t.Errorf("WRITE_ZEROES became %v, want %v", ops, want)
			}
			f.forget()
			if e := c.WriteZeroes(4096, 8192, nbdtest.CmdFlagFUA); e != nbdtest.OK {
				t.Errorf("WRITE_ZEROES with FUA: %v", e)
			}
			if ops, want := f.ops(), []scsi.Opcode{scsi.OpWriteSame16, scsi.OpWrite16, scsi.OpSyncCache16}; !slices.Equal(ops, want) {
				t.Errorf("WRITE_ZEROES with FUA became %v, want %v", ops, want)
			}
			if e := c.Trim(1<<20, 4096, 0); e != nbdtest.OK {
				t.Errorf("TRIM: %v", e)
			}
			f.forget()
			if e := c.Trim(1<<20, 4096, nbdtest.CmdFlagFUA); e != nbdtest.OK {
				t.Errorf("TRIM with FUA: %v", e)
			}
			if ops, want := f.ops(), []scsi.Opcode{scsi.OpUnmap, scsi.OpSyncCache16}; !slices.Equal(ops, want) {
				t.Errorf("TRIM with FUA became %v, want %v", ops, want)
			}
			if e := c.Cache(0, 4096, 0); e != nbdtest.OK {
				t.Errorf("CACHE: %v", e)
			}
			clear(data[4096 : 4096+600<<10])
			reads(t, c, 0, data)
		})
	}
}

// Other errors of the same commands are errors.
func TestAdvisoryCommandsFail(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.open(t)
	f.next(scsi.OpWriteSame16, sense(scsi.SenseSpaceAllocFailed))
	f.next(scsi.OpUnmap, sense(scsi.SenseWriteError))
	f.next(scsi.OpPreFetch16, sense(scsi.SenseReadError))
	if e := c.WriteZeroes(0, 4096, 0); e != nbdtest.ENOSPC {
		t.Errorf("WRITE_ZEROES: %v, want ENOSPC", e)
	}
	if e := c.Trim(0, 4096, 0); e != nbdtest.EIO {
		t.Errorf("TRIM: %v, want EIO", e)
	}
	if e := c.Cache(0, 4096, 0); e != nbdtest.EIO {
		t.Errorf("CACHE: %v, want EIO", e)
	}
}

// Only what works is offered, and what is not offered is refused.
func TestOfferedIsWhatWorks(t *testing.T) {
	const always = nbdtest.FlagHasFlags | nbdtest.FlagSendFlush | nbdtest.FlagSendFUA | nbdtest.FlagCanMultiConn
	const (
		zeroes  = nbdtest.FlagSendWriteZeroes | nbdtest.FlagSendFastZero
		changes = nbdtest.FlagSendTrim | zeroes
	)
	for _, tc := range []struct {
		name                string
		traits              fakeTraits
		flags               uint16
		trim, zeroes, cache nbdtest.Errno
	}{
		{"everything", fakeTraits{}, always | changes | nbdtest.FlagSendCache, 0, 0, 0},
		{"no PRE-FETCH", fakeTraits{unknown: []scsi.Opcode{scsi.OpPreFetch16}}, always | changes, 0, 0, nbdtest.EINVAL},
		{"no UNMAP", fakeTraits{unknown: []scsi.Opcode{scsi.OpUnmap}},
			always | zeroes | nbdtest.FlagSendCache, nbdtest.EINVAL, 0, 0},
		{"thick", fakeTraits{thick: true}, always | nbdtest.FlagSendWriteZeroes | nbdtest.FlagSendCache, nbdtest.EINVAL, 0, 0},
		{"no WRITE SAME", fakeTraits{unknown: []scsi.Opcode{scsi.OpWriteSame16}}, always | changes&^nbdtest.FlagSendFastZero | nbdtest.FlagSendCache, 0, 0, 0},
		{"read only", fakeTraits{readOnly: true}, always | nbdtest.FlagReadOnly | nbdtest.FlagSendCache, nbdtest.EPERM, nbdtest.EPERM, 0},
		{"no REPORT SUPPORTED OPERATION CODES", fakeTraits{unknown: []scsi.Opcode{scsi.OpMaintenanceIn, scsi.OpWriteSame16, scsi.OpUnmap, scsi.OpPreFetch16}},
			always | nbdtest.FlagSendWriteZeroes, nbdtest.EINVAL, 0, nbdtest.EINVAL},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeRig(t, tc.traits, Options{})
			c := f.dial(t)
			c.Hello()
			if e := c.Go("fake"); e.Flags != tc.flags {
				t.Errorf("flags %#x, want %#x", e.Flags, tc.flags)
			}
			for name, e := range map[string][2]nbdtest.Errno{
				"TRIM":         {c.Trim(0, 4096, 0), tc.trim},
				"WRITE_ZEROES": {c.WriteZeroes(0, 4096, 0), tc.zeroes},
				"CACHE":        {c.Cache(0, 4096, 0), tc.cache},
			} {
				if e[0] != e[1] {
					t.Errorf("%s: %v, want %v", name, e[0], e[1])
				}
			}
		})
	}
}

// Long requests become several commands, each within the device's limits; a
// WRITE SAME of one block is never sent, wherever it would come from.
func TestLongRequestsAreSplit(t *testing.T) {
	for _, tc := range []struct {
		name   string
		traits fakeTraits
		opt    Options
		typ    uint16
		offset uint64
		length uint32
		blocks map[scsi.Opcode][]uint64 // how many blocks the commands cover, in order
	}{
		{"TRIM", fakeTraits{limits: scsi.BlockLimits{MaxUnmapBlocks: 10}}, Options{}, nbdtest.CmdTrim, 512, 25 * 512,
			map[scsi.Opcode][]uint64{scsi.OpUnmap: {10, 10, 5}}},
		{"WRITE_ZEROES", fakeTraits{limits: scsi.BlockLimits{MaxWriteSame: 10}}, Options{}, nbdtest.CmdWriteZeroes, 512, 25 * 512,
			map[scsi.Opcode][]uint64{scsi.OpWriteSame16: {10, 10, 5}}},
		{"WRITE_ZEROES with a block left over", fakeTraits{limits: scsi.BlockLimits{MaxWriteSame: 10}}, Options{}, nbdtest.CmdWriteZeroes, 512, 21 * 512,
			map[scsi.Opcode][]uint64{scsi.OpWriteSame16: {10, 10}, scsi.OpWrite16: {1}}},
		{"WRITE_ZEROES of one block", fakeTraits{}, Options{}, nbdtest.CmdWriteZeroes, 512, 512,
			map[scsi.Opcode][]uint64{scsi.OpWrite16: {1}}},
		{"WRITE_ZEROES with WRITE SAME of one block", fakeTraits{limits: scsi.BlockLimits{MaxWriteSame: 1}}, Options{}, nbdtest.CmdWriteZeroes, 512, 5 * 512,
			map[scsi.Opcode][]uint64{scsi.OpWrite16: {5}}},
		{"plain zeroes", fakeTraits{unknown: []scsi.Opcode{scsi.OpWriteSame16}}, Options{}, nbdtest.CmdWriteZeroes, 0, 600 << 10,
			map[scsi.Opcode][]uint64{scsi.OpWrite16: {512, 512, 176}}},
		{"plain zeroes and short transfers", fakeTraits{unknown: []scsi.Opcode{scsi.OpWriteSame16}, limits: scsi.BlockLimits{MaxTransfer: 100}}, Options{},
			nbdtest.CmdWriteZeroes, 0, 250 * 512, map[scsi.Opcode][]uint64{scsi.OpWrite16: {100, 100, 50}}},
		{"plain zeroes of blocks of 64 KiB", fakeTraits{block: 64 << 10, unknown: []scsi.Opcode{scsi.OpWriteSame16}}, Options{},
			nbdtest.CmdWriteZeroes, 64 << 10, 9 * 64 << 10, map[scsi.Opcode][]uint64{scsi.OpWrite16: {4, 4, 1}}},
		{"CACHE", fakeTraits{}, Options{}, nbdtest.CmdCache, 512, 8<<20 - 512, map[scsi.Opcode][]uint64{scsi.OpPreFetch16: {16383}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeRig(t, tc.traits, tc.opt)
			c := f.open(t)
			data := pattern(2, fakeSize)
			f.put(0, data)
			if _, e := c.Do(nbdtest.Request{Type: tc.typ, Offset: tc.offset, Length: tc.length}); e != nbdtest.OK {
				t.Fatal(e)
			}
			if tc.typ != nbdtest.CmdCache {
				clear(data[tc.offset:][:tc.length])
			}
			if !slices.Equal(f.bytes(0, fakeSize), data) {
				t.Error("the medium is not what it should be")
			}
			got := map[scsi.Opcode][]uint64{}
			for _, cdb := range f.executed(0) {
				cmd, _ := scsi.Decode(cdb)
				n := cmd.Count()
				if cmd.Op == scsi.OpUnmap {
					n = 0 // it is in the parameter list, which the medium shows
				}
				got[cmd.Op] = append(got[cmd.Op], n)
			}
			for op, want := range tc.blocks {
				if op == scsi.OpUnmap {
					want = make([]uint64, len(want))
				}
				if !slices.Equal(got[op], want) {
					t.Errorf("%v: %v blocks, want %v", op, got[op], want)
				}
				delete(got, op)
			}
			if len(got) > 0 {
				t.Errorf("also %v", got)
			}
		})
	}
}

// The flags of WRITE SAME: the blocks are given back unless NO_HOLE says
// otherwise.
func TestWriteZeroesKeepsBlocksForNoHole(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	c := f.open(t)
	for flags, unmap := range map[uint16]bool{0: true, nbdtest.CmdFlagNoHole: false} {
		f.forget()
		if e := c.WriteZeroes(0, 8192, flags); e != nbdtest.OK {
			t.Fatal(e)
		}
		cmd, err := scsi.Decode(f.executed(scsi.OpWriteSame16)[0])
		if err != nil || cmd.Unmap != unmap || !cmd.NDOB {
			t.Errorf("flags %#x: %+v, %v", flags, cmd, err)
		}
	}
}

// What a device says of itself that can't be exported.
func TestDevicesThatCannotBeExported(t *testing.T) {
	for _, tc := range []struct {
		name string
		set  func(*scsi.Capacity)
	}{
		{"blocks of 0 bytes", func(c *scsi.Capacity) { c.BlockSize = 0 }},
		{"blocks of 520 bytes", func(c *scsi.Capacity) { c.BlockSize = 520 }},
		{"blocks of 128 KiB", func(c *scsi.Capacity) { c.BlockSize = 128 << 10 }},
		{"2^64 blocks", func(c *scsi.Capacity) { c.LastLBA = math.MaxUint64 }},
		{"2^63 bytes", func(c *scsi.Capacity) { c.LastLBA = 1<<54 - 1 }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFake(t, fakeTraits{capacity: tc.set})
			srv, _ := startServer(t, Options{})
			if _, err := srv.AddExport(t.Context(), ExportConfig{Name: "x", Device: f.dev}); err == nil {
				t.Error("it is exported")
			} else {
				t.Log(err)
			}
			if l := f.dev.Sessions(); len(l) > 0 {
				t.Error("its session is left")
			}
		})
	}
}
