package nbd

import (
	"bytes"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
	"scstuser/target"
)

// openChunked connects a client with structured replies, or extended headers.
func (r *fakeRig) openChunked(t testing.TB, m nbdtest.Mode) *nbdtest.Conn {
	t.Helper()
	c := openIn(m, "fake", r.dial)(t)
	if _, e := c.Read(0, 0, 0); e != nbdtest.OK {
		t.Fatalf("READ of no bytes: %v", e)
	}
	r.forget()
	return c
}

// chunkTypes are the types of a reply's chunks.
func chunkTypes(r nbdtest.Reply) (l []uint16) {
	for _, ch := range r.Chunks {
		l = append(l, ch.Type)
	}
	return l
}

// Row 17: what is a hole is not read, and what is data is read in as few pieces as
// the holes allow.
func TestRow17HolesAreNotRead(t *testing.T) {
	const data, hole = nbdtest.ChunkOffsetData, nbdtest.ChunkOffsetHole
	const k = 1 << 10
	for _, tc := range []struct {
		name   string
		data   [][2]int // runs of data, from and to, in KiB
		length int
		chunks []uint16
		reads  int
	}{
		{"all data", [][2]int{{0, 512}}, 512, []uint16{data}, 1},
		{"all hole", nil, 512, []uint16{hole}, 0},
		{"hole at the end", [][2]int{{0, 8}}, 512, []uint16{data, hole}, 1},
		{"hole at the front", [][2]int{{504, 512}}, 512, []uint16{hole, data}, 1},
		{"small hole inside", [][2]int{{0, 8}, {16, 24}}, 24, []uint16{data, hole, data}, 1},
		{"large hole inside", [][2]int{{0, 8}, {256, 264}}, 264, []uint16{data, hole, data}, 2},
		{"pieces", [][2]int{{8, 16}, {24, 32}, {128, 136}, {256, 300}}, 512, []uint16{hole, data, hole, data, hole, data, hole, data, hole}, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			inModes(t, func(t *testing.T, m nbdtest.Mode) {
				if m == nbdtest.Simple {
					t.Skip("there are no chunks")
				}
				f := newFakeRig(t, fakeTraits{}, Options{})
				want := make([]byte, tc.length*k)
				for _, d := range tc.data {
					copy(want[d[0]*k:], bytes.Repeat([]byte("data"), (d[1]-d[0])*k/4))
				}
				f.put(0, want)
				c := f.openChunked(t, m)
				reply := c.Ask(nbdtest.Request{Type: nbdtest.CmdRead, Length: uint32(len(want))})
				if reply.Errno != nbdtest.OK || !bytes.Equal(reply.Data, want) {
					t.Errorf("%v, or other data", reply.Errno)
				}
				if got := chunkTypes(reply); !slices.Equal(got, tc.chunks) {
					t.Errorf("chunks %v, want %v", got, tc.chunks)
				}
				if l := f.executed(scsi.OpRead16); len(l) != tc.reads {
					t.Errorf("%d READs, want %d", len(l), tc.reads)
				}
			})
		})
	}
}

// Where there is data is asked once, and again when somebody made holes.
func TestRow17DataIsRemembered(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	f.put(0, pattern(1, 1<<20))
	c, other := f.openChunked(t, nbdtest.Structured), f.openChunked(t, nbdtest.Extended)
	asked := func(step string, want int) {
		t.Helper()
		if n := len(f.executed(scsi.OpServiceActionIn16)); n != want {
			t.Errorf("%s: the device is asked %d times for its holes, want %d", step, n, want)
		}
		f.forget()
	}
	for range 3 {
		reads(t, c, 0, f.bytes(0, 8192))
		reads(t, other, 4096, f.bytes(4096, 65536))
	}
	asked("reading", 1)
	if e := other.Trim(8192, 4096, 0); e != nbdtest.OK {
		t.Fatal(e)
	}
	reply := c.Ask(nbdtest.Request{Type: nbdtest.CmdRead, Offset: 4096, Length: 8192})
	if reply.Holes != 4096 {
		t.Errorf("%d bytes are holes after TRIM", reply.Holes)
	}
	asked("after TRIM", 1)
	if e := c.WriteZeroes(0, 4096, 0); e != nbdtest.OK {
		t.Fatal(e)
	}
	if reply := c.Ask(readOf(9, 0, 4096)); reply.Holes != 4096 {
		t.Errorf("%d bytes are holes after WRITE_ZEROES", reply.Holes)
	}
	asked("after WRITE_ZEROES", 1)
	if reply := c.Ask(nbdtest.Request{Type: nbdtest.CmdRead, Flags: nbdtest.CmdFlagDF, Length: 4096}); reply.Holes != 0 || len(reply.Chunks) != 1 {
		t.Errorf("with DF: %d chunks", len(reply.Chunks))
	}
	asked("with DF", 0)
}

