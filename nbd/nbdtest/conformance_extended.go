package nbdtest

// extendedChecks are row 27, and row 22 for lengths of 64 bits.
var extendedChecks = []check{
	// Compact and extended requests don't mix.
	{"Row27RequestsOfAnotherMode", func(w Expect) bool { return len(w.Modes) > 0 }, func(s *suite) {
		c := s.open()
		r := Request{Type: CmdRead, Length: s.unit()}
		if s.want.mode == Extended {
			c.Send(r.Bytes())
			c.Send(make([]byte, ExtendedRequestSize-RequestSize))
		} else {
			c.TrySend(r.extended())
		}
		c.ExpectClosed()
		s.serverAlive()
	}},

	{"Row27ExportNameIsRefused", extended, func(s *suite) {
		c := s.haggle()
		c.SendOption(OptExportName, []byte(s.want.Export))
		c.ExpectClosed()
		s.serverAlive()
	}},

	// A WRITE without the flag has no payload, and other commands with it have
	// one, which is consumed.
	{"Row27PayloadFlag", extended, func(s *suite) {
		c := s.open()
		unit := s.unit()
		before, _ := c.Read(0, unit, 0)
		want := EINVAL
		if _, errno := c.Do(Request{Type: CmdWrite, Bare: true, Length: unit}); errno != want {
			s.Errorf("WRITE without PAYLOAD_LEN: %v, want %v", errno, want)
		}
		s.alive(c)
		for _, r := range append(s.commands(), Request{Type: 9}) {
			if r.Type == CmdWrite {
				continue
			}
			for _, n := range []uint32{1, 12, unit, 100_000} {
				r.Flags, r.Length, r.Payload = CmdFlagPayloadLen, n, pattern(27, n)
				if _, errno := c.Do(r); errno != want {
					s.Errorf("%s with a payload of %d bytes: %v, want %v", commandName(r.Type), n, errno, want)
				}
				s.alive(c)
			}
		}
		s.reads(c, 0, before)
	}},

	{"Row27HugePayloadCloses", extended, func(s *suite) {
		for _, typ := range []uint16{CmdWrite, CmdBlockStatus, CmdTrim} {
			c := s.open()
			c.SendRequests(Request{Type: typ, Flags: CmdFlagPayloadLen, Length64: 1 << 40})
			c.ExpectClosed()
		}
		s.serverAlive()
	}},

	// A length is not cut to 32 bits.
	{"Row22LengthsOf64Bits", extended, func(s *suite) {
		c := s.openMapped()
		data := pattern(22, 4*s.unit())
		if writable(s.want) {
			s.write(c, 0, data)
		}
		for _, r := range append(s.commands(), Request{Type: CmdBlockStatus}) {
			if r.Type == CmdFlush || r.Type == CmdWrite {
				continue
			}
			want := EINVAL
			if r.Type == CmdWriteZeroes {
				want = ENOSPC
			}
			for _, length := range []uint64{1<<32 + uint64(s.unit()), 1 << 40, 1<<63 - uint64(s.unit()), -uint64(s.unit())} {
				r.Length64 = length
				if length > s.want.Size {
					s.refused(c, r, want)
				}
			}
		}
		if writable(s.want) {
			s.reads(c, 0, data)
		}
	}},
}

func extended(w Expect) bool { return w.mode == Extended }
