package nbd

// A client that did not ask for the size constraints need not keep them (row 8).
// Its READ, WRITE and WRITE_ZEROES of parts of blocks are carried out here, as
// several aligned requests, one after the other, on a goroutine of their own:
// they are rare, and each has its place in the connection's limits. The other
// commands are advisory, or can be rounded (Export.blocks).

// needsParts says whether a request has to be carried out in that way.
func (e *Export) needsParts(h *requestHeader) bool {
	return h.typ != cmdFlush && !e.aligned(h) && (h.typ == cmdRead || h.typ == cmdWrite || h.typ == cmdWriteZeroes)
}

// unaligned carries out a request that covers blocks only in part. The request is
// admitted; the error is that of the connection.
func (c *conn) unaligned(r *request) error {
	if r.h.typ == cmdWrite {
		r.payload = make([]byte, r.h.length)
		if err := c.readFull(r.payload); err != nil {
			r.mute = true
			c.answer(r)
			return err
		}
	}
	go func() {
		r.fail(r.carryOutUnaligned())
		c.answer(r)
	}()
	return nil
}

// carryOutUnaligned is the work of unaligned.
func (r *request) carryOutUnaligned() refusal {
	c := r.c
	if r.h.typ == cmdRead {
		r.data = make([]byte, r.h.length)
		return c.readUnaligned(r.data, r.h.offset)
	}
	c.srv.beginExact(c.exp)
	lba, n := c.exp.blocks(&r.h)
	block := uint64(c.exp.blockSize)
	r.claim = claim{start: lba * block, end: (lba + n) * block, exclusive: true}
	r.entry = entryClaimed // released by answer
	if x := &c.exp.exact.ranges; !x.take(&r.claim) {
		x.wait(&r.claim)
	}
	if why := c.changeUnaligned(&r.h, r.payload); why.errno != errnoNone {
		return why
	}
	if r.h.flags&cmdFlagFUA == 0 {
		return granted
	}
	return c.call(requestHeader{typ: cmdFlush}, nil, nil)
}

// changeUnaligned writes p, or zeroes for a WRITE_ZEROES: the blocks that are
// covered in part, at both ends, and the whole ones between them.
func (c *conn) changeUnaligned(h *requestHeader, p []byte) refusal {
	block := uint64(c.exp.blockSize)
	at, end := h.offset, h.offset+h.length
	for at < end {
		n := min(block-at%block, end-at)
		var why refusal
		if n < block {
			why = c.patch(at, n, part(p, at-h.offset, n))
		} else {
			n = (end - at) &^ (block - 1)
			whole := requestHeader{typ: h.typ, flags: h.flags &^ cmdFlagFUA, offset: at, length: n}
			why = c.call(whole, part(p, at-h.offset, n), nil)
		}
		if why.errno != errnoNone {
			return why
		}
		at += n
	}
	return granted
}

// part is n bytes of a payload, if there is one.
func part(p []byte, at, n uint64) []byte {
	if p == nil {
		return nil
	}
	return p[at : at+n]
}

// patch changes n bytes of one block, to p or to zeroes.
func (c *conn) patch(at, n uint64, p []byte) refusal {
	b := make([]byte, c.exp.blockSize)
	in := at % uint64(len(b))
	h := requestHeader{typ: cmdRead, offset: at - in, length: uint64(len(b))}
	if why := c.call(h, nil, b); why.errno != errnoNone {
		return why
	}
	if p == nil {
		clear(b[in : in+n])
	} else {
		copy(b[in:in+n], p)
	}
	h.typ = cmdWrite
	return c.call(h, b, nil)
}

// readUnaligned fills p from offset.
func (c *conn) readUnaligned(p []byte, offset uint64) refusal {
	block := uint64(c.exp.blockSize)
	most := uint64(c.exp.maxPayload)
	for len(p) > 0 {
		skip := offset % block
		n := min(uint64(len(p)), most-skip)
		whole := make([]byte, (skip+n+block-1)&^(block-1))
		h := requestHeader{typ: cmdRead, offset: offset - skip, length: uint64(len(whole))}
		if why := c.call(h, nil, whole); why.errno != errnoNone {
			return why
		}
		copy(p, whole[skip:skip+n])
		p, offset = p[n:], offset+n
	}
	return granted
}

// call is a request that is a part of another one.
type call struct {
	into    []byte  // what a READ fills
	outcome refusal // the answer
	over    chan struct{}
}

// call carries out an aligned request and waits for its end. payload is what a
// WRITE writes, into what a READ fills.
func (c *conn) call(h requestHeader, payload, into []byte) refusal {
	r := requests.Get().(*request)
	k := &call{into: into, over: make(chan struct{})}
	r.c, r.h, r.payload, r.payloadLen, r.call = c, h, payload, 0, k
	r.start()
	<-k.over
	return k.outcome
}

// returned takes the answer to a call; its memory is not needed any more.
func (k *call) returned(r *request) {
	k.outcome = refusal{r.errno, r.why}
	copy(k.into, r.data)
}
