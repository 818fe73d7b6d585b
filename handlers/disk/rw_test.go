package disk

import (
	"bytes"
	"errors"
	"io"
	"syscall"
	"testing"

	"scstuser/handlers"
	"scstuser/scsi"
	"scstuser/ucmd"
)

var (
	readOps  = []scsi.Opcode{scsi.OpRead6, scsi.OpRead10, scsi.OpRead12, scsi.OpRead16}
	writeOps = []scsi.Opcode{scsi.OpWrite6, scsi.OpWrite10, scsi.OpWrite12, scsi.OpWrite16}
)

func TestReadAndWriteOfEverySize(t *testing.T) {
	for kind, backing := range kinds {
		for i := range readOps {
			f := newFixture(t, backing)
			data := pattern(byte(i), 3)
			f.good(cdb(scsi.Command{Op: writeOps[i], LBA: 5, Blocks: 3}), data)
			if got := f.good(cdb(scsi.Command{Op: readOps[i], LBA: 5, Blocks: 3}), nil); !bytes.Equal(got, data) {
				t.Errorf("%s: %v does not read what %v wrote", kind, readOps[i], writeOps[i])
			}
			if !bytes.Equal(f.m.data[5*512:8*512], data) {
				t.Errorf("%s: %v wrote elsewhere", kind, writeOps[i])
			}
		}
	}
}

func TestDPOIsAccepted(t *testing.T) {
	f := newFixture(t, full)
	f.good(cdb(scsi.Command{Op: scsi.OpWrite10, DPO: true, Blocks: 1}), pattern(1, 1))
	f.good(cdb(scsi.Command{Op: scsi.OpRead10, DPO: true, FUA: true, Blocks: 1}), nil)
}

func TestRange(t *testing.T) {
	f := newFixture(t, full, func(_ *mem, o *Options) { o.MaxTransfer = 1 << 40 })
	tests := []struct {
		name   string
		lba, n uint64
		ok     bool
	}{
		{"all", 0, testBlocks, true},
		{"the last block", testBlocks - 1, 1, true},
		{"nothing at the end", testBlocks, 0, true},
		{"one past the end", testBlocks, 1, false},
		{"across the end", testBlocks - 1, 2, false},
		{"nothing past the end", testBlocks + 1, 0, false},
		{"the sum overflows", 1<<64 - 1, 2, false},
		{"the byte offset overflows", 1 << 55, 1, false},
		{"the byte offset overflows to a valid one", 1<<55 + 1, 1, false},
	}
	for _, tt := range tests {
		for _, op := range []scsi.Opcode{scsi.OpRead16, scsi.OpWrite16, scsi.OpWriteVerify16, scsi.OpVerify16} {
			c := cdb(scsi.Command{Op: op, LBA: tt.lba, Blocks: tt.n})
			if tt.ok {
				f.good(c, nil)
			} else {
				f.fails(scsi.SenseLBAOutOfRange, c, nil)
			}
		}
	}
	// A length whose bytes overflow, with a buffer that can't be as long.
	r := new(handlers.Request)
	r.Reset(nil, cdb(scsi.Command{Op: scsi.OpRead16, Blocks: 1<<32 - 1}), make([]byte, 512))
	f.d.Exec(r)
	wantSense(t, r, scsi.SenseLBAOutOfRange)
}

func TestMaxTransfer(t *testing.T) {
	f := newFixture(t, full, func(_ *mem, o *Options) { o.MaxTransfer = 4*512 + 511 })
	for _, tt := range []struct {
		op scsi.Opcode
		at uint16
	}{
		{scsi.OpRead6, 4}, {scsi.OpWrite10, 7}, {scsi.OpRead12, 6}, {scsi.OpWriteVerify16, 10},
	} {
		f.good(cdb(scsi.Command{Op: tt.op, Blocks: 4}), nil)
		f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(tt.at, -1), cdb(scsi.Command{Op: tt.op, Blocks: 5}), nil)
	}
	f.fails(scsi.SenseInvalidFieldInCDB.AtCDB(10, -1), cdb(scsi.Command{Op: scsi.OpVerify16, BytChk: 1, Blocks: 5}), nil)
	f.good(cdb(scsi.Command{Op: scsi.OpVerify16, Blocks: 5}), nil)
}

