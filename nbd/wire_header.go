package nbd

import "encoding/binary"

// Sizes of the fixed headers of the transmission phase, in bytes.
const (
	requestSize         = 28
	extendedRequestSize = 32
	simpleReplySize     = 16
)

// requestHeader is a request without its magic number and its payload
// (proto.md "Request message").
type requestHeader struct {
	flags  uint16 // cmdFlag bits
	typ    uint16 // a cmd number
	cookie uint64 // the client's name for the request, opaque to us (row 12)
	offset uint64 // bytes from the start of the export
	// length is in bytes: of the payload that follows, if one does (see
	// payloadLength), else of what the request concerns. It has 32 bits unless
	// headers are extended.
	length uint64
}

// decodeRequest decodes the first requestSize bytes of b, which must be that
// long. It reports false if they are not a request: then the position in the
// stream is lost and nothing that follows can be trusted.
func decodeRequest(b []byte) (requestHeader, bool) {
	_ = b[requestSize-1]
	return requestHeader{
		flags:  binary.BigEndian.Uint16(b[4:]),
		typ:    binary.BigEndian.Uint16(b[6:]),
		cookie: binary.BigEndian.Uint64(b[8:]),
		offset: binary.BigEndian.Uint64(b[16:]),
		length: uint64(binary.BigEndian.Uint32(b[24:])),
	}, binary.BigEndian.Uint32(b[0:]) == magicRequest
}

// putRequest encodes r into the first requestSize bytes of b.
func putRequest(b []byte, r requestHeader) {
	_ = b[requestSize-1]
	binary.BigEndian.PutUint32(b[0:], magicRequest)
	binary.BigEndian.PutUint16(b[4:], r.flags)
	binary.BigEndian.PutUint16(b[6:], r.typ)
	binary.BigEndian.PutUint64(b[8:], r.cookie)
	binary.BigEndian.PutUint64(b[16:], r.offset)
	binary.BigEndian.PutUint32(b[24:], uint32(r.length))
}

// decodeExtendedRequest is decodeRequest for the first extendedRequestSize bytes
// of b, in the extended form.
func decodeExtendedRequest(b []byte) (requestHeader, bool) {
	_ = b[extendedRequestSize-1]
	return requestHeader{
		flags:  binary.BigEndian.Uint16(b[4:]),
		typ:    binary.BigEndian.Uint16(b[6:]),
		cookie: binary.BigEndian.Uint64(b[8:]),
		offset: binary.BigEndian.Uint64(b[16:]),
		length: binary.BigEndian.Uint64(b[24:]),
	}, binary.BigEndian.Uint32(b[0:]) == magicExtendedRequest
}

// payloadLength is how many bytes of payload follow the header on the wire.
func (r *requestHeader) payloadLength(m replyMode) uint64 {
	if m == modeExtended && r.flags&cmdFlagPayloadLen != 0 || m != modeExtended && r.typ == cmdWrite {
		return r.length
	}
	return 0
}

// putSimpleReply encodes the header of a simple reply into the first
// simpleReplySize bytes of b (proto.md "Simple reply message"). errno is one
// of the errno values; errnoNone promises, for a read, that its data follows.
func putSimpleReply(b []byte, errno uint32, cookie uint64) {
	_ = b[simpleReplySize-1]
	binary.BigEndian.PutUint32(b[0:], magicSimpleReply)
	binary.BigEndian.PutUint32(b[4:], errno)
	binary.BigEndian.PutUint64(b[8:], cookie)
}

// decodeSimpleReply decodes the first simpleReplySize bytes of b. It reports
// false if they are not a simple reply.
func decodeSimpleReply(b []byte) (errno uint32, cookie uint64, ok bool) {
	_ = b[simpleReplySize-1]
	return binary.BigEndian.Uint32(b[4:]),
		binary.BigEndian.Uint64(b[8:]),
		binary.BigEndian.Uint32(b[0:]) == magicSimpleReply
}
