package nbd

import (
	"encoding/binary"

	"scstuser/target"
)

// encodeSimple makes a simple reply: errno is set, and the data of a READ.
func (r *request) encodeSimple() {
	if r.errno != errnoNone {
		r.data, r.file = nil, target.FileRange{}
	}
	putSimpleReply(r.hdr[:], r.errno, r.h.cookie)
	r.hdrLen = simpleReplySize
}

// encode makes the reply in chunks of a request: errno, why and data are set, or more has
// the chunks of a sparse READ. What it makes is hdr, data and more, to be sent
// in this order.
func (r *request) encode() {
	m := r.c.mode
	b := r.hdr[:0]
	switch {
	case r.errno != errnoNone:
		r.encodeError()
		return
	case len(r.more) > 0:
	case r.h.typ == cmdRead && len(r.data) > 0:
		b = appendDataChunk(b, m, chunkDone, &r.h, r.h.offset, uint64(len(r.data)))
	case r.h.typ == cmdBlockStatus:
		b = r.appendStatusHeader(b)
	case r.h.typ == cmdRead || m == modeExtended:
		b = appendChunk(b, m, chunkDone, chunkNone, &r.h, 0)
	default:
		r.encodeSimple()
		return
	}
	r.hdrLen = uint8(len(b))
}

// encodeError makes the error chunk that ends a reply (row 15).
func (r *request) encodeError() {
	why := r.why
	if why == "" {
		why = errorText(r.errno)
	}
	why = why[:min(len(why), maxString)]
	b := appendErrorChunk(r.hdr[:0], r.c.mode, &r.h, r.errno, why, r.located)
	r.hdrLen = uint8(len(b))
	r.data = append(make([]byte, 0, len(why)+8), why...)
	if r.located {
		r.data = binary.BigEndian.AppendUint64(r.data, r.errorAt)
	}
	r.more, r.file = nil, target.FileRange{}
}

// errorText is what is said of an error that nothing else is known about.
func errorText(errno uint32) string {
	switch errno {
	case errnoPerm:
		return "the device refuses to be changed"
	case errnoNoMem:
		return "the device is too busy"
	case errnoNoSpace:
		return "the device has no space left"
	case errnoInval:
		return "the device refuses the request"
	case errnoShutdown:
		return "the device is being released"
	case errnoNotSup:
		return refuseSlowZeroes.why
	}
	return "the device failed"
}

// size is how many bytes the encoded reply has.
func (r *request) size() int {
	n := int(r.hdrLen) + len(r.data)
	for _, p := range r.more {
		n += len(p)
	}
	return n
}

// addTo appends the encoded reply to what is sent.
func (r *request) addTo(v *vector) {
	v.add(r.hdr[:r.hdrLen])
	if r.file.Source != nil {
		v.addFile(r.data, r.file)
	} else {
		v.add(r.data)
	}
	for _, p := range r.more {
		v.add(p)
	}
}

// fail sets the error of a request.
func (r *request) fail(why refusal) { r.errno, r.why = why.errno, why.why }
