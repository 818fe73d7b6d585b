package nbdtest

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Magic numbers of the modes other than simple.
const (
	MagicStructuredReply = 0x668e33ef
	MagicExtendedRequest = 0x21e41c71
	MagicExtendedReply   = 0x6e8a278c
)

// Sizes of the headers of the modes other than simple, in bytes.
const (
	ExtendedRequestSize = 32
	StructuredReplySize = 20
	ExtendedReplySize   = 32
)

// Chunk types.
const (
	ChunkNone           = 0
	ChunkOffsetData     = 1
	ChunkOffsetHole     = 2
	ChunkBlockStatus    = 5
	ChunkBlockStatusExt = 6
	ChunkError          = 1<<15 + 1
	ChunkErrorOffset    = 1<<15 + 2

	chunkDone     = 1
	chunkErrorBit = 1 << 15
)

// Chunk is one message of the server: a simple reply, without its data, or a chunk
// of another one.
type Chunk struct {
	// Simple tells the former; Errno is its error value.
	Simple bool
	Errno  Errno

	Cookie      uint64
	Flags, Type uint16
	Offset      uint64 // extended only: that of the request
	Payload     []byte
}

// longestChunk is more than any payload limit that tests use.
const longestChunk = 1 << 30

// tryReadChunk receives one message.
func (c *Conn) tryReadChunk() (Chunk, error) {
	c.t.Helper()
	b, err := c.TryRecv(4)
	if err != nil {
		return Chunk{}, err
	}
	magic := binary.BigEndian.Uint32(b)
	switch {
	case magic == MagicSimpleReply && c.mode != Extended:
		b, err := c.TryRecv(SimpleReplySize - 4)
		if err != nil {
			return Chunk{}, err
		}
		return Chunk{Simple: true, Errno: Errno(binary.BigEndian.Uint32(b)), Cookie: binary.BigEndian.Uint64(b[4:])}, nil
	case magic == MagicStructuredReply && c.mode == Structured:
		return c.readChunk(StructuredReplySize - 4)
	case magic == MagicExtendedReply && c.mode == Extended:
		return c.readChunk(ExtendedReplySize - 4)
	}
	c.t.Fatalf("%x where a reply has to begin (%v)", b, c.mode)
	return Chunk{}, nil
}

// readChunk receives the rest of a chunk, whose header has n more bytes.
func (c *Conn) readChunk(n int) (Chunk, error) {
	c.t.Helper()
	b, err := c.TryRecv(n)
	if err != nil {
		return Chunk{}, err
	}
	ch := Chunk{Flags: binary.BigEndian.Uint16(b), Type: binary.BigEndian.Uint16(b[2:]), Cookie: binary.BigEndian.Uint64(b[4:])}
	length := uint64(binary.BigEndian.Uint32(b[12:]))
	if c.mode == Extended {
		ch.Offset, length = binary.BigEndian.Uint64(b[12:]), binary.BigEndian.Uint64(b[20:])
	}
	if length > longestChunk {
		c.t.Fatalf("a chunk of %d bytes", length)
	}
	ch.Payload, err = c.TryRecv(int(length))
	return ch, err
}

// assembly puts a reply together.
type assembly struct {
	r     Request
	mode  Mode
	id    uint32 // of the context
	reply Reply
	have  []span // what content chunks have covered
	end   bool
}

type span struct{ from, to uint64 }

// add takes a chunk; the error says which rule of row 14, 15 or 18 it breaks.
func (a *assembly) add(ch Chunk) error {
	a.reply.Chunks = append(a.reply.Chunks, ch)
	if ch.Simple {
		a.reply.Errno, a.end = ch.Errno, true
		if a.mode == Structured && (a.r.Type == CmdRead || a.r.Type == CmdBlockStatus) {
			return fmt.Errorf("a simple reply to command %d where replies are structured (row 14)", a.r.Type)
		}
		return nil
	}
	a.end = ch.Flags&chunkDone != 0
	switch {
	case ch.Flags&^chunkDone != 0:
		return fmt.Errorf("reply flags %#x", ch.Flags)
	case a.mode == Extended && ch.Offset != a.r.Offset:
		return fmt.Errorf("a chunk with offset %#x in the reply to a request with %#x", ch.Offset, a.r.Offset)
	case ch.Type&chunkErrorBit != 0:
		return a.addError(ch)
	}
	switch ch.Type {
	case ChunkNone:
		if !a.end || len(ch.Payload) > 0 {
			return fmt.Errorf("NONE with %d bytes and flags %#x", len(ch.Payload), ch.Flags)
		}
	case ChunkOffsetData, ChunkOffsetHole:
		if err := a.addContent(ch); err != nil {
			return err
		}
	case ChunkBlockStatus, ChunkBlockStatusExt:
		if err := a.addStatus(ch); err != nil {
			return err
		}
	default:
		return fmt.Errorf("chunk type %d", ch.Type)
	}
	if a.end {
		return a.whole()
	}
	return nil
}

