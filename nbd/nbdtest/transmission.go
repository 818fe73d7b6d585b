package nbdtest

import "encoding/binary"

// Sizes of the transmission phase's headers, in bytes.
const (
	RequestSize     = 28
	SimpleReplySize = 16
)

// Request is a request, with whatever is in its fields: nothing is checked.
type Request struct {
	Flags, Type    uint16
	Cookie, Offset uint64
	Length         uint32
	// Length64 replaces Length if it is not 0. More than 32 bits of it are
	// sent with extended headers only.
	Length64 uint64
	// Payload follows the header. Only WRITE has one, of Length bytes.
	Payload []byte
	// Magic replaces the magic number if it is not 0.
	Magic uint32
	// Bare leaves Flags as they are. Otherwise a WRITE with extended headers
	// gets the flag PAYLOAD_LEN, which it has to have.
	Bare bool
}

func (r Request) length() uint64 {
	if r.Length64 != 0 {
		return r.Length64
	}
	return uint64(r.Length)
}

// effect is how many bytes of the export the request is about.
func (r Request) effect() uint64 {
	if r.Type == CmdBlockStatus && r.Flags&CmdFlagPayloadLen != 0 && len(r.Payload) >= 8 {
		return binary.BigEndian.Uint64(r.Payload)
	}
	return r.length()
}

// Bytes encodes the request with compact headers.
func (r Request) Bytes() []byte {
	magic := r.Magic
	if magic == 0 {
		magic = MagicRequest
	}
	b := make([]byte, 0, RequestSize+len(r.Payload))
	b = binary.BigEndian.AppendUint32(b, magic)
	b = binary.BigEndian.AppendUint16(b, r.Flags)
	b = binary.BigEndian.AppendUint16(b, r.Type)
	b = binary.BigEndian.AppendUint64(b, r.Cookie)
	b = binary.BigEndian.AppendUint64(b, r.Offset)
	b = binary.BigEndian.AppendUint32(b, uint32(r.length()))
	return append(b, r.Payload...)
}

// extended encodes the request with extended headers.
func (r Request) extended() []byte {
	magic, flags := r.Magic, r.Flags
	if magic == 0 {
		magic = MagicExtendedRequest
	}
	if r.Type == CmdWrite && !r.Bare {
		flags |= CmdFlagPayloadLen
	}
	b := make([]byte, 0, ExtendedRequestSize+len(r.Payload))
	b = binary.BigEndian.AppendUint32(b, magic)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, r.Type)
	b = binary.BigEndian.AppendUint64(b, r.Cookie)
	b = binary.BigEndian.AppendUint64(b, r.Offset)
	b = binary.BigEndian.AppendUint64(b, r.length())
	return append(b, r.Payload...)
}

// Encode encodes requests one behind the other, as the connection's mode wants
// them.
func (c *Conn) Encode(requests ...Request) []byte { return c.mode.Encode(requests...) }

// Encode encodes requests one behind the other.
func (m Mode) Encode(requests ...Request) []byte {
	if m != Extended {
		return RequestBytes(requests...)
	}
	var b []byte
	for _, r := range requests {
		b = append(b, r.extended()...)
	}
	return b
}

// RequestSize is the size of the mode's request header, in bytes.
func (c *Conn) RequestSize() int { return len(c.Encode(Request{})) }

// RequestBytes encodes requests one behind the other, with compact headers.
func RequestBytes(requests ...Request) []byte {
	var b []byte
	for _, r := range requests {
		b = append(b, r.Bytes()...)
	}
	return b
}

// SendRequests sends requests in one piece.
func (c *Conn) SendRequests(requests ...Request) {
	c.t.Helper()
	c.Send(c.Encode(requests...))
}

// ReadReply receives a reply without data, or the header of a simple one.
func (c *Conn) ReadReply() (Errno, uint64) {
	c.t.Helper()
	errno, cookie, err := c.tryReadReply()
	if err != nil {
		c.t.Fatalf("receive a reply: %v", err)
	}
	return errno, cookie
}

func (c *Conn) tryReadReply() (Errno, uint64, error) {
	c.t.Helper()
	ch, err := c.tryReadChunk()
	if err != nil {
		return 0, 0, err
	}
	a := assembly{r: Request{Type: CmdWrite, Cookie: ch.Cookie, Offset: ch.Offset}, mode: c.mode}
	if err := a.add(ch); err != nil || !a.end {
		c.t.Fatalf("not a reply without data: %+v (%v)", ch, err)
	}
	return a.reply.Errno, ch.Cookie, nil
}

// Do sends one request under a cookie of its own choice, and returns what was
// read (by a READ that succeeded) and the error value of the reply. Nothing
// else may be in flight.
func (c *Conn) Do(r Request) ([]byte, Errno) {
	c.t.Helper()
	reply := c.exchange1(r)
	return reply.Data, reply.Errno
}

