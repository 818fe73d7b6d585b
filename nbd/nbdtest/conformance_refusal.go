package nbdtest

import (
	"bytes"
	"math"
	"slices"
)

// refusalChecks are rows 19, 20 and 24: what is refused, with which error, and
// that the connection survives it.
var refusalChecks = []check{
	{"Row19RefusedWriteIsConsumed", nil, func(s *suite) {
		c := s.open()
		unit := s.unit()
		// A payload that is taken for requests ends the connection.
		payload := slices.Repeat(c.Encode(Request{Type: CmdDisc}), 8*int(unit)/c.RequestSize()+1)[:8*unit]
		for _, r := range []Request{
			{Offset: s.want.Size},
			{Offset: s.want.Size - uint64(unit)},
			{Offset: -uint64(unit)},
			{Flags: 1 << 15},
			{Flags: CmdFlagNoHole},
			{Flags: 0xffff, Offset: math.MaxUint64},
		} {
			r.Type, r.Length, r.Payload = CmdWrite, uint32(len(payload)), payload
			if _, errno := c.Do(r); errno == OK {
				s.Errorf("WRITE at %#x with flags %#x succeeds", r.Offset, r.Flags)
			}
			s.alive(c)
		}
		// Many behind each other, with reads between them.
		var requests []Request
		for i := range uint64(20) {
			requests = append(requests,
				Request{Type: CmdWrite, Cookie: 2 * i, Offset: s.want.Size, Length: uint32(len(payload)), Payload: payload},
				Request{Type: CmdRead, Cookie: 2*i + 1, Offset: s.last(), Length: unit})
		}
		for i, reply := range c.Exchange(requests...) {
			if (reply.Errno == OK) != (requests[i].Type == CmdRead) {
				s.Errorf("%s number %d: %v", commandName(requests[i].Type), i, reply.Errno)
			}
		}
	}},

	{"Row20PastTheEnd", nil, func(s *suite) {
		c := s.open()
		unit := uint64(s.unit())
		for _, r := range s.commands() {
			if r.Type == CmdFlush {
				continue
			}
			want := EINVAL
			if r.Type == CmdWrite || r.Type == CmdWriteZeroes {
				want = ENOSPC
			}
			for _, offset := range []uint64{s.want.Size - unit, s.want.Size, s.want.Size + 1<<20, 1 << 62, 1<<63 - unit, 1 << 63} {
				r.Offset, r.Length = offset, 2*uint32(unit)
				if r.Type == CmdWrite {
					r.Payload = pattern(20, r.Length)
				}
				s.refused(c, r, want)
			}
		}
		s.serverAlive() // and the export has not grown
	}},

	{"Row20OffsetAndLengthDoNotWrap", nil, func(s *suite) {
		c := s.open()
		unit := uint64(s.unit())
		for _, r := range s.commands() {
			if r.Type == CmdFlush {
				continue
			}
			for _, offset := range []uint64{-unit, -(4 * unit)} {
				r.Offset, r.Length = offset, 8*uint32(unit)
				if r.Type == CmdWrite {
					r.Payload = pattern(20, r.Length)
				}
				want := EINVAL
				if r.Type == CmdWrite || r.Type == CmdWriteZeroes {
					want = ENOSPC
				}
				s.refused(c, r, want)
			}
			if r.Type != CmdRead && r.Type != CmdWrite {
				r.Offset, r.Length = s.want.Size/2/unit*unit, math.MaxUint32-uint32(unit)+1
				if r.Offset+uint64(r.Length) > s.want.Size {
					want := EINVAL
					if r.Type == CmdWriteZeroes {
						want = ENOSPC
					}
					s.refused(c, r, want)
				}
			}
		}
	}},

	// go-nbd answers that it succeeded, and then closes the connection.
	{"Row14RefusedReadHasNoData", nil, func(s *suite) {
		c := s.open()
		unit := s.unit()
		replies := c.Exchange(
			Request{Type: CmdRead, Cookie: 1, Offset: s.want.Size, Length: unit},
			Request{Type: CmdRead, Cookie: 2, Offset: s.last(), Length: unit},
			Request{Type: CmdRead, Cookie: 3, Offset: s.last(), Length: 2 * unit},
			Request{Type: CmdRead, Cookie: 4, Offset: s.last(), Length: unit},
		)
		for i, want := range []Errno{EINVAL, OK, EINVAL, OK} {
			if replies[i].Errno != want {
				s.Errorf("READ number %d: %v, want %v", i+1, replies[i].Errno, want)
			}
		}
	}},

	{"Row20Unaligned", func(w Expect) bool { return w.Blocks.Min > 1 }, func(s *suite) {
		block := s.want.Blocks.Min
		c := s.open() // has asked for the size constraints
		before, _ := c.Read(0, 2*block, 0)
		for _, r := range s.commands() {
			if r.Type == CmdFlush {
				continue
			}
			for _, at := range unalignedSpans(block) {
				r.Offset, r.Length = at.offset, at.length
				if r.Type == CmdWrite {
					r.Payload = pattern(20, r.Length)
				}
				s.refused(c, r, EINVAL)
			}
		}
		s.reads(c, 0, before)
	}},

	// A client that has not asked for the size constraints gets a clean error or
	// correct service.
	{"Row08UnalignedWithoutAPromise", func(w Expect) bool { return w.Blocks.Min > 1 && writable(w) }, func(s *suite) {
		block := s.want.Blocks.Min
		c := s.haggle()
		c.Go(s.want.Export)
		want := pattern(8, 4*block)
		s.write(c, 0, want)
		for i, at := range unalignedSpans(block) {
			for _, r := range s.commands() {
				if r.Type == CmdFlush {
					continue
				}
				r.Offset, r.Length, r.Payload = at.offset, at.length, nil
				if r.Type == CmdWrite {
					r.Payload = pattern(byte(i), r.Length)
				}
				got, errno := c.Do(r)
				span := want[r.Offset:][:r.Length]
				switch {
				case errno == EINVAL && !s.want.Unaligned:
					continue
				case errno != OK:
					s.Fatalf("%s of %d bytes at %d: %v", commandName(r.Type), r.Length, r.Offset, errno)
				case r.Type == CmdRead && !bytes.Equal(got, span):
					s.Errorf("READ of %d bytes at %d: other data", r.Length, r.Offset)
				case r.Type == CmdWrite:
					copy(span, r.Payload)
				case r.Type == CmdWriteZeroes:
					clear(span)
				case r.Type == CmdTrim: // the whole blocks may be anything now
					now, _ := c.Read(0, uint32(len(want)), 0)
					from, to := (r.Offset+uint64(block)-1)/uint64(block)*uint64(block), (r.Offset+uint64(r.Length))/uint64(block)*uint64(block)
					if from < to {
						copy(want[from:to], now[from:])
					}
				}
				s.reads(c, 0, want)
			}
		}
	}},

	{"Row20UnknownCommand", nil, func(s *suite) {
		c := s.open()
		for _, typ := range []uint16{CmdBlockStatus, CmdResize, 9, 0x100, 0x101, 0x8000, 0xffff} {
			if _, errno := c.Do(Request{Type: typ, Length: s.unit()}); errno != EINVAL {
				s.Errorf("command %#x: %v, want EINVAL", typ, errno)
			}
			s.alive(c)
		}
	}},

	{"Row20UnknownFlag", nil, func(s *suite) {
		c := s.open()
		for _, r := range s.commands() {
			for bit := range 16 {
				flag := uint16(1) << bit
				if s.allows(r.Type, flag) || s.want.mode == Extended && flag == CmdFlagPayloadLen { // that one is row 27's
					continue
				}
				r.Flags = flag
				s.refused(c, r, EINVAL)
			}
		}
	}},

	// Fields that FLUSH has no use for may be refused, but not misunderstood.
	{"FlushWithOffsetAndLength", func(w Expect) bool { return w.offers(FlagSendFlush) }, func(s *suite) {
		c := s.open()
		for _, r := range []Request{{Offset: 512}, {Length: 512}, {Offset: math.MaxUint64, Length: math.MaxUint32}} {
			r.Type = CmdFlush
			if _, errno := c.Do(r); errno != OK && errno != EINVAL {
				s.Errorf("FLUSH with offset %#x and length %#x: %v", r.Offset, r.Length, errno)
			}
		}
		s.alive(c)
	}},

	{"Row24ZeroLength", nil, func(s *suite) {
		c := s.open()
		for _, r := range s.commands() {
			r.Length, r.Payload = 0, nil
			for _, offset := range []uint64{0, uint64(s.unit()), s.want.Size, s.want.Size + uint64(s.unit()), math.MaxUint64} {
				r.Offset = offset
				switch _, errno := c.Do(r); errno {
				case OK, EINVAL, EPERM, ENOSPC:
				default:
					s.Errorf("%s of no bytes at %#x: %v", commandName(r.Type), offset, errno)
				}
			}
			s.alive(c)
		}
		s.serverAlive()
	}},

	{"Row24ZeroLengthWritesNothing", writable, func(s *suite) {
		c := s.open()
		data := pattern(24, 16*s.unit())
		s.write(c, 0, data)
		for _, r := range s.commands() {
			r.Length, r.Payload = 0, nil
			c.Do(r)
		}
		s.reads(c, 0, data)
	}},
}