func TestBufferThatDoesNotFitTheCDB(t *testing.T) {
	f := newFixture(t, full)
	for _, c := range []scsi.Command{
		{Op: scsi.OpRead16, Blocks: 2}, {Op: scsi.OpWrite16, Blocks: 2}, {Op: scsi.OpVerify16, BytChk: 1, Blocks: 2},
		{Op: scsi.OpVerify16, BytChk: 3, Blocks: 2}, {Op: scsi.OpWriteSame16, Blocks: 2}, {Op: scsi.OpUnmap, ParamLen: 1024},
		{Op: scsi.OpModeSelect10, PF: true, ParamLen: 1024},
	} {
		for _, n := range []int{0, 511} {
			r := new(handlers.Request)
			r.Reset(nil, cdb(c), make([]byte, n))
			f.d.Exec(r)
			wantSense(t, r, scsi.SenseAbortedInternalFailure)
		}
	}
	// A longer one is used as far as it is needed.
	r := new(handlers.Request)
	r.Reset(nil, cdb(scsi.Command{Op: scsi.OpRead16, Blocks: 1}), make([]byte, 4096))
	f.d.Exec(r)
	if r.RespLen != 512 {
		t.Errorf("%d bytes", r.RespLen)
	}
}

func TestShortTransfersAreCompleted(t *testing.T) {
	for _, maxIO := range []int{1, 100, 511, 512, 513} {
		f := newFixture(t, plain, func(m *mem, _ *Options) { m.maxIO = maxIO })
		data := pattern(9, 3)
		f.good(cdb(scsi.Command{Op: scsi.OpWrite10, LBA: 1, Blocks: 3}), data)
		if got := f.good(cdb(scsi.Command{Op: scsi.OpRead10, LBA: 1, Blocks: 3}), nil); !bytes.Equal(got, data) {
			t.Errorf("%d bytes at a time: other data", maxIO)
		}
	}
}

// scripted answers with what the test says.
type scripted struct {
	*mem
	n   int
	err error
}

func (s scripted) ReadAt([]byte, int64) (int, error)  { return s.n, s.err }
func (s scripted) WriteAt([]byte, int64) (int, error) { return s.n, s.err }

func TestBackingThatBreaksItsContract(t *testing.T) {
	for _, tt := range []struct {
		n   int
		err error
		ok  bool
	}{
		{0, nil, false}, {-1, nil, false}, {513, nil, false}, {512, nil, true}, {512, io.EOF, true}, {511, io.EOF, false},
	} {
		f := newFixture(t, func(m *mem) handlers.Backing { return scripted{m, tt.n, tt.err} })
		r := f.exec(cdb(scsi.Command{Op: scsi.OpRead10, Blocks: 1}), nil)
		if (r.Status == scsi.Good) != tt.ok {
			t.Errorf("read %d, %v: %v", tt.n, tt.err, r.Status)
		}
		r = f.exec(cdb(scsi.Command{Op: scsi.OpWrite10, Blocks: 1}), nil)
		if (r.Status == scsi.Good) != (tt.ok && tt.err == nil) {
			t.Errorf("write %d, %v: %v", tt.n, tt.err, r.Status)
		}
	}
}

// badFrom fails at the given byte and all after it.
func badFrom(at int64, err error) func(int64) error {
	return func(off int64) error {
		if off >= at {
			return err
		}
		return nil
	}
}

func TestMediumErrorsNameTheFirstBadBlock(t *testing.T) {
	eio := &osError{syscall.EIO}
	for _, tt := range []struct{ at, block uint64 }{{10 * 512, 10}, {11*512 + 17, 11}, {8 * 512, 8}, {0, 8}} {
		f := newFixture(t, full, func(m *mem, _ *Options) {
			m.readErr, m.writeErr = badFrom(int64(tt.at), eio), badFrom(int64(tt.at), eio)
		})
		f.fails(scsi.SenseReadError.WithInfo(tt.block), cdb(scsi.Command{Op: scsi.OpRead10, LBA: 8, Blocks: 8}), nil)
		f.fails(scsi.SenseReadError.WithInfo(tt.block), cdb(scsi.Command{Op: scsi.OpVerify10, LBA: 8, Blocks: 8}), nil)
		f.fails(scsi.SenseWriteError.WithInfo(tt.block), cdb(scsi.Command{Op: scsi.OpWrite10, LBA: 8, Blocks: 8}), nil)
		f.fails(scsi.SenseWriteError.WithInfo(tt.block), cdb(scsi.Command{Op: scsi.OpWrite10, FUA: true, LBA: 8, Blocks: 8}), nil)
		f.fails(scsi.SenseWriteError.WithInfo(tt.block), cdb(scsi.Command{Op: scsi.OpWriteSame10, LBA: 8, Blocks: 8}), pattern(1, 1))
	}
}

