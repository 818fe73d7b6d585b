package nbdtest

import (
	"bytes"
	"testing"
)

// Expect is what a server under test is to be like.
type Expect struct {
	// Export is the canonical name of the export to test; it is the default
	// export too.
	Export string
	// Size of the export in bytes: a multiple of the blocks, and 1 MiB at
	// least. With more than 66 MiB (and more than the payload limit) some more
	// checks apply.
	Size uint64
	// Flags are all transmission flags that have to be offered. They decide
	// which checks apply: an export with FlagReadOnly is not written to.
	Flags uint16
	// Blocks are the size constraints that have to be offered: a minimum of at
	// most 4096, and payloads of at least 1 MiB.
	Blocks Blocks
	// Exports are all names in the order in which LIST has to show them.
	Exports []string
	// Modes are what the checks are made in, each in a subtest; none: Simple
	// only, and no subtest. In other modes FlagSendDF is added to Flags.
	Modes []Mode
	// Unaligned: clients that did not ask for the size constraints may break
	// them, and are served.
	Unaligned bool
	// Sparse: what is trimmed is a hole, and is told as one.
	Sparse bool

	mode Mode // the one that is being checked
}

// in returns w for a mode.
func (w Expect) in(m Mode) Expect {
	w.mode = m
	if m != Simple {
		w.Flags |= FlagSendDF
	}
	return w
}

// chunked is the condition that replies are chunks.
func chunked(w Expect) bool { return w.mode != Simple }

// both is the condition that two others hold.
func both(a, b func(Expect) bool) func(Expect) bool {
	return func(w Expect) bool { return a(w) && b(w) }
}

func (w Expect) offers(flags uint16) bool { return w.Flags&flags == flags }

// writable is a condition of checks that write.
func writable(w Expect) bool { return !w.offers(FlagReadOnly) }

// offering is the condition that an export is writable and offers these flags.
func offering(flags uint16) func(Expect) bool {
	return func(w Expect) bool { return writable(w) && w.offers(flags) }
}

// check is one rule, as a test of a server.
type check struct {
	name string
	when func(Expect) bool // whether the rule applies; nil: always
	run  func(s *suite)
}

// checks returns all checks of [Conformance].
func checks() []check {
	var all []check
	for _, part := range [][]check{negotiationChecks, dataChecks, zeroChecks, refusalChecks, limitChecks, endChecks, metaChecks, statusChecks, chunkChecks, extendedChecks} {
		all = append(all, part...)
	}
	return all
}

// Conformance runs the checks of nbd.md that a client can make (rows 1 to 8,
// 11 to 13, 19 to 25, and what other servers get wrong), each as a subtest that
// is named after its row. dial connects to the server, which has sent nothing
// but its greeting yet; each check makes its own connections. The export is
// overwritten, unless it is read-only.
//
// All of it is checked in each of the modes that want names.
func Conformance(t *testing.T, dial func(t testing.TB) *Conn, want Expect) {
	if blocks := want.Blocks; want.Size < 1<<20 || blocks.Min == 0 || blocks.Min > 4096 || want.Size%uint64(max(blocks.Min, 512)) != 0 ||
		blocks.Max < 1<<20 {
		t.Fatalf("not an export that these checks work on: %+v", want)
	}
	if len(want.Modes) == 0 {
		conformance(t, dial, want)
	}
	for _, m := range want.Modes {
		t.Run(m.String(), func(t *testing.T) { conformance(t, dial, want.in(m)) })
	}
}

func conformance(t *testing.T, dial func(t testing.TB) *Conn, want Expect) {
	for _, c := range checks() {
		if c.when != nil && !c.when(want) {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			c.run(&suite{TB: t, dial: dial, want: want})
		})
	}
}

// suite is one check under way.
type suite struct {
	testing.TB
	dial func(t testing.TB) *Conn
	want Expect
}

// connect returns a connection whose greeting is still to come.
func (s *suite) connect() *Conn {
	s.Helper()
	return s.dial(s)
}

