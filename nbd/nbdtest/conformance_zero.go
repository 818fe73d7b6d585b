package nbdtest

// zeroChecks are row 23, and the wrong that nbd-server does in it.
var zeroChecks = []check{
	{"Row23WriteZeroesReadsBackAsZeroes", offering(FlagSendWriteZeroes), func(s *suite) {
		for _, flags := range []uint16{0, CmdFlagNoHole} {
			s.zeroes(flags)
			if s.want.offers(FlagSendFUA) {
				s.zeroes(flags | CmdFlagFUA)
			}
		}
	}},

	// What one path made must not break the other.
	{"Row23WriteAfterZeroes", offering(FlagSendWriteZeroes), func(s *suite) {
		c := s.open()
		for _, flags := range []uint16{0, CmdFlagNoHole, 0} {
			s.write(c, 0, pattern(1, 64<<10))
			if errno := c.WriteZeroes(0, 64<<10, flags); errno != OK {
				s.Fatalf("WRITE_ZEROES: %v", errno)
			}
			data := pattern(2, 8<<10)
			s.write(c, 16<<10, data)
			s.reads(c, 0, make([]byte, 16<<10))
			s.reads(c, 16<<10, data)
			s.reads(c, 24<<10, make([]byte, 40<<10))
		}
	}},

	{"Row23FastZeroSucceedsOrLeavesAlone", offering(FlagSendFastZero), func(s *suite) {
		c := s.open()
		data := pattern(23, 64<<10)
		s.write(c, 0, data)
		switch errno := c.WriteZeroes(0, 64<<10, CmdFlagFastZero); errno {
		case OK:
			s.reads(c, 0, make([]byte, 64<<10))
		case ENOTSUP:
			s.reads(c, 0, data)
		default:
			s.Errorf("WRITE_ZEROES with FAST_ZERO: %v", errno)
		}
	}},

	{"Row23WithoutFastZeroIsNeverNotsup", offering(FlagSendWriteZeroes), func(s *suite) {
		c := s.open()
		for _, length := range []uint32{s.want.Blocks.Min, s.unit(), 128 << 10} {
			if errno := c.WriteZeroes(0, length, 0); errno != OK {
				s.Errorf("WRITE_ZEROES of %d bytes: %v", length, errno)
			}
		}
	}},

	{"Row23TrimLeavesNeighboursAlone", offering(FlagSendTrim), func(s *suite) {
		c := s.open()
		unit := uint64(s.unit())
		data := pattern(24, 256<<10)
		s.write(c, 0, data)
		for _, span := range [][2]uint64{{unit, 2 * unit}, {64<<10 - unit, 64<<10 + 2*unit}, {128 << 10, 192 << 10}} {
			from, to := span[0], span[1]
			if errno := c.Trim(from, uint32(to-from), 0); errno != OK {
				s.Fatalf("TRIM: %v", errno)
			}
			s.reads(c, from-unit, data[from-unit:from])
			s.reads(c, to, data[to:to+unit])
		}
		// What was trimmed may read as anything, but it does read and write.
		if _, errno := c.Read(128<<10, 64<<10, 0); errno != OK {
			s.Errorf("READ of what was trimmed: %v", errno)
		}
		s.write(c, 128<<10, data[:4*unit])
		s.reads(c, 128<<10, data[:4*unit])
	}},

	// go-nbd reads a payload behind TRIM, which has none.
	{"TrimHasNoPayload", offering(FlagSendTrim), func(s *suite) {
		c := s.open()
		unit := s.unit()
		replies := c.Exchange(
			Request{Type: CmdTrim, Cookie: 1, Length: unit},
			Request{Type: CmdRead, Cookie: 2, Offset: s.last(), Length: unit},
			Request{Type: CmdTrim, Cookie: 3, Offset: uint64(unit), Length: 16 * unit},
			Request{Type: CmdRead, Cookie: 4, Offset: s.last(), Length: unit},
		)
		for i, reply := range replies {
			if reply.Errno != OK {
				s.Errorf("request %d: %v", i+1, reply.Errno)
			}
		}
	}},

	{"CacheChangesNothing", offering(FlagSendCache), func(s *suite) {
		c := s.open()
		data := pattern(25, 64<<10)
		s.write(c, 0, data)
		for _, length := range []uint32{s.want.Blocks.Min, 64 << 10, 1 << 20} {
			if errno := c.Cache(0, length, 0); errno != OK {
				s.Errorf("CACHE of %d bytes: %v", length, errno)
			}
		}
		s.reads(c, 0, data)
	}},

	// nbd-server zeroes too little of a request above 64 MiB.
	{"WriteZeroesAbove64MiB", func(w Expect) bool {
		return offering(FlagSendWriteZeroes)(w) && w.Size >= 67<<20
	}, func(s *suite) {
		c := s.open()
		const length = 66 << 20
		marks := []uint64{0, 32<<20 - 4096, 32 << 20, 64<<20 - 4096, 64 << 20, 66<<20 - 4096}
		for _, at := range append(marks, length) {
			s.write(c, at, pattern(26, 4096))
		}
		if errno := c.WriteZeroes(0, length, 0); errno != OK {
			s.Fatalf("WRITE_ZEROES of 66 MiB: %v", errno)
		}
		for _, at := range marks {
			s.reads(c, at, make([]byte, 4096))
		}
		s.reads(c, length, pattern(26, 4096))
	}},
}

// zeroes checks WRITE_ZEROES of one set of flags over ranges of many lengths
// and alignments.
func (s *suite) zeroes(flags uint16) {
	s.Helper()
	c := s.open()
	block := s.want.Blocks.Min
	for _, span := range [][2]uint32{
		{0, block}, {block, block}, {4096, 4096}, {4096 - block%4096, 4096 + 2*(block%4096)}, {0, 64 << 10},
		{64 << 10, 64 << 10}, {block, 200 << 10}, {128 << 10, 128 << 10},
	} {
		const area = 256 << 10
		want := pattern(7, area)
		s.write(c, 0, want)
		if errno := c.WriteZeroes(uint64(span[0]), span[1], flags); errno != OK {
			s.Fatalf("WRITE_ZEROES of %d bytes at %#x with flags %#x: %v", span[1], span[0], flags, errno)
		}
		clear(want[span[0] : span[0]+span[1]])
		s.reads(c, 0, want)
	}
}
