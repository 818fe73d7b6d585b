package nbdtest

import "encoding/binary"

// Allocation is the context that tells holes from data.
const Allocation = "base:allocation"

// Flags of an Extent of base:allocation.
const (
	StateHole = 1 << 0
	StateZero = 1 << 1
)

// Context is a metadata context in the answer to a LIST or SET.
type Context struct {
	ID   uint32
	Name string
}

// MetaData encodes the data of LIST_META_CONTEXT and SET_META_CONTEXT.
func MetaData(export string, queries ...string) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(export)))
	b = append(b, export...)
	b = binary.BigEndian.AppendUint32(b, uint32(len(queries)))
	for _, q := range queries {
		b = binary.BigEndian.AppendUint32(b, uint32(len(q)))
		b = append(b, q...)
	}
	return b
}

// TryMeta sends LIST_META_CONTEXT or SET_META_CONTEXT (id). It returns the
// contexts and the type of the final reply: RepAck or an error.
func (c *Conn) TryMeta(id uint32, export string, queries ...string) ([]Context, uint32) {
	c.t.Helper()
	c.SendOption(id, MetaData(export, queries...))
	return c.readMeta(id)
}

func (c *Conn) readMeta(id uint32) (l []Context, typ uint32) {
	c.t.Helper()
	for {
		r := c.ReadOptionReply()
		switch {
		case r.ID != id:
			c.t.Fatalf("reply to option %d, want option %d", r.ID, id)
		case r.Type&repErrBit != 0 || r.Type == RepAck && len(r.Data) == 0:
			return l, r.Type
		case r.Type != RepMetaContext || len(r.Data) < 5:
			c.t.Fatalf("reply of type %#x with %d bytes to option %d", r.Type, len(r.Data), id)
		}
		l = append(l, Context{binary.BigEndian.Uint32(r.Data), string(r.Data[4:])})
	}
}

// SetAllocation selects base:allocation of an export, which has to be granted.
func (c *Conn) SetAllocation(export string) {
	c.t.Helper()
	l, typ := c.TryMeta(OptSetMetaContext, export, Allocation)
	if typ != RepAck || len(l) != 1 || l[0].Name != Allocation {
		c.t.Fatalf("SET_META_CONTEXT: contexts %v, reply %#x", l, typ)
	}
	c.context = l[0].ID
}

// Extent is a descriptor of a BLOCK_STATUS reply.
type Extent struct {
	Length uint64
	State  uint64
}

// BlockStatus sends a BLOCK_STATUS.
func (c *Conn) BlockStatus(offset, length uint64, flags uint16) ([]Extent, Errno) {
	c.t.Helper()
	r := c.exchange1(Request{Type: CmdBlockStatus, Flags: flags, Offset: offset, Length64: length})
	return r.Extents, r.Errno
}
