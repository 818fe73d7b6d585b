package nbdtest

import "slices"

// metaChecks are row 10: which metadata contexts a client can have, and when it
// has lost them.
var metaChecks = []check{
	{"Row10NeedsStructuredReplies", func(w Expect) bool { return w.mode == Simple && len(w.Modes) > 0 }, func(s *suite) {
		c := s.haggle()
		for _, id := range []uint32{OptListMetaContext, OptSetMetaContext} {
			if l, typ := c.TryMeta(id, s.want.Export, Allocation); typ != RepErrInvalid || len(l) > 0 {
				s.Errorf("option %d without structured replies: contexts %v, reply %#x", id, l, typ)
			}
		}
		c.Go(s.want.Export)
		s.alive(c)
	}},

	{"Row10Queries", chunked, func(s *suite) {
		for _, tc := range []struct {
			queries   []string
			list, set int // how many contexts they mean
			typ       uint32
		}{
			{nil, 1, 0, RepAck},
			{[]string{Allocation}, 1, 1, RepAck},
			{[]string{"base:"}, 1, 0, RepAck},
			{[]string{Allocation, Allocation, "base:"}, 1, 1, RepAck},
			{[]string{"base:allocatio"}, 0, 0, RepAck},
			{[]string{"base:allocation-depth", "BASE:allocation"}, 0, 0, RepAck},
			{[]string{"qemu:allocation-depth", "x-other:", "x:" + Allocation}, 0, 0, RepAck},
			{[]string{"qemu:dirty-bitmap:x", Allocation}, 1, 1, RepAck},
			{slices.Repeat([]string{"x-other:y"}, 500), 0, 0, RepAck},
			{[]string{"no colon"}, 0, 0, RepErrInvalid},
			{[]string{""}, 0, 0, RepErrInvalid},
			{[]string{Allocation, "nul:\x00"}, 0, 0, RepErrInvalid},
		} {
			c := s.haggle()
			for id, want := range map[uint32]int{OptListMetaContext: tc.list, OptSetMetaContext: tc.set} {
				l, typ := c.TryMeta(id, s.want.Export, tc.queries...)
				if typ != tc.typ || len(l) != want {
					s.Errorf("option %d with %q: contexts %v, reply %#x; want %d, %#x", id, tc.queries, l, typ, want, tc.typ)
				}
				for _, x := range l {
					if x.Name != Allocation {
						s.Errorf("context %q", x.Name)
					}
				}
			}
		}
	}},

	{"Row10UnknownExport", chunked, func(s *suite) {
		c := s.haggle()
		for _, id := range []uint32{OptListMetaContext, OptSetMetaContext} {
			if l, typ := c.TryMeta(id, unknownExport, Allocation); typ != RepErrUnknown || len(l) > 0 {
				s.Errorf("option %d of an unknown export: contexts %v, reply %#x", id, l, typ)
			}
		}
		c.Go(s.want.Export)
		s.alive(c)
	}},

	{"Row10LengthsHaveToFit", chunked, func(s *suite) {
		c := s.haggle()
		for _, data := range []string{
			"", "\x00\x00\x00", "\x00\x00\x00\x00", "\xff\xff\xff\xff", "\x00\x00\x00\x00\x00\x00\x00\x01",
			"\x00\x00\x00\x00\xff\xff\xff\xff\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x05base",
			"\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x05base:x", "\x00\x00\x00\x00\x00\x00\x00\x00x",
		} {
			for _, id := range []uint32{OptListMetaContext, OptSetMetaContext} {
				c.SendOption(id, []byte(data))
				c.ExpectOptionReply(id, RepErrInvalid)
			}
		}
		c.Go(s.want.Export)
		s.alive(c)
	}},

	// Whether a context was selected is seen by whether BLOCK_STATUS works.
	{"Row10WhatTheLastSetLeaves", chunked, func(s *suite) {
		export := s.want.Export
		set := func(name string, queries ...string) func(*Conn) {
			return func(c *Conn) { c.TryMeta(OptSetMetaContext, name, queries...) }
		}
		for _, tc := range []struct {
			name  string
			steps []func(*Conn)
			left  bool
		}{
			{"nothing", nil, false},
			{"selected", []func(*Conn){set(export, Allocation)}, true},
			{"no query", []func(*Conn){set(export, Allocation), set(export)}, false},
			{"other query", []func(*Conn){set(export, Allocation), set(export, "x-other:y")}, false},
			{"wildcard", []func(*Conn){set(export, Allocation), set(export, "base:")}, false},
			{"a failure forgets", []func(*Conn){set(export, Allocation), set(unknownExport, Allocation)}, false},
			{"a malformed one forgets", []func(*Conn){set(export, Allocation), func(c *Conn) {
				c.SendOption(OptSetMetaContext, []byte("x"))
				c.ExpectOptionReply(OptSetMetaContext, RepErrInvalid)
			}}, false},
			{"too much data forgets", []func(*Conn){set(export, Allocation), func(c *Conn) {
				c.SendOption(OptSetMetaContext, make([]byte, 100<<10))
				if r := c.ReadOptionReply(); r.Type&repErrBit == 0 {
					c.t.Errorf("SET_META_CONTEXT of 100 KiB: reply %#x", r.Type)
				}
			}}, false},
			{"again after a failure", []func(*Conn){set(unknownExport, Allocation), set(export, Allocation)}, true},
			{"LIST changes nothing", []func(*Conn){set(export, Allocation), func(c *Conn) {
				c.TryMeta(OptListMetaContext, export)
			}}, true},
			{"LIST selects nothing", []func(*Conn){func(c *Conn) { c.TryMeta(OptListMetaContext, export, Allocation) }}, false},
			{"INFO changes nothing", []func(*Conn){set(export, Allocation), func(c *Conn) { c.Info("") }}, true},
			{"another export", []func(*Conn){set(s.want.Exports[len(s.want.Exports)-1], Allocation)}, len(s.want.Exports) == 1},
			{"extended headers change nothing", []func(*Conn){set(export, Allocation), func(c *Conn) {
				if c.mode == Structured {
					c.Negotiate(Extended)
				}
			}}, true},
		} {
			c := s.haggle()
			c.context = 1
			for _, step := range tc.steps {
				step(c)
			}
			if l, typ := c.TryMeta(OptListMetaContext, export, Allocation); typ == RepAck && len(l) == 1 && tc.left {
				c.context = s.contextID()
			}
			c.Go(export, InfoBlockSize)
			want := EINVAL
			if tc.left {
				want = OK
			}
			if _, errno := c.BlockStatus(0, uint64(s.unit()), 0); errno != want {
				s.Errorf("%s: BLOCK_STATUS: %v, want %v", tc.name, errno, want)
			}
			s.alive(c)
		}
	}},
}

// contextID is the id of base:allocation, which a server may choose anew for
// each SET_META_CONTEXT; these checks take it to be always the same.
func (s *suite) contextID() uint32 {
	s.Helper()
	c := s.haggle()
	c.SetAllocation(s.want.Export)
	return c.context
}
