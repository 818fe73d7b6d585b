package nbdtest

import "bytes"

// dataChecks are rows 12, 13 and 21: what is written is read, in flight
// together, on all connections, with FUA and without.
var dataChecks = []check{
	{"ReadsWhatWasWritten", writable, func(s *suite) {
		c := s.open()
		unit := s.unit()
		block := s.want.Blocks.Min
		for i, span := range []struct {
			offset uint64
			length uint32
		}{
			{0, unit},
			{0, block},
			{uint64(block), block},
			{uint64(unit), 3 * unit},
			{4096 - uint64(block%4096), 8192}, // across pages, out of step with them if blocks are smaller
			{s.want.Size / 2 / uint64(unit) * uint64(unit), 128 << 10},
			{s.last(), unit},
			{s.want.Size - uint64(block), block},
			{s.want.Size - 256<<10, 256 << 10},
		} {
			data := pattern(byte(i), span.length)
			s.write(c, span.offset, data)
			s.reads(c, span.offset, data)
		}
	}},

	{"WriteLeavesNeighboursAlone", writable, func(s *suite) {
		c := s.open()
		block := s.want.Blocks.Min
		whole := pattern(9, 64<<10)
		s.write(c, 0, whole)
		for i, offset := range []uint32{8192, 4096 + block, 12288 - block} {
			small := pattern(byte(i), block)
			s.write(c, uint64(offset), small)
			copy(whole[offset:], small)
		}
		s.reads(c, 0, whole)
	}},

	{"Row12CookiesAreOpaque", nil, func(s *suite) {
		c := s.open()
		var requests []Request
		for _, cookie := range []uint64{0, 1, 1<<64 - 1, 1 << 63, 1<<32 - 1, 0x6744669867446698, 0x2560951325609513} {
			requests = append(requests, Request{Type: CmdRead, Cookie: cookie, Length: s.unit()})
		}
		for _, reply := range c.Exchange(requests...) {
			if reply.Errno != OK {
				s.Errorf("READ: %v", reply.Errno)
			}
		}
		// A cookie that is free again may be used again, and one that is not,
		// by a careless client, is still none of the server's business.
		for range 3 {
			r := Request{Type: CmdRead, Cookie: 7, Length: s.unit()}
			c.SendRequests(r, r)
			for range 2 {
				if _, errno := c.answer(r); errno != OK {
					s.Errorf("READ: %v", errno)
				}
			}
		}
	}},

	{"Row12ReadsInFlight", nil, func(s *suite) {
		const count = 256
		c := s.open()
		unit := s.unit()
		whole, errno := c.Read(0, count*unit, 0)
		if errno != OK {
			s.Fatalf("READ of %d bytes: %v", count*unit, errno)
		}
		var requests []Request
		for i := range uint64(count) {
			block := i * 37 % count
			requests = append(requests, Request{Type: CmdRead, Cookie: i << 40, Offset: block * uint64(unit), Length: unit})
		}
		for i, reply := range c.Exchange(requests...) {
			at := requests[i].Offset
			if reply.Errno != OK || !bytes.Equal(reply.Data, whole[at:at+uint64(unit)]) {
				s.Errorf("READ at %#x: %v, or other data", at, reply.Errno)
			}
		}
	}},

	{"Row12WritesInFlight", writable, func(s *suite) {
		const count = 128
		c := s.open()
		unit := s.unit()
		var requests []Request
		for i := range uint64(count) {
			block := i * 37 % count
			requests = append(requests, Request{
				Type: CmdWrite, Cookie: i, Offset: block * uint64(unit), Length: unit, Payload: pattern(byte(block), unit),
			})
		}
		for _, reply := range c.Exchange(requests...) {
			if reply.Errno != OK {
				s.Errorf("WRITE: %v", reply.Errno)
			}
		}
		for block := range uint64(count) {
			s.reads(c, block*uint64(unit), pattern(byte(block), unit))
		}
	}},

	// All kinds of commands and of outcomes together: a reply of one must not
	// be taken for that of another.
	{"Row12MixedInFlight", nil, func(s *suite) {
		c := s.open()
		var requests []Request
		var want []Errno
		for i := range 100 {
			for _, r := range s.commands() {
				errno := OK
				if !writable(s.want) && modifies(r.Type) {
					errno = EPERM
				}
				if i%5 == 0 {
					r.Flags = 1 << 15
					errno = EINVAL
				}
				r.Cookie = uint64(len(requests))
				requests, want = append(requests, r), append(want, errno)
			}
		}
		for i, reply := range c.Exchange(requests...) {
			if reply.Errno != want[i] && !(want[i] == EINVAL && reply.Errno == EPERM) {
				s.Errorf("%s number %d: %v, want %v", commandName(requests[i].Type), i, reply.Errno, want[i])
			}
		}
		s.alive(c)
	}},

	{"Row12ConnectionsSeeEachOthersWrites", offering(FlagCanMultiConn | FlagSendFlush), func(s *suite) {
		conns := []*Conn{s.open(), s.open(), s.open()}
		for round := range 10 {
			writer, flusher, reader := conns[round%3], conns[(round+1)%3], conns[(round+2)%3]
			data := pattern(byte(round), 8*s.unit())
			s.write(writer, 0, data)
			if errno := flusher.Flush(0); errno != OK {
				s.Fatalf("FLUSH: %v", errno)
			}
			s.reads(reader, 0, data)
			s.reads(writer, 0, data)
		}
	}},

	{"Row13FUAIsAcceptedOnEveryCommand", func(w Expect) bool { return w.offers(FlagSendFUA) }, func(s *suite) {
		c := s.open()
		for _, r := range s.commands() {
			want := OK
			if !writable(s.want) && modifies(r.Type) {
				want = EPERM
			}
			r.Flags = CmdFlagFUA
			if _, errno := c.Do(r); errno != want {
				s.Errorf("%s with FUA: %v, want %v", commandName(r.Type), errno, want)
			}
		}
	}},

	{"Row13FUAWrites", offering(FlagSendFUA), func(s *suite) {
		c := s.open()
		data := pattern(13, 4*s.unit())
		if errno := c.Write(0, data, CmdFlagFUA); errno != OK {
			s.Fatalf("WRITE with FUA: %v", errno)
		}
		s.reads(c, 0, data)
	}},

	{"Row21ReadOnly", func(w Expect) bool { return !writable(w) }, func(s *suite) {
		c := s.open()
		before, _ := c.Read(0, s.unit(), 0)
		for _, typ := range []uint16{CmdWrite, CmdTrim, CmdWriteZeroes} {
			r := Request{Type: typ, Length: s.unit()}
			if typ == CmdWrite {
				r.Payload = pattern(21, s.unit())
			}
			if _, errno := c.Do(r); errno != EPERM {
				s.Errorf("%s on a read-only export: %v, want EPERM", commandName(typ), errno)
			}
		}
		s.reads(c, 0, before)
		if s.want.offers(FlagSendFlush) {
			if errno := c.Flush(0); errno != OK {
				s.Errorf("FLUSH: %v", errno)
			}
		}
	}},
}