// osError wraps an errno as a Backing would.
type osError struct{ errno syscall.Errno }

func (e *osError) Error() string { return "write image: " + e.errno.Error() }
func (e *osError) Unwrap() error { return e.errno }

func TestWriteErrorsByErrno(t *testing.T) {
	for errno, want := range map[syscall.Errno]scsi.Sense{
		syscall.ENOSPC: scsi.SenseSpaceAllocFailed,
		syscall.EDQUOT: scsi.SenseSpaceAllocFailed,
		syscall.EFBIG:  scsi.SenseSpaceAllocFailed,
		syscall.EROFS:  scsi.SenseWriteProtected,
		syscall.EPERM:  scsi.SenseWriteProtected,
		syscall.EIO:    scsi.SenseWriteError.WithInfo(0),
	} {
		err := &osError{errno}
		f := newFixture(t, full, func(m *mem, _ *Options) { m.writeErr, m.spaceErr = badFrom(0, err), err })
		f.fails(want, cdb(scsi.Command{Op: scsi.OpWrite10, Blocks: 1}), nil)
		f.fails(want, cdb(scsi.Command{Op: scsi.OpWriteSame10, Blocks: 1}), nil)
		f.fails(want, cdb(scsi.Command{Op: scsi.OpWriteSame16, Unmap: true, NDOB: true, Blocks: 1}), nil)
		f.fails(want, cdb(scsi.Command{Op: scsi.OpUnmap, ParamLen: 24}), unmapList(scsi.UnmapDescriptor{Blocks: 1}))

		f = newFixture(t, full, func(m *mem, _ *Options) { m.syncErr = err })
		want.Info, want.InfoValid = 0, false // which blocks is not known
		if want == scsi.SenseWriteProtected {
			want = scsi.SenseWriteError // it was told GOOD about what is lost
		}
		f.fails(want, cdb(scsi.Command{Op: scsi.OpSyncCache16}), nil)
		f.fails(want, cdb(scsi.Command{Op: scsi.OpStartStop}), nil)
	}
}

func TestReadOnly(t *testing.T) {
	for name, edit := range map[string]func(*mem, *Options){
		"option":  readOnly,
		"backing": func(m *mem, _ *Options) { m.ro = true },
		"SWP":     func(_ *mem, o *Options) { o.Control = &scsi.ControlPage{SWP: true} },
	} {
		f := newFixture(t, full, edit)
		if f.d.ReadOnly() != (name != "SWP") {
			t.Errorf("%s: ReadOnly is %v", name, f.d.ReadOnly())
		}
		for _, id := range f.d.supported {
			writing := map[scsi.Opcode]bool{
				scsi.OpWrite6: true, scsi.OpWrite10: true, scsi.OpWrite12: true, scsi.OpWrite16: true, scsi.OpWriteVerify10: true, scsi.OpWriteVerify12: true,
				scsi.OpWriteVerify16: true, scsi.OpWriteSame10: true, scsi.OpWriteSame16: true, scsi.OpUnmap: true,
			}[id.Op]
			c := scsi.Command{Op: id.Op, ServiceAction: uint8(id.SA), Blocks: 1, PF: true, Start: true}
			if id.Op == scsi.OpModeSense6 || id.Op == scsi.OpModeSense10 {
				c.Page = scsi.ModePageAll
			}
			r := f.run(c, nil)
			if writing {
				wantSense(t, r, scsi.SenseWriteProtected)
			} else if r.Status == scsi.CheckCondition {
				s, _ := r.Sense()
				t.Errorf("%s: %v fails with %v", name, id, s)
			}
		}
		if b := f.good(cdb(scsi.Command{Op: scsi.OpModeSense10, Page: 8, AllocLen: 64}), nil); b[3] != 0x90 {
			t.Errorf("%s: device specific parameter %#x", name, b[3])
		}
	}
}