// Ask is Do for all that a reply can say.
func (c *Conn) Ask(r Request) Reply {
	c.t.Helper()
	return c.exchange1(r)
}

func (c *Conn) exchange1(r Request) Reply {
	c.t.Helper()
	c.cookie++
	r.Cookie = c.cookie<<32 | 0x636f6f6b // not the small number that a buggy server might expect
	c.SendRequests(r)
	return c.Collect(r)[0]
}

// answer receives the reply to r.
func (c *Conn) answer(r Request) ([]byte, Errno) {
	c.t.Helper()
	reply := c.Collect(r)[0]
	return reply.Data, reply.Errno
}

// Read sends a READ.
func (c *Conn) Read(offset uint64, length uint32, flags uint16) ([]byte, Errno) {
	c.t.Helper()
	return c.Do(Request{Type: CmdRead, Flags: flags, Offset: offset, Length: length})
}

// Write sends a WRITE.
func (c *Conn) Write(offset uint64, data []byte, flags uint16) Errno {
	c.t.Helper()
	_, errno := c.Do(Request{Type: CmdWrite, Flags: flags, Offset: offset, Length: uint32(len(data)), Payload: data})
	return errno
}

// Flush sends a FLUSH.
func (c *Conn) Flush(flags uint16) Errno {
	c.t.Helper()
	_, errno := c.Do(Request{Type: CmdFlush, Flags: flags})
	return errno
}

// Trim sends a TRIM.
func (c *Conn) Trim(offset uint64, length uint32, flags uint16) Errno {
	c.t.Helper()
	_, errno := c.Do(Request{Type: CmdTrim, Flags: flags, Offset: offset, Length: length})
	return errno
}

// WriteZeroes sends a WRITE_ZEROES.
func (c *Conn) WriteZeroes(offset uint64, length uint32, flags uint16) Errno {
	c.t.Helper()
	_, errno := c.Do(Request{Type: CmdWriteZeroes, Flags: flags, Offset: offset, Length: length})
	return errno
}

// Cache sends a CACHE.
func (c *Conn) Cache(offset uint64, length uint32, flags uint16) Errno {
	c.t.Helper()
	_, errno := c.Do(Request{Type: CmdCache, Flags: flags, Offset: offset, Length: length})
	return errno
}

// Disc sends a DISC, and requires that the server closes the connection
// without a reply. Nothing else may be in flight.
func (c *Conn) Disc(flags uint16) {
	c.t.Helper()
	c.SendRequests(Request{Type: CmdDisc, Flags: flags})
	c.ExpectClosed()
}

// Reply is a reply, whole.
type Reply struct {
	Errno Errno
	Data  []byte // of a READ that succeeded
	// Message and ErrorAt are what an error chunk says besides.
	Message string
	ErrorAt *uint64
	// Holes is how many bytes of Data came as holes.
	Holes uint64
	// Extents are the answer to a BLOCK_STATUS.
	Extents []Extent
	// Chunks are what the reply came in.
	Chunks []Chunk
}

// Exchange sends all requests without waiting, and receives the replies in
// whatever order they come: one for each request but DISC, and none else.
// Cookies have to differ. It returns the replies in the order of the requests.
func (c *Conn) Exchange(requests ...Request) []Reply {
	c.t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- c.TrySend(c.Encode(requests...)) }()
	replies := c.Collect(requests...)
	if err := <-sent; err != nil {
		c.t.Fatalf("send %d requests: %v", len(requests), err)
	}
	return replies
}

// Collect receives the replies to requests that were sent already, as Exchange
// does.
func (c *Conn) Collect(requests ...Request) []Reply {
	c.t.Helper()
	place := make(map[uint64]int, len(requests))
	parts := make([]assembly, len(requests))
	for i, r := range requests {
		parts[i] = assembly{r: r, mode: c.mode, id: c.context}
		if r.Type != CmdDisc {
			place[r.Cookie] = i
		}
	}
	for len(place) > 0 {
		ch, err := c.tryReadChunk()
		if err != nil {
			c.t.Fatalf("receive a reply: %v, with %d of %d requests unanswered", err, len(place), len(requests))
		}
		i, ok := place[ch.Cookie]
		if !ok {
			c.t.Fatalf("reply with cookie %#x, which is not in flight", ch.Cookie)
		}
		a := &parts[i]
		if err := a.add(ch); err != nil {
			c.t.Fatalf("reply to command %d of %d bytes at %#x with flags %#x: %v", a.r.Type, a.r.length(), a.r.Offset, a.r.Flags, err)
		}
		if ch.Simple && ch.Errno == OK && a.r.Type == CmdRead {
			a.reply.Data = c.Recv(int(a.r.length()))
		}
		if a.end {
			delete(place, ch.Cookie)
		}
	}
	replies := make([]Reply, len(requests))
	for i := range parts {
		replies[i] = parts[i].reply
		if replies[i].Errno != OK {
			replies[i].Data = nil
		}
	}
	return replies
}
