package disk

import (
	"errors"
	"strings"
	"testing"

	"scstuser/handlers"
	"scstuser/scsi"
	"scstuser/ucmd"
)

func TestNewErrors(t *testing.T) {
	for _, tt := range []struct {
		name, want string
		size       int
		o          Options
	}{
		{"no name", "name", 4096, Options{}},
		{"block size not a power of two", "block size 520", 4096, Options{Name: "d", BlockSize: 520}},
		{"block size too small", "block size 256", 4096, Options{Name: "d", BlockSize: 256}},
		{"block size too large", "block size 131072", 4096, Options{Name: "d", BlockSize: 131072}},
		{"negative block size", "block size -512", 4096, Options{Name: "d", BlockSize: -512}},
		{"physical block too small", "physical block size 512", 4096, Options{Name: "d", BlockSize: 4096, PhysicalBlockSize: 512}},
		{"physical block odd", "physical block size 5000", 4096, Options{Name: "d", PhysicalBlockSize: 5000}},
		{"physical block too large", "physical block size", 4096, Options{Name: "d", PhysicalBlockSize: 512 << 16}},
		{"transfers of less than a block", "transfer length 511", 4096, Options{Name: "d", MaxTransfer: 511}},
		{"negative limit", "UNMAP length -1", 4096, Options{Name: "d", MaxUnmap: -1}},
		{"no room for a block", "4095 bytes", 4095, Options{Name: "d", BlockSize: 4096}},
	} {
		_, err := New(plain(newMem(tt.size)), tt.o)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
	m := newMem(4096)
	if _, err := New(struct {
		*mem
		withDurable
	}{m, withDurable{m}}, Options{Name: "d"}); err == nil {
		t.Error("a cache that can't be synced was accepted")
	}
}

func TestTailIsNotUsed(t *testing.T) {
	f := newFixture(t, full, func(m *mem, o *Options) { *m = *newMem(10*512 + 511) })
	if f.d.Size() != 5120 || f.d.BlockSize() != 512 {
		t.Errorf("size %d, block size %d", f.d.Size(), f.d.BlockSize())
	}
	f.fails(scsi.SenseLBAOutOfRange, cdb(scsi.Command{Op: scsi.OpRead10, LBA: 10, Blocks: 1}), nil)
}

func TestAlignmentBecomesThePhysicalBlock(t *testing.T) {
	f := newFixture(t, func(m *mem) handlers.Backing {
		return struct {
			*mem
			withAlign
		}{m, withAlign{8192}}
	})
	if b := f.good(cdb(scsi.Command{Op: scsi.OpServiceActionIn16, ServiceAction: scsi.SAReadCapacity16, AllocLen: 32}), nil); b[13] != 4 {
		t.Errorf("physical block exponent %d", b[13])
	}
}

func TestResize(t *testing.T) {
	f := newFixture(t, full)
	check := func(what string, changed bool, size int64, fails bool) {
		t.Helper()
		c, s, err := f.d.Resize()
		if c != changed || s != size || (err != nil) != fails || f.d.Size() != size {
			t.Errorf("%s: %v, %d, %v; size %d", what, c, s, err, f.d.Size())
		}
	}
	check("nothing new", false, testBlocks*512, false)
	f.m.size = 20*512 + 100
	check("smaller, with a tail", true, 20*512, false)
	check("the same again", false, 20*512, false)
	f.fails(scsi.SenseLBAOutOfRange, cdb(scsi.Command{Op: scsi.OpRead10, LBA: 20, Blocks: 1}), nil)
	f.m.size, f.m.refreshErr = 1, errors.New("gone")
	check("an error", false, 20*512, true)
	f.m.size, f.m.refreshErr = 0, nil
	check("nothing left", true, 0, false)
	f.fails(scsi.SenseMediumNotPresent, cdb(scsi.Command{Op: scsi.OpTestUnitReady}), nil)
	f.fails(scsi.SenseMediumNotPresent, cdb(scsi.Command{Op: scsi.OpReadCapacity10}), nil)
	f.fails(scsi.SenseMediumNotPresent, cdb(scsi.Command{Op: scsi.OpSyncCache10}), nil)
	f.m.size = testBlocks * 512
	check("back", true, testBlocks*512, false)
	f.good(cdb(scsi.Command{Op: scsi.OpTestUnitReady}), nil)

	f = newFixture(t, plain)
	check("no Resizer", false, testBlocks*512, false)
}

func TestSessionsAreAccepted(t *testing.T) {
	f := newFixture(t, plain)
	if err := f.d.Attach(1, &ucmd.SessInfo{}); err != nil {
		t.Error(err)
	}
	f.d.Detach(1)
}

func TestParse(t *testing.T) {
	f := newFixture(t, full)
	parse := func(c scsi.Command) *ucmd.Reply {
		sub, reply := ucmd.Subcommand{Code: ucmd.SubParse, QueueType: scsi.QueueSimple}, ucmd.Reply{}
		sub.CDBLen = uint16(copy(sub.CDB[:], cdb(c)))
		f.d.Parse(&sub, &reply)
		return &reply
	}
	r := parse(scsi.Command{Op: scsi.OpWrite10, LBA: 7, Blocks: 2})
	if r.Status != scsi.Good || r.Dir != scsi.DirWrite || r.LBA != 7 || r.DataLen != 1024 || r.BufLen != 1024 || r.CDBLen != 10 ||
		r.QueueType != scsi.QueueSimple || r.OpFlags != 0x224 {
		t.Errorf("WRITE(10): %+v", r)
	}
	if r := parse(scsi.Command{Op: scsi.OpInquiry, AllocLen: 36}); r.QueueType != scsi.QueueHeadOfQueue || r.Dir != scsi.DirRead || r.BufLen != 36 {
		t.Errorf("INQUIRY: %+v", r)
	}
	for _, tt := range []struct {
		c    scsi.Command
		want scsi.Sense
	}{
		{scsi.Command{Op: scsi.OpRead16, LBA: 1 << 63, Blocks: 1}, scsi.SenseLBAOutOfRange},
		{scsi.Command{Op: scsi.OpRead16, Blocks: 1 << 31}, scsi.SenseInvalidFieldInCDB},
	} {
		r := parse(tt.c)
		if s, err := scsi.ParseSense(r.Sense); r.Status != scsi.CheckCondition || err != nil || s != tt.want {
			t.Errorf("%+v: %v, %v, %v", tt.c, r.Status, s, err)
		}
	}
	// An unknown code, and more bytes than a subcommand holds.
	sub, reply := ucmd.Subcommand{CDBLen: 32}, ucmd.Reply{}
	sub.CDB[0] = 0x7F
	f.d.Parse(&sub, &reply)
	if s, err := scsi.ParseSense(reply.Sense); err != nil || s != scsi.SenseInvalidOpcode {
		t.Errorf("unknown: %v, %v", s, err)
	}
}
