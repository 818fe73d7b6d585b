package nbd

import (
	"encoding/binary"
	"math"

	"scstuser/scsi"
)

// allocationID is the id of the base:allocation context on every connection that
// has negotiated it.
const allocationID = uint32(1)

// maxContexts bounds the ids in the payload of a BLOCK_STATUS. There is one
// context, so more than one id is wrong anyway.
const maxContexts = 16

// blockStatusPayload takes a BLOCK_STATUS that says in a payload how long it is
// and which contexts it asks for (extended headers only).
func (c *conn) blockStatusPayload(h requestHeader) error {
	var room [8 + 4*maxContexts]byte
	n := h.length
	if n > uint64(len(room)) {
		return c.refuse(h, refuseContexts)
	}
	p := room[:n]
	if err := c.readFull(p); err != nil {
		return err
	}
	h.flags &^= cmdFlagPayloadLen
	h.length = 0
	if n != 12 || binary.BigEndian.Uint32(p[8:]) != allocationID || !c.allocation {
		return c.refuse(h, refuseContexts)
	}
	h.length = binary.BigEndian.Uint64(p)
	return c.request(h)
}

// extent is a part of an export with the same state.
type extent struct {
	length uint64 // in bytes
	state  uint32
}

// extents makes the answer to a BLOCK_STATUS of what the device said: the extents
// from the request's offset on. Only the last one may go past the request, and
// with REQ_ONE there is one and it does not (row 18). There is always one.
func (r *request) extents(most uint64) []extent {
	e := r.c.exp
	block, size := uint64(e.blockSize), e.size.Load()
	end := r.h.offset + r.h.length
	at := r.h.offset
	var l []extent
	for _, s := range r.runs {
		next := min((s.LBA+uint64(s.Blocks))*block, max(size, end))
		if at >= end || next <= at {
			break
		}
		state := e.stateOf(s.Status)
		if i := len(l) - 1; i >= 0 && l[i].state == state {
			l[i].length += next - at
		} else {
			l = append(l, extent{next - at, state})
		}
		at = next
	}
	if len(l) == 0 {
		l = append(l, extent{r.h.length, 0})
	}
	if r.h.flags&cmdFlagReqOne != 0 {
		l = l[:1]
		l[0].length = min(l[0].length, r.h.length)
	}
	for i := range l {
		if l[i].length > most { // what follows could not be told where it is
			l[i].length = most
			return l[:i+1]
		}
	}
	return l
}

// stateOf is a provisioning status as base:allocation tells it.
func (e *Export) stateOf(status uint8) uint32 {
	switch {
	case status == scsi.LBADeallocated && e.holesAreZero:
		return stateHole | stateZero
	case status == scsi.LBADeallocated:
		return stateHole
	case status == scsi.LBAAnchored && e.holesAreZero:
		return stateZero // it has its space
	}
	return 0
}

// appendStatusHeader makes the chunk of a BLOCK_STATUS: it appends its header to
// b, and sets data to the descriptors.
func (r *request) appendStatusHeader(b []byte) []byte {
	m := r.c.mode
	if m == modeExtended {
		l := r.extents(math.MaxInt64)
		r.data = make([]byte, 0, 16*len(l))
		for _, x := range l {
			r.data = binary.BigEndian.AppendUint64(r.data, x.length)
			r.data = binary.BigEndian.AppendUint64(r.data, uint64(x.state))
		}
		b = appendChunk(b, m, chunkDone, chunkBlockStatusExt, &r.h, uint64(8+len(r.data)))
		b = binary.BigEndian.AppendUint32(b, allocationID)
		return binary.BigEndian.AppendUint32(b, uint32(len(l)))
	}
	// Whole blocks: clients go on from where an answer ends.
	l := r.extents(uint64(math.MaxUint32 &^ (r.c.exp.blockSize - 1)))
	r.data = make([]byte, 0, 8*len(l))
	for _, x := range l {
		r.data = binary.BigEndian.AppendUint32(r.data, uint32(x.length))
		r.data = binary.BigEndian.AppendUint32(r.data, x.state)
	}
	b = appendChunk(b, m, chunkDone, chunkBlockStatus, &r.h, uint64(4+len(r.data)))
	return binary.BigEndian.AppendUint32(b, allocationID)
}