// A device that does not tell its holes, tells nonsense or fails, is read.
func TestRow17DeviceThatDoesNotTell(t *testing.T) {
	answer := func(b []byte) func(*target.Cmd) {
		return func(c *target.Cmd) {
			c.SetStatus(scsi.Good)
			c.RespLen = int32(copy(c.Buf, b))
			c.Done()
		}
	}
	runs := func(l ...scsi.LBAStatus) func(*target.Cmd) { return answer(scsi.AppendLBAStatus(nil, l...)) }
	for _, tc := range []struct {
		name   string
		script func(*target.Cmd)
	}{
		{"unknown", sense(scsi.SenseInvalidOpcode)},
		{"fails", sense(scsi.SenseReadError)},
		{"no data", answer(nil)},
		{"no runs", runs()},
		{"runs elsewhere", runs(scsi.LBAStatus{LBA: 100, Blocks: 5, Status: scsi.LBADeallocated})},
		{"an empty run", runs(scsi.LBAStatus{LBA: 0, Blocks: 0, Status: scsi.LBADeallocated})},
		{"a run that wraps", runs(scsi.LBAStatus{LBA: 1<<64 - 1, Blocks: 5, Status: scsi.LBADeallocated})},
		{"busy", status(scsi.Busy)},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f := newFakeRig(t, fakeTraits{}, Options{})
			f.put(0, pattern(1, 8192))
			c := f.openChunked(t, nbdtest.Extended)
			f.next(scsi.OpServiceActionIn16, tc.script)
			reads(t, c, 0, pattern(1, 8192))
			f.next(scsi.OpServiceActionIn16, tc.script)
			if l, e := c.BlockStatus(0, 8192, 0); e != nbdtest.OK && tc.name != "fails" || e == nbdtest.OK && l[0].State != 0 {
				t.Errorf("BLOCK_STATUS: %v, %v", l, e)
			}
		})
	}
}

// Row 15: an error in the middle of a sparse READ comes behind the chunks that
// were sent, and says where it is.
func TestRow15ErrorBehindData(t *testing.T) {
	inModes(t, func(t *testing.T, m nbdtest.Mode) {
		f := newFakeRig(t, fakeTraits{}, Options{})
		f.put(0, pattern(1, 4096))
		f.put(512<<10, pattern(1, 4096))
		c := f.openChunked(t, m)
		good := f.carryOut
		script := []func(*target.Cmd){good, sense(scsi.SenseReadError.WithInfo(1024 + 3))}
		if m == nbdtest.Simple {
			script = script[1:] // it is one READ
		}
		f.next(scsi.OpRead16, script...)
		reply := c.Ask(readOf(1, 0, 1<<20))
		if reply.Errno != nbdtest.EIO {
			t.Fatalf("%v, want EIO", reply.Errno)
		}
		if m != nbdtest.Simple {
			if got, want := chunkTypes(reply), []uint16{nbdtest.ChunkOffsetData, nbdtest.ChunkErrorOffset}; !slices.Equal(got, want) {
				t.Errorf("chunks %v, want %v", got, want)
			}
			if reply.ErrorAt == nil || *reply.ErrorAt != 1027*512 || reply.Message == "" {
				t.Errorf("the error is at %v (%q)", reply.ErrorAt, reply.Message)
			}
		}
		reads(t, c, 0, pattern(1, 4096))
	})
}

