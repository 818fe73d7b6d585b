package nbdtest

import "slices"

// negotiationChecks are rows 1 to 8 and 11 as far as they are seen from
// outside, and what go-nbd and nbd-server get wrong in them.
var negotiationChecks = []check{
	{"Row01UnknownClientFlagsAreRefused", nil, func(s *suite) {
		for _, flags := range []uint32{4, 7, 1<<16 | 1, 1<<31 | 3} {
			c := s.connect()
			c.Greet()
			c.SendClientFlags(flags)
			c.ExpectClosed()
		}
	}},

	{"Row02ExportName", nil, func(s *suite) {
		for _, flags := range []uint32{0, FixedNewstyle, NoZeroes, FixedNewstyle | NoZeroes} {
			for _, name := range []string{s.want.Export, ""} {
				c := s.connect()
				c.Greet()
				c.SendClientFlags(flags)
				if e := c.ExportName(name); e.Size != s.want.Size || e.Flags != s.want.Flags&^dependent {
					s.Errorf("EXPORT_NAME of %q with client flags %#x: size %d, flags %#x; want %d, %#x",
						name, flags, e.Size, e.Flags, s.want.Size, s.want.Flags)
				}
				s.alive(c)
			}
		}
	}},

	{"Row02UnknownExportNameCloses", nil, func(s *suite) {
		for _, name := range []string{unknownExport, s.want.Export + "x", s.want.Export + "\x00", "\xff"} {
			c := s.haggle()
			c.SendOption(OptExportName, []byte(name))
			c.ExpectClosed()
		}
	}},

	{"Row03UnknownOptionIsConsumed", nil, func(s *suite) {
		c := s.haggle()
		for _, n := range []int{0, 1, 64, 4096} {
			// The data looks like options that would end the connection.
			data := slices.Repeat(OptionBytes(OptAbort, nil), n/16+1)[:n]
			c.SendOption(0x7eadbeef, data)
			c.ExpectOptionReply(0x7eadbeef, RepErrUnsup)
		}
		c.Go(s.want.Export)
		s.alive(c)
	}},

	{"Row04DataWhereNoneBelongs", nil, func(s *suite) {
		c := s.haggle()
		c.SendOption(OptList, []byte("data"))
		c.ExpectOptionReply(OptList, RepErrInvalid)
		c.Go(s.want.Export)
		s.alive(c)
	}},

	{"Row05AbortIsAcknowledged", nil, func(s *suite) {
		s.haggle().Abort()
		c := s.haggle()
		c.SendOption(OptAbort, []byte("data"))
		c.ExpectOptionReply(OptAbort, RepAck)
		c.ExpectClosed()
	}},

	{"Row06ListHasOneReplyForEachExport", nil, func(s *suite) {
		c := s.haggle()
		var names []string
		for _, e := range c.List() {
			names = append(names, e.Name)
		}
		if !slices.Equal(names, s.want.Exports) {
			s.Errorf("LIST shows %q, want %q", names, s.want.Exports)
		}
		for _, name := range names {
			if e := c.Info(name, InfoName); e.Name != nil && *e.Name != name {
				s.Errorf("INFO of %q calls it %q", name, *e.Name)
			}
		}
	}},

	{"Row07InfoAndGoAnswerAlike", nil, func(s *suite) {
		for _, name := range []string{s.want.Export, ""} {
			c := s.haggle()
			info := c.Info(name, InfoName, InfoDescription, InfoBlockSize)
			if info.Size != s.want.Size || info.Flags != s.want.Flags {
				s.Errorf("INFO of %q: size %d, flags %#x; want %d, %#x", name, info.Size, info.Flags, s.want.Size, s.want.Flags)
			}
			if info.Name == nil || *info.Name != s.want.Export {
				s.Errorf("INFO of %q does not call it %q", name, s.want.Export)
			}
			if info.Blocks == nil || *info.Blocks != s.want.Blocks {
				s.Errorf("INFO of %q: size constraints %+v, want %+v", name, info.Blocks, s.want.Blocks)
			}
			again := c.Go(name, InfoName, InfoDescription, InfoBlockSize)
			if again.Size != info.Size || again.Flags != info.Flags || !same(again.Name, info.Name) ||
				!same(again.Description, info.Description) || !same(again.Blocks, info.Blocks) {
				s.Errorf("INFO of %q says %+v, GO %+v", name, info, again)
			}
			s.alive(c)
		}
	}},

	{"Row07GoOfUnknownExportAfterInfo", nil, func(s *suite) {
		c := s.haggle()
		c.Info(s.want.Export)
		for _, id := range []uint32{OptGo, OptInfo, OptGo} {
			if _, typ := c.TryInfo(id, unknownExport); typ != RepErrUnknown {
				s.Errorf("option %d of an unknown export: reply %#x", id, typ)
			}
		}
		c.Go(s.want.Export)
		s.alive(c)
	}},

	{"Row07LengthsHaveToFit", nil, func(s *suite) {
		c := s.haggle()
		for _, data := range []string{"", "\x00\x00\x00\x00\x00", "\x00\x00\x00\x09name\x00\x00", "\xff\xff\xff\xff\x00\x00", "\x00\x00\x00\x00\x00\x02\x00\x00"} {
			for _, id := range []uint32{OptInfo, OptGo} {
				c.SendOption(id, []byte(data))
				c.ExpectOptionReply(id, RepErrInvalid)
			}
		}
		c.Go(s.want.Export)
		s.alive(c)
	}},

	{"Row07RequestsMayFollowGoAtOnce", nil, func(s *suite) {
		c := s.haggle()
		r := Request{Type: CmdRead, Cookie: 1, Offset: s.last(), Length: s.unit()}
		c.Send(append(OptionBytes(OptGo, InfoData(s.want.Export)), c.Encode(r)...))
		if _, typ := c.ReadInfo(OptGo); typ != RepAck {
			s.Fatalf("GO: error reply %#x", typ)
		}
		if _, errno := c.answer(r); errno != OK {
			s.Errorf("READ: %v", errno)
		}
	}},

	{"Row11IdleHandshakesPinNothing", nil, func(s *suite) {
		for range 16 {
			s.connect()
			c := s.haggle()
			c.Send(OptionBytes(OptGo, InfoData(s.want.Export))[:20])
		}
		s.serverAlive()
	}},

	{"OfferedFlagsAreConsistent", nil, func(s *suite) {
		c := s.haggle()
		flags := c.Info(s.want.Export).Flags
		switch {
		case flags&FlagHasFlags == 0:
			s.Error("HAS_FLAGS is not set")
		case (flags&FlagSendDF != 0) != chunked(s.want):
			s.Errorf("flags %#x: SEND_DF goes with structured replies", flags)
		case flags&FlagStatusPayload != 0:
			s.Error("BLOCK_STATUS_PAYLOAD without a metadata context")
		case flags&FlagSendFastZero != 0 && flags&FlagSendWriteZeroes == 0:
			s.Error("SEND_FAST_ZERO without SEND_WRITE_ZEROES")
		case flags&FlagSendResize != 0:
			s.Error("SEND_RESIZE, which is an extension (row 28)")
		}
	}},
}

// dependent are the flags that a server offers only with structured replies or
// extended headers.
const dependent = FlagSendDF | FlagStatusPayload

// unknownExport is a name that no server under test has.
const unknownExport = "no such export"

// same compares what two optional values point to.
func same[T comparable](a, b *T) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}
