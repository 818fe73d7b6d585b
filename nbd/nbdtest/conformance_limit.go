package nbdtest

import "math"

// harmless is the longest payload that must never be taken for an attack,
// whatever limit the server announces (proto.md "Size constraints").
const harmless = 32 << 20

// limitChecks are row 22: long requests, with and without payload.
var limitChecks = []check{
	{"Row22LongestPayload", beyondPayload, func(s *suite) {
		c := s.open()
		length := s.longest()
		if writable(s.want) {
			s.write(c, 0, pattern(22, length))
			s.reads(c, 0, pattern(22, length))
			return
		}
		if _, errno := c.Read(0, length, 0); errno != OK {
			s.Errorf("READ of %d bytes: %v", length, errno)
		}
	}},

	{"Row22TooLongRead", beyondPayload, func(s *suite) {
		c := s.open()
		s.refused(c, Request{Type: CmdRead, Length: s.longest() + s.unit()}, EINVAL)
	}},

	{"Row22TooLongWriteIsSkipped", beyondPayload, func(s *suite) {
		c := s.open()
		length := s.longest() + s.unit()
		before, _ := c.Read(0, s.unit(), 0)
		r := Request{Type: CmdWrite, Cookie: 22, Length: length, Payload: pattern(23, length)}
		err := c.TrySend(c.Encode(r))
		errno, cookie, recvErr := c.tryReadReply()
		switch {
		case err == nil && recvErr == nil:
			if cookie != r.Cookie || errno != EINVAL && !(errno == EPERM && !writable(s.want)) {
				s.Errorf("WRITE of %d bytes: %v, want EINVAL", length, errno)
			}
			s.alive(c)
		case length <= harmless:
			s.Errorf("the connection was closed for a payload of %d bytes (%v, %v)", length, err, recvErr)
		}
		s.reads(s.open(), 0, before)
	}},

	// What has no payload is not bound by its limit.
	{"Row22LengthWithoutPayload", beyondPayload, func(s *suite) {
		c := s.open()
		length := s.longest() + 2*s.unit()
		for _, r := range s.commands() {
			switch r.Type {
			case CmdTrim, CmdWriteZeroes, CmdCache:
				r.Length = length
				want := OK
				if !writable(s.want) && modifies(r.Type) {
					want = EPERM
				}
				if _, errno := c.Do(r); errno != want {
					s.Errorf("%s of %d bytes: %v, want %v", commandName(r.Type), length, errno, want)
				}
			}
		}
		s.alive(c)
	}},

	// nbd-server makes room for a payload before it looks at the request. From
	// here it is only seen that the server survives many such requests.
	{"Row22AnnouncedPayloadIsNotAllocated", nil, func(s *suite) {
		for range 32 {
			c := s.open()
			c.SendRequests(Request{Type: CmdWrite, Cookie: 1, Length: math.MaxUint32 - s.unit() + 1})
			c.TrySend(pattern(0, 4096))
			c.Close()
		}
		s.serverAlive()
	}},

	{"Row22PayloadOf32MiBPastTheEnd", nil, func(s *suite) {
		c := s.open()
		want := ENOSPC
		if s.want.Blocks.Max < harmless {
			want = EINVAL // too long, wherever it goes
		}
		r := Request{Type: CmdWrite, Offset: s.want.Size, Length: harmless, Payload: make([]byte, harmless)}
		if _, errno := c.Do(r); errno != want && errno != ENOSPC && !(errno == EPERM && !writable(s.want)) {
			s.Errorf("WRITE of 32 MiB past the end: %v, want %v", errno, want)
		}
		s.alive(c)
	}},
}

// longest is the payload limit, down to whole units.
func (s *suite) longest() uint32 { return s.want.Blocks.Max / s.unit() * s.unit() }

// beyondPayload is the condition that requests can be longer than the payload
// limit and still in range.
func beyondPayload(w Expect) bool {
	return w.Blocks.Max <= 64<<20 && w.Size >= uint64(w.Blocks.Max)+1<<20
}
