package nbdtest

import "math"

// endChecks are row 25, and what a client does that has lost its way: its own
// connection ends and nothing else (I7).
var endChecks = []check{
	{"Row25DiscHasNoReply", nil, func(s *suite) {
		for _, r := range []Request{
			{},
			{Flags: CmdFlagFUA},
			{Flags: 0xffff},
			{Cookie: math.MaxUint64, Offset: math.MaxUint64, Length: math.MaxUint32},
		} {
			r.Type = CmdDisc
			c := s.open()
			s.alive(c)
			c.SendRequests(r)
			c.ExpectClosed()
		}
		s.open().Disc(0) // as the first request of all
	}},

	{"Row25DiscFinishesWhatIsOutstanding", nil, func(s *suite) {
		c := s.open()
		requests := s.burst()
		c.Exchange(append(requests, Request{Type: CmdDisc, Cookie: 1 << 32})...)
		c.ExpectClosed()
		s.burstDone()
	}},

	{"Row25EOFFinishesWhatIsOutstanding", nil, func(s *suite) {
		c := s.open()
		requests := s.burst()
		c.SendRequests(requests...)
		c.CloseWrite()
		c.Collect(requests...)
		c.ExpectClosed()
		s.burstDone()
	}},

	{"Row25NothingIsDoneAfterDisc", writable, func(s *suite) {
		data := pattern(25, s.unit())
		s.write(s.open(), 0, data)
		c := s.open()
		// The server may have closed the connection before all of it is sent.
		c.TrySend(c.Encode(
			Request{Type: CmdDisc},
			Request{Type: CmdWrite, Length: s.unit(), Payload: make([]byte, s.unit())}))
		c.ExpectClosed()
		s.reads(s.open(), 0, data)
	}},

	// A WRITE whose payload does not come may be answered, but it has not
	// succeeded.
	{"Row25EOFWithinARequest", nil, func(s *suite) {
		r := Request{Type: CmdWrite, Length: 8 * s.unit(), Payload: pattern(26, 8*s.unit())}
		header := s.open().RequestSize()
		for _, cut := range []int{1, 4, header - 1, header, header + 1, header + len(r.Payload) - 1} {
			c := s.open()
			whole := c.Encode(r)
			c.Send(whole[:cut])
			c.CloseWrite()
			if errno, _, err := c.tryReadReply(); err == nil {
				if errno == OK || cut < header {
					s.Errorf("%d of %d bytes of a WRITE: %v", cut, len(whole), errno)
				}
				c.ExpectClosed()
			} else if !hungUp(err) {
				s.Errorf("the server did not close the connection: %v", err)
			}
		}
		s.serverAlive()
	}},

	{"Row25ClientIsKilled", nil, func(s *suite) {
		other := s.open()
		for range 10 {
			c := s.open()
			c.SendRequests(s.burst()...)
			c.Close()
		}
		s.alive(other)
		s.serverAlive()
	}},

	{"GarbageEndsOnlyItsOwnConnection", nil, func(s *suite) {
		other := s.open()
		of := uint32(MagicExtendedRequest) // of another mode
		if s.want.mode == Extended {
			of = MagicRequest
		}
		for _, magic := range []uint32{1, 0x12560953, 0x25609514, of, MagicSimpleReply, 0x47455420} {
			c := s.open()
			c.SendRequests(Request{Magic: magic, Type: CmdRead, Length: s.unit()})
			c.ExpectClosed()
			s.alive(other)
		}
		s.serverAlive()
	}},

	{"GarbageBehindGoodRequests", nil, func(s *suite) {
		c := s.open()
		requests := s.burst()
		c.SendRequests(append(requests, Request{Magic: 1})...)
		c.Collect(requests...)
		c.ExpectClosed()
	}},
}

// burstUnits is how many units a burst covers, from the start of the export.
const burstUnits = 32

// burst is a number of requests to have outstanding: writes where that is
// allowed, and reads.
func (s *suite) burst() []Request {
	unit := s.unit()
	var requests []Request
	for i := range uint64(burstUnits) {
		if writable(s.want) {
			requests = append(requests, Request{
				Type: CmdWrite, Cookie: 2 * i, Offset: i * uint64(unit), Length: unit, Payload: pattern(byte(i), unit),
			})
		}
		requests = append(requests, Request{Type: CmdRead, Cookie: 2*i + 1, Offset: s.last(), Length: unit})
	}
	return requests
}

// burstDone requires that the writes of a burst were done.
func (s *suite) burstDone() {
	s.Helper()
	if !writable(s.want) {
		return
	}
	c := s.open()
	for i := range uint64(burstUnits) {
		s.reads(c, i*uint64(s.unit()), pattern(byte(i), s.unit()))
	}
}
