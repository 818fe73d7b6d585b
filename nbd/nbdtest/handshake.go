package nbdtest

import "encoding/binary"

// Greet receives the server's greeting, and returns its handshake flags.
func (c *Conn) Greet() uint16 {
	c.t.Helper()
	b := c.Recv(18)
	if m := binary.BigEndian.Uint64(b); m != MagicInit {
		c.t.Fatalf("the greeting begins with %#x", m)
	}
	if m := binary.BigEndian.Uint64(b[8:]); m != MagicOption {
		c.t.Fatalf("the greeting is not newstyle: %#x", m)
	}
	return binary.BigEndian.Uint16(b[16:])
}

// SendClientFlags answers the greeting.
func (c *Conn) SendClientFlags(flags uint32) {
	c.t.Helper()
	c.noZeroes = flags&NoZeroes != 0
	c.Send(binary.BigEndian.AppendUint32(nil, flags))
	if c.TLS != nil && flags&^NoZeroes == FixedNewstyle {
		c.StartTLS(c.TLS)
	}
}

// Hello receives the greeting and answers it as every modern client does:
// fixed newstyle, no zeroes.
func (c *Conn) Hello() {
	c.t.Helper()
	if flags := c.Greet(); flags != FixedNewstyle|NoZeroes {
		c.t.Fatalf("handshake flags %#x, want fixed newstyle and no zeroes", flags)
	}
	c.SendClientFlags(FixedNewstyle | NoZeroes)
}

// OptionBytes encodes an option.
func OptionBytes(id uint32, data []byte) []byte {
	b := binary.BigEndian.AppendUint64(nil, MagicOption)
	b = binary.BigEndian.AppendUint32(b, id)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return append(b, data...)
}

// SendOption sends an option.
func (c *Conn) SendOption(id uint32, data []byte) {
	c.t.Helper()
	c.Send(OptionBytes(id, data))
}

// OptionReply is one reply to an option.
type OptionReply struct {
	ID, Type uint32
	Data     []byte
}

// ReadOptionReply receives one reply to an option.
func (c *Conn) ReadOptionReply() OptionReply {
	c.t.Helper()
	b := c.Recv(20)
	if m := binary.BigEndian.Uint64(b); m != MagicOptionReply {
		c.t.Fatalf("%#x where a reply to an option has to begin", m)
	}
	length := binary.BigEndian.Uint32(b[16:])
	if length > optionReplyLimit {
		c.t.Fatalf("a reply of %d bytes to an option", length)
	}
	return OptionReply{
		ID:   binary.BigEndian.Uint32(b[8:]),
		Type: binary.BigEndian.Uint32(b[12:]),
		Data: c.Recv(int(length)),
	}
}

// ExpectOptionReply receives one reply, which must be of type typ to the option
// id, and returns its data.
func (c *Conn) ExpectOptionReply(id, typ uint32) []byte {
	c.t.Helper()
	r := c.ReadOptionReply()
	if r.ID != id || r.Type != typ {
		c.t.Fatalf("reply of type %#x to option %d (%q), want type %#x to option %d", r.Type, r.ID, r.Data, typ, id)
	}
	if typ == RepAck && len(r.Data) > 0 {
		c.t.Fatalf("ACK with %d bytes of data", len(r.Data))
	}
	return r.Data
}

// Listed is an entry of the reply to LIST.
type Listed struct{ Name, Description string }

// List sends LIST and returns the exports.
func (c *Conn) List() []Listed {
	c.t.Helper()
	c.SendOption(OptList, nil)
	var list []Listed
	for {
		r := c.ReadOptionReply()
		switch {
		case r.ID == OptList && r.Type == RepAck && len(r.Data) == 0:
			return list
		case r.ID != OptList || r.Type != RepServer || len(r.Data) < 4:
			c.t.Fatalf("reply of type %#x to option %d with %d bytes in answer to LIST", r.Type, r.ID, len(r.Data))
		}
		n := binary.BigEndian.Uint32(r.Data)
		if uint64(n) > uint64(len(r.Data)-4) {
			c.t.Fatalf("an export name of %d bytes in a reply of %d", n, len(r.Data))
		}
		list = append(list, Listed{Name: string(r.Data[4 : 4+n]), Description: string(r.Data[4+n:])})
	}
}