func (a *assembly) addError(ch Chunk) error {
	fixed := 6
	if ch.Type == ChunkErrorOffset {
		fixed = 14
	}
	p := ch.Payload
	if len(p) < fixed {
		return fmt.Errorf("an error chunk of %d bytes", len(p))
	}
	errno, n := Errno(binary.BigEndian.Uint32(p)), int(binary.BigEndian.Uint16(p[4:]))
	if errno == OK || n != len(p)-fixed || n > 4096 || !utf8.Valid(p[6:6+n]) {
		return fmt.Errorf("error chunk %x", p)
	}
	a.reply.Errno, a.reply.Message = errno, string(p[6:6+n])
	if ch.Type == ChunkErrorOffset {
		at := binary.BigEndian.Uint64(p[6+n:])
		if at < a.r.Offset || at-a.r.Offset >= a.r.length() {
			return fmt.Errorf("an error at %#x, outside of the request", at)
		}
		a.reply.ErrorAt = &at
	}
	return nil
}

// addContent takes a part of what a READ reads.
func (a *assembly) addContent(ch Chunk) error {
	p := ch.Payload
	if a.r.Type != CmdRead || len(p) < 9 || ch.Type == ChunkOffsetHole && len(p) != 12 {
		return fmt.Errorf("content chunk of type %d with %d bytes", ch.Type, len(p))
	}
	at := binary.BigEndian.Uint64(p)
	n := uint64(len(p) - 8)
	if ch.Type == ChunkOffsetHole {
		n = uint64(binary.BigEndian.Uint32(p[8:]))
	}
	if n == 0 || at < a.r.Offset || at-a.r.Offset > a.r.length() || n > a.r.length()-(at-a.r.Offset) {
		return fmt.Errorf("content of %d bytes at %#x, not in the request", n, at)
	}
	if a.r.Flags&CmdFlagDF != 0 && len(a.have) > 0 {
		return fmt.Errorf("a second content chunk in spite of DF (row 16)")
	}
	for _, s := range a.have {
		if at < s.to && s.from < at+n {
			return fmt.Errorf("content at %#x is sent twice", at)
		}
	}
	a.have = append(a.have, span{at, at + n})
	if a.reply.Data == nil {
		a.reply.Data = make([]byte, a.r.length())
	}
	if ch.Type == ChunkOffsetData {
		copy(a.reply.Data[at-a.r.Offset:], p[8:])
	} else {
		a.reply.Holes += n
	}
	return nil
}

// addStatus takes the descriptors of a context.
func (a *assembly) addStatus(ch Chunk) error {
	p, fixed, each := ch.Payload, 4, 8
	if a.mode == Extended {
		fixed, each = 8, 16
	}
	count := (len(p) - fixed) / each
	switch {
	case a.r.Type != CmdBlockStatus, (ch.Type == ChunkBlockStatusExt) != (a.mode == Extended), a.reply.Extents != nil:
		return fmt.Errorf("a block status chunk of type %d to command %d", ch.Type, a.r.Type)
	case len(p) != fixed+each*count || count < 1 || count > 1<<20:
		return fmt.Errorf("a block status chunk of %d bytes", len(p))
	case binary.BigEndian.Uint32(p) != a.id:
		return fmt.Errorf("status of context %d, want %d", binary.BigEndian.Uint32(p), a.id)
	case a.mode == Extended && int(binary.BigEndian.Uint32(p[4:])) != count:
		return fmt.Errorf("%d descriptors, of which there are %d", binary.BigEndian.Uint32(p[4:]), count)
	}
	total, want := uint64(0), a.r.effect()
	for p = p[fixed:]; len(p) > 0; p = p[each:] {
		x := Extent{uint64(binary.BigEndian.Uint32(p)), uint64(binary.BigEndian.Uint32(p[4:]))}
		if a.mode == Extended {
			x = Extent{binary.BigEndian.Uint64(p), binary.BigEndian.Uint64(p[8:])}
		}
		if x.Length == 0 || total >= want {
			return fmt.Errorf("an extent of %d bytes behind %d of %d (row 18)", x.Length, total, want)
		}
		total += x.Length
		a.reply.Extents = append(a.reply.Extents, x)
	}
	if a.r.Flags&CmdFlagReqOne != 0 && (count != 1 || total > want) {
		return fmt.Errorf("%d extents of %d bytes in spite of REQ_ONE (row 18)", count, total)
	}
	return nil
}

// whole says what is missing of a reply that succeeded.
func (a *assembly) whole() error {
	if a.reply.Errno != OK {
		return nil
	}
	total := uint64(0)
	for _, s := range a.have {
		total += s.to - s.from
	}
	if a.r.Type == CmdRead && total != a.r.length() {
		return fmt.Errorf("%d of %d bytes were sent", total, a.r.length())
	}
	if a.r.Type == CmdBlockStatus && a.reply.Extents == nil {
		return fmt.Errorf("no status")
	}
	return nil
}
