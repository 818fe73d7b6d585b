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
	// Payload follows the header. Only WRITE has one, of Length bytes.
	Payload []byte
	// Magic replaces the magic number if it is not 0.
	Magic uint32
}

// Bytes encodes the request.
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
	b = binary.BigEndian.AppendUint32(b, r.Length)
	return append(b, r.Payload...)
}

// RequestBytes encodes requests one behind the other.
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
	c.Send(RequestBytes(requests...))
}

// ReadReply receives the header of a simple reply.
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
	b, err := c.TryRecv(SimpleReplySize)
	if err != nil {
		return 0, 0, err
	}
	if m := binary.BigEndian.Uint32(b); m != MagicSimpleReply {
		c.t.Fatalf("%x where a simple reply has to begin", b)
	}
	return Errno(binary.BigEndian.Uint32(b[4:])), binary.BigEndian.Uint64(b[8:]), nil
}

// Do sends one request under a cookie of its own choice, and returns what was
// read (by a READ that succeeded) and the error value of the reply. Nothing
// else may be in flight.
func (c *Conn) Do(r Request) ([]byte, Errno) {
	c.t.Helper()
	c.cookie++
	r.Cookie = c.cookie<<32 | 0x636f6f6b // not the small number that a buggy server might expect
	c.SendRequests(r)
	return c.answer(r)
}

// answer receives the reply to r.
func (c *Conn) answer(r Request) ([]byte, Errno) {
	c.t.Helper()
	errno, cookie := c.ReadReply()
	if cookie != r.Cookie {
		c.t.Fatalf("reply with cookie %#x, want %#x", cookie, r.Cookie)
	}
	if r.Type == CmdRead && errno == OK {
		return c.Recv(int(r.Length)), OK
	}
	return nil, errno
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

// Reply is a simple reply with its data.
type Reply struct {
	Errno Errno
	Data  []byte // of a READ that succeeded
}

// Exchange sends all requests without waiting, and receives the replies in
// whatever order they come: one for each request but DISC, and none else.
// Cookies have to differ. It returns the replies in the order of the requests.
func (c *Conn) Exchange(requests ...Request) []Reply {
	c.t.Helper()
	sent := make(chan error, 1)
	go func() { sent <- c.TrySend(RequestBytes(requests...)) }()
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
	for i, r := range requests {
		if r.Type != CmdDisc {
			place[r.Cookie] = i
		}
	}
	replies := make([]Reply, len(requests))
	for len(place) > 0 {
		errno, cookie, err := c.tryReadReply()
		if err != nil {
			c.t.Fatalf("receive a reply: %v, with %d of %d requests unanswered", err, len(place), len(requests))
		}
		i, ok := place[cookie]
		if !ok {
			c.t.Fatalf("reply with cookie %#x, which is not in flight", cookie)
		}
		delete(place, cookie)
		replies[i].Errno = errno
		if requests[i].Type == CmdRead && errno == OK {
			replies[i].Data = c.Recv(int(requests[i].Length))
		}
	}
	return replies
}