func TestDurability(t *testing.T) {
	write := scsi.Command{Op: scsi.OpWrite16, LBA: 3, Blocks: 2}
	fua, verify := write, write
	fua.FUA = true
	verify.Op = scsi.OpWriteVerify16
	same, ndob, unmap := scsi.Command{Op: scsi.OpWriteSame16, Blocks: 4}, scsi.Command{Op: scsi.OpWriteSame16, NDOB: true, Blocks: 4}, scsi.Command{Op: scsi.OpUnmap, ParamLen: 24}
	tests := []struct {
		name string
		edit func(*mem, *Options)
		c    scsi.Command
		want bool
	}{
		{"WRITE into the cache", nil, write, false},
		{"FUA", nil, fua, true},
		{"WRITE AND VERIFY", nil, verify, true},
		{"WRITE SAME into the cache", nil, same, false},
		{"WCE=0: WRITE", writeThrough, write, true},
		{"WCE=0: WRITE SAME", writeThrough, same, true},
		{"WCE=0: WRITE SAME of zeroes", writeThrough, ndob, true},
		{"WCE=0: UNMAP", writeThrough, unmap, true},
		{"NV cache: FUA", nvCache, fua, false},
		{"NV cache and WCE=0", func(m *mem, o *Options) { nvCache(m, o); writeThrough(m, o) }, write, true},
	}
	for _, tt := range tests {
		for _, backing := range []func(*mem) handlers.Backing{cache, full} {
			f := newFixture(t, backing)
			if tt.edit != nil {
				f = newFixture(t, backing, tt.edit)
			}
			if f.d.puncher == nil && tt.c.Op == scsi.OpUnmap {
				continue
			}
			payload := pattern(5, 2)
			if tt.c.Op == scsi.OpUnmap {
				payload = unmapList(scsi.UnmapDescriptor{LBA: 1, Blocks: 2})
			}
			before := bytes.Clone(f.m.data)
			f.good(cdb(tt.c), payload)
			if bytes.Equal(before, f.m.data) {
				t.Errorf("%s: nothing was written", tt.name)
			}
			if got := f.m.isStable(); got != tt.want {
				t.Errorf("%s: stable is %v", tt.name, got)
			}
			if f.d.durableW != nil && tt.c.Op == scsi.OpWrite16 && f.m.syncs != 0 {
				t.Errorf("%s: synced where a durable write would do", tt.name)
			}
		}
	}
}

func TestFailedSyncFailsTheWrite(t *testing.T) {
	for _, backing := range []func(*mem) handlers.Backing{cache, full} {
		f := newFixture(t, backing, func(m *mem, _ *Options) { m.syncErr = errors.New("lost") })
		r := f.exec(cdb(scsi.Command{Op: scsi.OpWrite10, FUA: true, LBA: 7, Blocks: 1}), pattern(1, 1))
		if s, _ := r.Sense(); !s.Is(scsi.SenseWriteError) {
			t.Errorf("FUA: %v, %v", r.Status, s)
		}
		f.fails(scsi.SenseWriteError, cdb(scsi.Command{Op: scsi.OpSyncCache10}), nil)
		f.fails(scsi.SenseWriteError, cdb(scsi.Command{Op: scsi.OpSyncCache10, Immed: true}), nil)
	}
}

