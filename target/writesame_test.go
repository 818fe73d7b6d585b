package target

import (
	"bytes"
	"math"
	"runtime"
	"slices"
	"testing"

	"scstuser/scsi"
)

func writeSame16(lba uint64, blocks uint32) scsi.CDB {
	return scsi.EncodeWriteSame16(lba, blocks, false, false)
}

// medium is what internal WRITEs wrote: a byte per block.
type medium map[uint64]byte

// write takes an internal WRITE whose blocks are all the same byte.
func (m medium) write(t testing.TB, c *Cmd) {
	if bytes.Count(c.Buf[:c.BufLen], c.Buf[:1]) != int(c.BufLen) {
		t.Errorf("the blocks at %d differ", c.LBA)
	}
	for i := range uint64(c.DataLen) / 512 {
		m[c.LBA+i]++
		if c.Buf[0] != 'x' {
			t.Errorf("block %d has %q", c.LBA+i, c.Buf[0])
		}
	}
}

// writeSameRig has a handler that answers WRITE SAME with these ranges and
// takes WRITEs, at once or on another goroutine.
func writeSameRig(t *testing.T, ranges []Range, later bool) (*rig, medium) {
	r, m := newRig(t, Options{}), medium{}
	r.f.rdy = func(c *Cmd) Verdict {
		for i := range c.Buf {
			c.Buf[i] = 'x'
		}
		return Continue
	}
	r.h.exec = func(c *Cmd) {
		switch {
		case !c.internal:
			c.WriteSame(ranges)
		case later:
			go func() { m.write(t, c); finish(c) }()
		default:
			m.write(t, c)
			finish(c)
		}
	}
	return r, m
}

// TestR60WriteSame: every block of the ranges is written once, in pieces, and
// the command ends after the last.
func TestR60WriteSame(t *testing.T) {
	const chunk = writeSameChunk / 512
	for _, k := range []struct {
		name   string
		lba    uint64
		blocks uint32
		ranges []Range
		writes int
	}{
		{"nothing", 0, 10, nil, 0},
		{"empty ranges", 0, 10, []Range{{0, 0}, {5, 0}}, 0},
		{"one block", 7, 1, []Range{{7, 1}}, 1},
		{"several", 10, 100, []Range{{10, 5}, {20, 0}, {100, 10}}, 2},
		{"whole chunk", 0, chunk, []Range{{0, chunk}}, 1},
		{"chunk and a block", 0, chunk + 1, []Range{{0, chunk + 1}}, 2},
		{"to the end of the medium", 100, 0, []Range{{200, 3}}, 1},
	} {
		for _, later := range []bool{false, true} {
			t.Run(k.name, func(t *testing.T) {
				r, m := writeSameRig(t, k.ranges, later)
				c := r.submit(1, writeSame16(k.lba, k.blocks))
				r.freed(c)
				ended(t, c, scsi.Good)
				want := medium{}
				for _, x := range k.ranges {
					for i := range x.Blocks {
						want[x.LBA+i] = 1
					}
				}
				for lba, n := range want {
					if m[lba] != n {
						t.Fatalf("block %d written %d times", lba, m[lba])
					}
				}
				writes := 0
				for _, l := range r.h.took() {
					if l == "exec 0" {
						writes++
					}
				}
				if len(m) != len(want) || writes != k.writes {
					t.Errorf("%d blocks in %d writes, want %d in %d", len(m), writes, len(want), k.writes)
				}
			})
		}
	}
}

// TestWriteSameDoesNotNest: writes that complete at once are not deeper and
// deeper in one stack.
func TestWriteSameDoesNotNest(t *testing.T) {
	r := newRig(t, Options{})
	depth := 0
	r.h.exec = func(c *Cmd) {
		if !c.internal {
			c.WriteSame([]Range{{0, uint64(c.DataLen) / 512}})
			return
		}
		depth = max(depth, runtime.Callers(0, make([]uintptr, 1000)))
		finish(c)
	}
	ended(t, r.submit(1, writeSame16(0, 500*writeSameChunk/512)), scsi.Good)
	if depth > 60 {
		t.Errorf("%d frames deep", depth)
	}
}