// Export is what the server said about an export.
type Export struct {
	Size  uint64
	Flags uint16
	// Name, Description and Blocks are nil if not sent.
	Name, Description *string
	Blocks            *Blocks
}

// Blocks are an export's size constraints, in bytes.
type Blocks struct{ Min, Preferred, Max uint32 }

// InfoData encodes the data of INFO and GO.
func InfoData(name string, requests ...uint16) []byte {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(name)))
	b = append(b, name...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(requests)))
	for _, r := range requests {
		b = binary.BigEndian.AppendUint16(b, r)
	}
	return b
}

// TryInfo sends INFO or GO (id). It returns what the server said and the type
// of the final reply: RepAck or an error.
func (c *Conn) TryInfo(id uint32, name string, requests ...uint16) (Export, uint32) {
	c.t.Helper()
	c.SendOption(id, InfoData(name, requests...))
	return c.ReadInfo(id)
}

// ReadInfo receives the answer to an INFO or GO (id) that was sent already.
func (c *Conn) ReadInfo(id uint32) (Export, uint32) {
	c.t.Helper()
	var e Export
	sawExport := false
	for {
		r := c.ReadOptionReply()
		if r.ID != id {
			c.t.Fatalf("reply to option %d, want option %d", r.ID, id)
		}
		switch {
		case r.Type&repErrBit != 0:
			return e, r.Type
		case r.Type == RepAck && !sawExport:
			c.t.Fatalf("ACK without INFO_EXPORT")
		case r.Type == RepAck:
			return e, r.Type
		case r.Type != RepInfo || len(r.Data) < 2:
			c.t.Fatalf("reply of type %#x with %d bytes to option %d", r.Type, len(r.Data), id)
		}
		typ, data := binary.BigEndian.Uint16(r.Data), r.Data[2:]
		switch typ {
		case InfoExport:
			if len(data) != 10 || sawExport {
				c.t.Fatalf("INFO_EXPORT with length %d, or sent twice", len(r.Data))
			}
			sawExport = true
			e.Size, e.Flags = binary.BigEndian.Uint64(data), binary.BigEndian.Uint16(data[8:])
		case InfoName:
			s := string(data)
			e.Name = &s
		case InfoDescription:
			s := string(data)
			e.Description = &s
		case InfoBlockSize:
			if len(data) != 12 {
				c.t.Fatalf("INFO_BLOCK_SIZE with length %d", len(r.Data))
			}
			e.Blocks = &Blocks{
				Min:       binary.BigEndian.Uint32(data),
				Preferred: binary.BigEndian.Uint32(data[4:]),
				Max:       binary.BigEndian.Uint32(data[8:]),
			}
		}
	}
}

// Info sends INFO, which must succeed.
func (c *Conn) Info(name string, requests ...uint16) Export {
	c.t.Helper()
	return c.mustInfo(OptInfo, name, requests...)
}

// Go sends GO, which must succeed: transmission begins.
func (c *Conn) Go(name string, requests ...uint16) Export {
	c.t.Helper()
	return c.mustInfo(OptGo, name, requests...)
}

func (c *Conn) mustInfo(id uint32, name string, requests ...uint16) Export {
	c.t.Helper()
	e, typ := c.TryInfo(id, name, requests...)
	if typ != RepAck {
		c.t.Fatalf("option %d for export %q: error reply %#x", id, name, typ)
	}
	return e
}

// ExportName sends EXPORT_NAME, which must succeed: transmission begins.
func (c *Conn) ExportName(name string) Export {
	c.t.Helper()
	c.SendOption(OptExportName, []byte(name))
	b := c.Recv(10)
	if !c.noZeroes {
		c.ExpectBytes(make([]byte, 124))
	}
	return Export{Size: binary.BigEndian.Uint64(b), Flags: binary.BigEndian.Uint16(b[8:])}
}

// Abort sends ABORT, which must be acknowledged before the server hangs up.
func (c *Conn) Abort() {
	c.t.Helper()
	c.SendOption(OptAbort, nil)
	c.ExpectOptionReply(OptAbort, RepAck)
	c.ExpectClosed()
}