func TestTryExecOfReadAndWrite(t *testing.T) {
	inline := func(_ *mem, o *Options) { o.InlineRead, o.InlineWrite = 1024, 512 }
	tests := []struct {
		name    string
		backing func(*mem) handlers.Backing
		edit    func(*mem, *Options)
		c       scsi.Command
		want    bool
	}{
		{"read", full, inline, scsi.Command{Op: scsi.OpRead10, Blocks: 2}, true},
		{"read with FUA", full, inline, scsi.Command{Op: scsi.OpRead10, FUA: true, Blocks: 2}, true},
		{"long read", full, inline, scsi.Command{Op: scsi.OpRead10, Blocks: 3}, false},
		{"write", full, inline, scsi.Command{Op: scsi.OpWrite10, Blocks: 1}, true},
		{"long write", full, inline, scsi.Command{Op: scsi.OpWrite10, Blocks: 2}, false},
		{"write with FUA", full, inline, scsi.Command{Op: scsi.OpWrite10, FUA: true, Blocks: 1}, false},
		{"write through", full, writeThrough, scsi.Command{Op: scsi.OpWrite10, Blocks: 1}, false},
		{"write with FUA and NV cache", full, nvCache, scsi.Command{Op: scsi.OpWrite10, FUA: true, Blocks: 1}, true},
		{"read that blocks", full, func(m *mem, _ *Options) { m.block = true }, scsi.Command{Op: scsi.OpRead10, Blocks: 1}, false},
		{"write that blocks", full, func(m *mem, _ *Options) { m.block = true }, scsi.Command{Op: scsi.OpWrite10, Blocks: 1}, false},
		{"never read inline", full, func(_ *mem, o *Options) { o.InlineRead = -1 }, scsi.Command{Op: scsi.OpRead10, Blocks: 1}, false},
		{"never write inline", full, func(_ *mem, o *Options) { o.InlineWrite = -1 }, scsi.Command{Op: scsi.OpWrite10, Blocks: 1}, false},
		{"no NonBlocker: read", plain, inline, scsi.Command{Op: scsi.OpRead10, Blocks: 1}, false},
		{"no NonBlocker: write", plain, inline, scsi.Command{Op: scsi.OpWrite10, Blocks: 1}, false},
		{"read of nothing", plain, inline, scsi.Command{Op: scsi.OpRead10}, true},
		{"write of nothing", plain, writeThrough, scsi.Command{Op: scsi.OpWrite10}, true},
		{"read out of range", full, inline, scsi.Command{Op: scsi.OpRead10, LBA: testBlocks, Blocks: 1}, true},
		{"write out of range", full, inline, scsi.Command{Op: scsi.OpWrite10, LBA: testBlocks, Blocks: 1}, true},
		{"verify", full, inline, scsi.Command{Op: scsi.OpVerify10, Blocks: 1}, false},
		{"sync", full, inline, scsi.Command{Op: scsi.OpSyncCache10}, false},
		{"unmap", full, inline, scsi.Command{Op: scsi.OpUnmap}, false},
	}
	for _, tt := range tests {
		f := newFixture(t, tt.backing, tt.edit)
		r := f.request(cdb(tt.c), pattern(3, int(tt.c.Blocks)))
		before := bytes.Clone(f.m.data)
		if got := f.d.TryExec(r); got != tt.want {
			t.Errorf("%s: TryExec says %v", tt.name, got)
			continue
		}
		f.sane(r)
		if !tt.want {
			if !bytes.Equal(before, f.m.data) || r.Status != scsi.Good || r.RespLen != 0 {
				t.Errorf("%s: refused with something done", tt.name)
			}
			f.d.Exec(r)
		}
		outOfRange := tt.c.LBA != 0
		if (r.Status != scsi.Good) != outOfRange {
			t.Errorf("%s: %v", tt.name, r.Status)
		}
		switch {
		case outOfRange:
		case tt.c.Op == scsi.OpRead10 && !bytes.Equal(r.Buf[:r.RespLen], f.m.data[:tt.c.Blocks*512]):
			t.Errorf("%s: other data", tt.name)
		case tt.c.Op == scsi.OpWrite10 && !bytes.Equal(f.m.data[:tt.c.Blocks*512], pattern(3, int(tt.c.Blocks))):
			t.Errorf("%s: other data written", tt.name)
		}
	}
}

func TestTryExecOfEverythingThatNeverWaits(t *testing.T) {
	f := newFixture(t, full)
	for _, c := range []scsi.Command{
		{Op: scsi.OpTestUnitReady}, {Op: scsi.OpInquiry, AllocLen: 96}, {Op: scsi.OpModeSense6, Page: 0x3F, AllocLen: 64}, {Op: scsi.OpModeSense10, Page: 8, AllocLen: 64},
		{Op: scsi.OpReadCapacity10}, {Op: scsi.OpServiceActionIn16, ServiceAction: scsi.SAReadCapacity16, AllocLen: 32}, {Op: scsi.OpRequestSense, AllocLen: 18},
		{Op: scsi.OpMaintenanceIn, ServiceAction: scsi.SAReportSupportedOpcodes, AllocLen: 1000}, {Op: scsi.OpReserve6}, {Op: scsi.OpRelease10}, {Op: scsi.OpPreventAllowRemoval},
	} {
		if r := f.try(cdb(c), nil); r.Status != scsi.Good {
			t.Errorf("%v: %v", c.Op, r.Status)
		}
	}
	for name, bad := range map[string][]byte{"unknown": {0xC1, 0, 0, 0, 0, 0}, "short": {0x88}, "empty": {}, "not offered": cdb(scsi.Command{Op: scsi.OpCompareAndWrite})} {
		if r := f.try(bad, nil); r.Status != scsi.CheckCondition {
			t.Errorf("%s: %v", name, r.Status)
		}
	}
}

