package nbdtest

import (
	"encoding/binary"
	"math"
)

// statusChecks are row 18. The rules about chunks and descriptors are checked
// wherever a reply is put together (chunk.go).
var statusChecks = []check{
	{"Row18WithoutContext", nil, func(s *suite) {
		c := s.open()
		for _, length := range []uint64{0, uint64(s.unit()), s.want.Size} {
			if _, errno := c.BlockStatus(0, length, 0); errno != EINVAL {
				s.Errorf("BLOCK_STATUS of %d bytes without a context: %v, want EINVAL", length, errno)
			}
		}
		s.alive(c)
	}},

	{"Row18WholeExport", chunked, func(s *suite) {
		c := s.openMapped()
		at := uint64(0)
		for steps := 0; at < s.want.Size; steps++ {
			l, errno := c.BlockStatus(at, s.want.Size-at, 0)
			if errno != OK || steps > 1000 {
				s.Fatalf("BLOCK_STATUS at %#x, step %d: %v", at, steps, errno)
			}
			for _, x := range l {
				if x.State > 3 || x.Length%uint64(s.want.Blocks.Min) != 0 {
					s.Fatalf("extent %+v at %#x", x, at)
				}
				at += x.Length
			}
		}
		if at > s.want.Size {
			s.Errorf("the extents end at %d, the export at %d", at, s.want.Size)
		}
	}},

	{"Row18ReqOne", chunked, func(s *suite) {
		c := s.openMapped()
		unit := uint64(s.unit())
		for _, span := range [][2]uint64{{0, unit}, {0, s.want.Size}, {unit, 5 * unit}, {s.last(), unit}, {s.want.Size / 2 / unit * unit, 128 << 10}} {
			l, errno := c.BlockStatus(span[0], span[1], CmdFlagReqOne)
			if errno != OK || len(l) != 1 {
				s.Errorf("BLOCK_STATUS of %d bytes at %#x with REQ_ONE: %v, %v", span[1], span[0], l, errno)
			}
		}
	}},

	{"Row18Refusals", chunked, func(s *suite) {
		c := s.openMapped()
		unit := uint64(s.unit())
		for _, r := range []Request{
			{Offset: s.want.Size, Length64: unit},
			{Offset: s.last(), Length64: 2 * unit},
			{Offset: 0, Length64: 0},
			{Offset: -unit, Length64: 2 * unit},
			{Length64: unit, Flags: CmdFlagDF},
			{Length64: unit, Flags: CmdFlagNoHole | CmdFlagReqOne},
		} {
			r.Type = CmdBlockStatus
			s.refused(c, r, EINVAL)
		}
	}},

	{"Row18HolesAndData", func(w Expect) bool { return chunked(w) && w.Sparse && offering(FlagSendTrim|FlagSendWriteZeroes)(w) }, func(s *suite) {
		c := s.openMapped()
		s.stripes(c)
		const hole = StateHole | StateZero
		at := uint64(stripesAt)
		for at < stripesAt+stripesLength {
			l, errno := c.BlockStatus(at, stripesAt+stripesLength-at, 0)
			if errno != OK {
				s.Fatalf("BLOCK_STATUS: %v", errno)
			}
			for i, x := range l {
				if i > 0 && l[i-1].State == x.State {
					s.Errorf("two extents of state %d behind each other", x.State)
				}
				if at >= stripesAt+stripesLength {
					break
				}
				want, end := uint64(0), stripeEnd(at)
				if isHole(at) {
					want = hole
				}
				if x.State != want || x.Length != end-at && end != stripesAt+stripesLength {
					s.Fatalf("at %#x: %+v, want state %d up to %#x", at, x, want, end)
				}
				at += x.Length
			}
		}
	}},

	{"Row27StatusPayload", func(w Expect) bool { return w.mode == Extended }, func(s *suite) {
		c := s.haggle()
		c.SetAllocation(s.want.Export)
		for _, id := range []uint32{OptInfo, OptGo} {
			if e, _ := c.TryInfo(id, s.want.Export, InfoBlockSize); e.Flags&FlagStatusPayload == 0 {
				s.Errorf("option %d: flags %#x, without BLOCK_STATUS_PAYLOAD", id, e.Flags)
			}
		}
		unit := uint64(s.unit())
		payload := func(length uint64, ids ...uint32) []byte {
			b := binary.BigEndian.AppendUint64(nil, length)
			for _, id := range ids {
				b = binary.BigEndian.AppendUint32(b, id)
			}
			return b
		}
		for _, tc := range []struct {
			name    string
			payload []byte
			offset  uint64
			want    Errno
		}{
			{"the context", payload(4*unit, c.context), 0, OK},
			{"all of it", payload(s.want.Size, c.context), 0, OK},
			{"past the end", payload(2*unit, c.context), s.last(), EINVAL},
			{"no length", payload(0, c.context), 0, EINVAL},
			{"wraps", payload(math.MaxUint64, c.context), unit, EINVAL},
			{"another context", payload(unit, c.context+1), 0, EINVAL},
			{"the context twice", payload(unit, c.context, c.context), 0, EINVAL},
			{"no context", payload(unit), 0, EINVAL},
			{"cut off", payload(unit, c.context)[:11], 0, EINVAL},
			{"one byte", []byte{1}, 0, EINVAL},
			{"many contexts", make([]byte, 8+4*1000), 0, EINVAL},
		} {
			r := Request{Type: CmdBlockStatus, Flags: CmdFlagPayloadLen, Offset: tc.offset, Length: uint32(len(tc.payload)), Payload: tc.payload}
			if reply := c.Ask(r); reply.Errno != tc.want {
				s.Errorf("%s: %v, want %v", tc.name, reply.Errno, tc.want)
			}
			s.alive(c)
		}
	}},
}

// openMapped is open with base:allocation.
func (s *suite) openMapped() *Conn {
	s.Helper()
	c := s.haggle()
	c.SetAllocation(s.want.Export)
	c.Go(s.want.Export, InfoBlockSize)
	return c
}

// The stripes are data and holes by turns.
const (
	stripesAt     = 256 << 10
	stripe        = 64 << 10
	stripesLength = 6 * stripe
)

// stripes writes the stripes, and returns what they hold.
func (s *suite) stripes(c *Conn) []byte {
	s.Helper()
	want := pattern(18, stripesLength)
	s.write(c, stripesAt, want)
	for at := uint64(stripesAt); at < stripesAt+stripesLength; at += stripe {
		if !isHole(at) {
			continue
		}
		if errno := c.WriteZeroes(at, stripe, 0); errno != OK {
			s.Fatalf("WRITE_ZEROES: %v", errno)
		}
		if errno := c.Trim(at, stripe, 0); errno != OK {
			s.Fatalf("TRIM: %v", errno)
		}
		clear(want[at-stripesAt:][:stripe])
	}
	return want
}

func isHole(at uint64) bool { return at/stripe%2 == 1 }

func stripeEnd(at uint64) uint64 { return (at/stripe + 1) * stripe }
