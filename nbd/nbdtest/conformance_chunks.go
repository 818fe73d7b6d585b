package nbdtest

import (
	"bytes"
	"strings"
)

// chunkChecks are rows 14 to 17. That chunks are in bounds, don't overlap and are
// complete is checked wherever a reply is put together (chunk.go).
var chunkChecks = []check{
	{"Row14AskingAgain", chunked, func(s *suite) {
		c := s.haggle()
		c.SendOption(OptStructuredReply, nil)
		switch r := c.ReadOptionReply(); {
		case s.want.mode == Structured && r.Type != RepAck && r.Type != RepErrInvalid,
			s.want.mode == Extended && r.Type != RepErrExtHeader:
			s.Errorf("STRUCTURED_REPLY in mode %v: reply %#x", s.want.mode, r.Type)
		}
		c.Go(s.want.Export)
		s.alive(c)
	}},

	{"Row04ModeOptionsTakeNoData", nil, func(s *suite) {
		if len(s.want.Modes) == 0 {
			return
		}
		c := s.haggle()
		for _, id := range []uint32{OptStructuredReply, OptExtendedHeaders} {
			c.SendOption(id, []byte("data"))
			c.ExpectOptionReply(id, RepErrInvalid)
		}
		c.Go(s.want.Export) // and nothing was turned on
		s.alive(c)
	}},

	{"Row15ErrorsSayWhy", chunked, func(s *suite) {
		c := s.open()
		unit := s.unit()
		for _, r := range s.commands() {
			if r.Type == CmdFlush {
				continue
			}
			r.Offset = s.want.Size
			reply := c.Ask(r)
			if reply.Errno == OK || reply.Message == "" || strings.Contains(reply.Message, "\x00") {
				s.Errorf("%s past the end: %v, message %q", commandName(r.Type), reply.Errno, reply.Message)
			}
			r.Offset, r.Flags = 0, 1<<15
			if reply := c.Ask(r); reply.Errno == OK || reply.Message == "" {
				s.Errorf("%s with an unknown flag: %v, message %q", commandName(r.Type), reply.Errno, reply.Message)
			}
		}
		if reply := c.Ask(Request{Type: 9, Length: unit}); reply.Errno != EINVAL || reply.Message == "" {
			s.Errorf("unknown command: %v, message %q", reply.Errno, reply.Message)
		}
	}},

	{"Row16DF", chunked, func(s *suite) {
		c := s.open()
		if writable(s.want) {
			s.stripes(c)
		}
		for _, length := range []uint32{s.want.Blocks.Min, 64 << 10, stripesLength, 1 << 20} {
			reply := c.Ask(Request{Type: CmdRead, Flags: CmdFlagDF, Offset: 0, Length: length})
			if reply.Errno == EOVERFLOW && length > 64<<10 {
				continue
			}
			content := 0
			for _, ch := range reply.Chunks {
				if ch.Type == ChunkOffsetData || ch.Type == ChunkOffsetHole {
					content++
				}
			}
			if reply.Errno != OK || content != 1 {
				s.Errorf("READ of %d bytes with DF: %v in %d chunks", length, reply.Errno, content)
			}
		}
	}},

	{"Row17HolesAreSentAsHoles", func(w Expect) bool { return chunked(w) && w.Sparse && offering(FlagSendTrim|FlagSendWriteZeroes)(w) }, func(s *suite) {
		c := s.open()
		want := s.stripes(c)
		unit := uint64(s.unit())
		for _, span := range [][2]uint64{
			{0, stripesLength},           // everything
			{0, stripe},                  // one stripe
			{stripe, stripe},             // the other one
			{stripe, 2 * stripe},         // and both
			{stripe / 2, 4 * stripe},     // parts at both ends
			{unit, stripesLength - unit}, // uneven
			{stripe + unit, unit},        // inside a hole or data
			{unit, unit},
			{2*stripe - unit, 2 * unit}, // across an edge
		} {
			from, n := span[0], span[1]
			holes := uint64(0)
			for i := from; i < from+n; i += unit {
				if isHole(stripesAt + i) {
					holes += unit
				}
			}
			reply := c.Ask(Request{Type: CmdRead, Offset: stripesAt + from, Length: uint32(n)})
			switch {
			case reply.Errno != OK || !bytes.Equal(reply.Data, want[from:from+n]):
				s.Errorf("READ of %d bytes at %#x: %v, or other data", n, stripesAt+from, reply.Errno)
			case reply.Holes != holes:
				s.Errorf("READ of %d bytes at %#x: %d bytes are sent as holes, want %d", n, stripesAt+from, reply.Holes, holes)
			}
		}
		// What is written into a hole is data.
		data := pattern(17, uint32(unit))
		s.write(c, stripesAt+stripe+unit, data)
		s.write(c, stripesAt+unit, data)
		s.reads(c, stripesAt+stripe+unit, data)
		s.reads(c, stripesAt+unit, data)
	}},

	{"Row12SparseReadsInFlight", both(chunked, writable), func(s *suite) {
		c := s.open()
		want := s.stripes(c)
		var requests []Request
		for i := range uint64(100) {
			from := i * 7 % 40 * (stripe / 8)
			requests = append(requests, Request{Type: CmdRead, Cookie: i, Offset: stripesAt + from, Length: stripe})
		}
		for i, reply := range c.Exchange(requests...) {
			from := requests[i].Offset - stripesAt
			if reply.Errno != OK || !bytes.Equal(reply.Data, want[from:from+stripe]) {
				s.Errorf("READ number %d: %v, or other data", i, reply.Errno)
			}
		}
	}},
}