// A write that went into the cache while WCE was turned off is not answered
// before it is stable.
func TestTurningWCEOffDuringAWrite(t *testing.T) {
	for _, inline := range []bool{false, true} {
		f := newFixture(t, cache)
		f.m.onWrite = func() { f.d.state.And(^stateWCE) }
		r := f.request(cdb(scsi.Command{Op: scsi.OpWrite10, Blocks: 1}), pattern(1, 1))
		if !inline || !f.d.TryExec(r) {
			f.d.Exec(r)
		}
		if r.Status != scsi.Good || !f.m.isStable() {
			t.Errorf("inline %v: %v, stable %v", inline, r.Status, f.m.isStable())
		}
	}
}

func TestReadAndWriteDoNotAllocate(t *testing.T) {
	for _, blocking := range []bool{false, true} {
		f := newFixture(t, full, func(m *mem, _ *Options) { m.block = blocking })
		for _, c := range []scsi.Command{{Op: scsi.OpRead16, LBA: 1, Blocks: 8}, {Op: scsi.OpWrite16, LBA: 1, Blocks: 8}, {Op: scsi.OpWrite16, FUA: true, Blocks: 1}} {
			raw, buf := cdb(c), make([]byte, 4096)
			var r handlers.Request
			if n := testing.AllocsPerRun(100, func() {
				r.Reset(nil, raw, buf)
				if !f.d.TryExec(&r) {
					f.d.Exec(&r)
				}
			}); n != 0 || r.Status != scsi.Good {
				t.Errorf("%v, FUA %v, blocking %v: %v allocations, %v", c.Op, c.FUA, blocking, n, r.Status)
			}
		}
	}
}

// inFile is a backing whose bytes are in a file.
type inFile struct {
	handlers.Backing
	handlers.NonBlocker
	cold bool
}

func (b inFile) TryFile(off, _ int64) (ucmd.FileRange, bool) {
	return ucmd.FileRange{Source: noFile{}, Off: off}, !b.cold
}

type noFile struct{ syscall.RawConn }

// A read is left in the file if the front end can send it from there, and it is
// worth it.
func TestLongReadsStayInTheFile(t *testing.T) {
	for _, tt := range []struct {
		name        string
		from        int
		takes, cold bool
		blocks      uint64
		want        bool
	}{
		{"long enough", 2048, true, false, 4, true},
		{"too short", 2048, true, false, 3, false},
		{"the front end needs bytes", 2048, false, false, 4, false},
		{"not in memory", 2048, true, true, 4, false},
		{"never", -1, true, false, 4, false},
		{"by default from 64 KiB on", 0, true, false, 127, false},
		{"64 KiB", 0, true, false, 128, true},
		{"nothing", 1, true, false, 0, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, func(m *mem) handlers.Backing {
				*m = *newMem(1 << 20)
				return inFile{plain(m), withTry{m}, tt.cold}
			}, func(_ *mem, o *Options) { o.FileRead = tt.from })
			r := f.request(cdb(scsi.Command{Op: scsi.OpRead10, LBA: 3, Blocks: tt.blocks}), make([]byte, tt.blocks*512))
			r.Sub = &ucmd.Subcommand{TakesFile: tt.takes}
			if !f.d.TryExec(r) || r.Status != scsi.Good || int(r.RespLen) != int(tt.blocks)*512 {
				t.Fatalf("%v, %d bytes", r.Status, r.RespLen)
			}
			if got := r.File.Source != nil; got != tt.want {
				t.Errorf("left in the file: %v, want %v", got, tt.want)
			}
			if tt.want && r.File.Off != 3*512 {
				t.Errorf("at %d in the file", r.File.Off)
			}
		})
	}
}