// TestR60BadRanges: ranges outside of what the CDB names write nothing.
func TestR60BadRanges(t *testing.T) {
	for _, k := range []struct {
		name   string
		lba    uint64
		blocks uint32
		r      Range
	}{
		{"before", 100, 10, Range{99, 1}},
		{"behind", 100, 10, Range{110, 1}},
		{"across the end", 100, 10, Range{105, 6}},
		{"wraps", 100, 10, Range{105, math.MaxUint64}},
		{"wraps, no end", 100, 0, Range{105, math.MaxUint64 - 100}},
		{"before, no end", 100, 0, Range{99, 1}},
	} {
		t.Run(k.name, func(t *testing.T) {
			r, m := writeSameRig(t, []Range{{k.lba, 1}, k.r}, false)
			endedWith(t, r.submit(1, writeSame16(k.lba, k.blocks)), scsi.SenseHardwareInternalFailure)
			if len(m) != 0 {
				t.Error("something was written")
			}
		})
	}
	t.Run("no block", func(t *testing.T) {
		r, m := writeSameRig(t, []Range{{0, 1}}, false)
		c := r.submit(1, scsi.EncodeWriteSame16(0, 1, false, true)) // NDOB: no buffer
		endedWith(t, c, scsi.SenseHardwareInternalFailure)
		if len(m) != 0 {
			t.Error("something was written")
		}
	})
}

// TestWriteSameStopsAtAnError: the write's outcome is the command's.
func TestWriteSameStopsAtAnError(t *testing.T) {
	for _, k := range []struct {
		name string
		fail func(c *Cmd)
		want scsi.Status
	}{
		{"sense", func(c *Cmd) { c.SetSense(scsi.SenseWriteError.WithInfo(7)); c.Done() }, scsi.CheckCondition},
		{"busy", func(c *Cmd) { c.SetStatus(scsi.Busy); c.Done() }, scsi.Busy},
		{"no sense", func(c *Cmd) { c.SetStatus(scsi.CheckCondition); c.Done() }, scsi.CheckCondition},
	} {
		t.Run(k.name, func(t *testing.T) {
			r := newRig(t, Options{})
			writes := 0
			r.h.exec = func(c *Cmd) {
				switch {
				case c.Op() == scsi.OpWriteSame16:
					c.WriteSame([]Range{{0, 3 * writeSameChunk / 512}})
				case c.Op() == scsi.OpWrite16:
					if writes++; writes == 2 {
						k.fail(c)
						return
					}
					finish(c)
				default:
					finish(c)
				}
			}
			c := r.submit(1, writeSame16(0, 3*writeSameChunk/512))
			ended(t, c, k.want)
			if writes != 2 {
				t.Errorf("%d writes", writes)
			}
			s, err := scsi.ParseSense(c.Sense())
			if k.name == "sense" && (err != nil || !s.Is(scsi.SenseWriteError) || s.Info != 7) {
				t.Errorf("sense %v, %v", s, err)
			}
			if k.name == "no sense" && len(c.Sense()) == 0 {
				t.Error("CHECK CONDITION without sense")
			}
		})
	}
}

// TestWriteSameAborted: an abort between two writes ends it, with both
// outcomes that TAS knows.
func TestWriteSameAborted(t *testing.T) {
	for _, tas := range []bool{false, true} {
		r := newRig(t, Options{TAS: tas})
		var m *MgmtCmd
		r.h.exec = func(c *Cmd) {
			if c.internal {
				// Under way at the handler, which finishes it well.
				m = r.tm(AbortTask, 1)
				c.SetStatus(scsi.Good)
				c.Done()
				return
			}
			c.WriteSame([]Range{{0, 10 * writeSameChunk / 512}})
		}
		c := r.submit(1, writeSame16(0, 10*writeSameChunk/512))
		if tas {
			ended(t, c, scsi.TaskAborted)
		} else {
			endedWith(t, c, scsi.SenseAbortedInternalFailure)
		}
		r.over(m, TMSuccess)
		n := 0
		for _, l := range r.h.took() {
			if l == "exec 0" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d writes", n)
		}
	}
}

// TestWriteSameDeviceReleased: the rest is not written, and the command ends.
func TestWriteSameDeviceReleased(t *testing.T) {
	r := newRig(t, Options{})
	var child *Cmd
	r.h.exec = func(c *Cmd) {
		if c.internal {
			child = c
			return
		}
		c.WriteSame([]Range{{0, 10000}})
	}
	c := r.submit(1, writeSame16(0, 10000))
	gone := make(chan error, 1)
	go func() { gone <- r.dev.Unregister(soon(t)) }()
	r.eventually("the session is gone", r.sess.gone.Load)
	finish(child)
	if err := await(t, "Unregister", gone); err != nil {
		t.Fatal(err)
	}
	endedWith(t, c, scsi.SenseLUNotSupported)
	if got := r.h.took(); !slices.Equal(got, []string{"parse 1", "exec 1", "parse 0", "exec 0", "free 0", "free 1", "detach 1"}) {
		t.Errorf("handler was called for %q", got)
	}
}