// haggle returns a connection on which options may be sent.
func (s *suite) haggle() *Conn {
	s.Helper()
	c := s.connect()
	c.Hello()
	c.Negotiate(s.want.mode)
	return c
}

// open returns a connection on which requests may be sent. It has asked for
// the size constraints, and so has to keep them.
func (s *suite) open() *Conn {
	s.Helper()
	c := s.haggle()
	c.Go(s.want.Export, InfoBlockSize)
	return c
}

// unit is the length of small requests, and what offsets are multiples of.
func (s *suite) unit() uint32 { return max(s.want.Blocks.Min, 512) }

// last is the offset of the export's last unit.
func (s *suite) last() uint64 { return s.want.Size - uint64(s.unit()) }

// alive requires that the server and c agree where in the stream they are and
// that the export still works.
func (s *suite) alive(c *Conn) {
	s.Helper()
	if _, errno := c.Read(s.last(), s.unit(), 0); errno != OK {
		s.Fatalf("READ of the last block: %v", errno)
	}
}

// serverAlive requires that the server takes new clients, and that the export
// has kept its size.
func (s *suite) serverAlive() {
	s.Helper()
	c := s.haggle()
	if e := c.Go(s.want.Export); e.Size != s.want.Size {
		s.Fatalf("the size of the export is %d now, was %d", e.Size, s.want.Size)
	}
	s.alive(c)
	c.Disc(0)
}

// write writes data, which has to succeed.
func (s *suite) write(c *Conn, offset uint64, data []byte) {
	s.Helper()
	if errno := c.Write(offset, data, 0); errno != OK {
		s.Fatalf("WRITE of %d bytes at %#x: %v", len(data), offset, errno)
	}
}

// reads requires that the export holds data at offset.
func (s *suite) reads(c *Conn, offset uint64, want []byte) {
	s.Helper()
	got, errno := c.Read(offset, uint32(len(want)), 0)
	if errno != OK {
		s.Fatalf("READ of %d bytes at %#x: %v", len(want), offset, errno)
	}
	if !bytes.Equal(got, want) {
		at := firstDifference(got, want)
		s.Fatalf("READ of %d bytes at %#x: byte %#x is %#02x, want %#02x", len(want), offset, at, got[at], want[at])
	}
}

func firstDifference(a, b []byte) int {
	for i := range a {
		if a[i] != b[i] {
			return i
		}
	}
	return len(a)
}

// pattern returns n bytes that differ from those of other seeds, and none of
// which is zero.
func pattern(seed byte, n uint32) []byte {
	b := make([]byte, n)
	x := uint32(seed)*2654435761 + 1
	for i := range b {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		b[i] = byte(x) | 1
	}
	return b
}

// commands are the requests of each kind that the export offers, of one unit
// at an offset that is in range.
func (s *suite) commands() []Request {
	unit := s.unit()
	all := []Request{
		{Type: CmdRead, Length: unit},
		{Type: CmdWrite, Length: unit, Payload: pattern(1, unit)},
	}
	for _, c := range []struct {
		flag   uint16
		typ    uint16
		length uint32
	}{
		{FlagSendFlush, CmdFlush, 0},
		{FlagSendTrim, CmdTrim, unit},
		{FlagSendCache, CmdCache, unit},
		{FlagSendWriteZeroes, CmdWriteZeroes, unit},
	} {
		if s.want.offers(c.flag) {
			all = append(all, Request{Type: c.typ, Length: c.length})
		}
	}
	return all
}

// modifies reports whether a command is refused on a read-only export.
func modifies(typ uint16) bool {
	return typ == CmdWrite || typ == CmdTrim || typ == CmdWriteZeroes
}

// commandName is for messages.
func commandName(typ uint16) string {
	switch typ {
	case CmdRead:
		return "READ"
	case CmdWrite:
		return "WRITE"
	case CmdFlush:
		return "FLUSH"
	case CmdTrim:
		return "TRIM"
	case CmdCache:
		return "CACHE"
	case CmdWriteZeroes:
		return "WRITE_ZEROES"
	case CmdBlockStatus:
		return "BLOCK_STATUS"
	}
	return "another command"
}