// A client that leaves between two pieces.
func TestRow25ClientLeavesASparseRead(t *testing.T) {
	for range 20 {
		f := newFakeRig(t, fakeTraits{}, Options{})
		for i := range 16 {
			f.put(i*256<<10, pattern(1, 128<<10))
		}
		c := f.openChunked(t, nbdtest.Structured)
		c.SendRequests(readOf(1, 0, 4<<20), readOf(2, 0, 4<<20))
		c.Recv(1000)
		c.Close()
		eventually(t, "the client's session ends", func() bool { return len(f.dev.Sessions()) == 1 })
	}
}

// Runs that a device answers become a gapless list, whatever they are.
func TestRunsCoverTheRequest(t *testing.T) {
	run := rapid.Custom(func(t *rapid.T) scsi.LBAStatus {
		return scsi.LBAStatus{
			LBA:    rapid.OneOf(rapid.Uint64Range(0, 50), rapid.Uint64()).Draw(t, "lba"),
			Blocks: rapid.OneOf(rapid.Uint32Range(0, 20), rapid.Uint32()).Draw(t, "blocks"),
			Status: rapid.Uint8Range(0, 15).Draw(t, "status"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		lba, n := rapid.Uint64Range(0, 40).Draw(t, "from"), rapid.Uint64Range(1, 1<<16).Draw(t, "n")
		told := rapid.SliceOfN(run, 0, 8).Draw(t, "runs")
		if rapid.Bool().Draw(t, "orderly") {
			next := lba
			for i := range told {
				told[i].LBA = next
				told[i].Blocks = told[i].Blocks%1000 + 1
				next += uint64(told[i].Blocks)
			}
		}
		l := cutTo(contiguous(slices.Clone(told), lba), lba, n)
		next := lba
		for _, s := range l {
			if s.LBA != next || s.Blocks == 0 {
				t.Fatalf("run %+v where %d has to begin, of %+v", s, next, told)
			}
			next += uint64(s.Blocks)
		}
		if next != lba+n {
			t.Fatalf("the runs end at %d, want %d", next, lba+n)
		}
	})
}

// What is known to be data is what was learned, and no more.
func TestKnownData(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var d knownData
		var model [300]bool
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if rapid.IntRange(0, 9).Draw(t, "step") == 0 {
				d.forget()
				model = [300]bool{}
			}
			s := scsi.LBAStatus{LBA: rapid.Uint64Range(0, 250).Draw(t, "lba"), Blocks: rapid.Uint32Range(0, 40).Draw(t, "blocks")}
			s.Status = rapid.SampledFrom([]uint8{scsi.LBAMapped, scsi.LBADeallocated}).Draw(t, "status")
			d.learn(d.state(), []scsi.LBAStatus{s})
			for i := uint64(0); i < uint64(s.Blocks) && s.Status == scsi.LBAMapped; i++ {
				model[s.LBA+i] = true
			}
			lba, n := rapid.Uint64Range(0, 250).Draw(t, "ask"), rapid.Uint64Range(1, 50).Draw(t, "n")
			if got, want := d.covers(lba, n), !slices.Contains(model[lba:lba+n], false); got != want {
				t.Fatalf("%d blocks at %d: %v, want %v", n, lba, got, want)
			}
		}
	})
	var d knownData
	old := d.state()
	d.forget()
	d.learn(old, []scsi.LBAStatus{{Blocks: 10}})
	if d.covers(0, 1) {
		t.Error("what was asked before holes were made is believed")
	}
	for i := range uint64(3 * maxSpans) {
		d.learn(d.state(), []scsi.LBAStatus{{LBA: 2 * i, Blocks: 1}})
	}
	if n := len(d.known.Load().spans); n > maxSpans {
		t.Errorf("%d spans are kept", n)
	}
}