// unalignedSpans are ranges that are not made of whole blocks.
func unalignedSpans(block uint32) []span32 {
	half := block / 2
	return []span32{
		{1, block}, {0, block - 1}, {0, block + 1}, {uint64(half), block}, {uint64(half), half},
		{1, 1}, {uint64(half), 2 * block}, {uint64(block) - 1, block + 2}, {1, 3*block + half},
	}
}

type span32 struct {
	offset uint64
	length uint32
}

// refused requires that r is refused with the error, and that the connection
// goes on. A read-only export may refuse what modifies with EPERM, however
// wrong it is otherwise.
func (s *suite) refused(c *Conn, r Request, want Errno) {
	s.Helper()
	_, errno := c.Do(r)
	if errno != want && !(errno == EPERM && !writable(s.want) && modifies(r.Type)) {
		s.Errorf("%s of %d bytes at %#x with flags %#x: %v, want %v", commandName(r.Type), r.Length, r.Offset, r.Flags, errno, want)
	}
	s.alive(c)
}

// allows reports whether a command may have a flag.
func (s *suite) allows(typ, flag uint16) bool {
	switch flag {
	case CmdFlagFUA:
		return s.want.offers(FlagSendFUA)
	case CmdFlagNoHole:
		return typ == CmdWriteZeroes
	case CmdFlagDF:
		return typ == CmdRead && chunked(s.want)
	case CmdFlagFastZero:
		return typ == CmdWriteZeroes && s.want.offers(FlagSendFastZero)
	}
	return false
}
