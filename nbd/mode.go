package nbd

// replyMode is the shape of requests and replies, which negotiation decides
// once for the connection (rows 14 and 27).
type replyMode uint8

const (
	// modeSimple: 28 byte requests, 16 byte replies.
	modeSimple replyMode = iota
	// modeStructured: the replies of READ and BLOCK_STATUS, and errors, are
	// chunks; others are simple, which is shorter.
	modeStructured
	// modeExtended: 32 byte requests, and chunks only.
	modeExtended
)

// requestSize is how long a request is, its payload aside.
func (m replyMode) requestSize() int {
	if m == modeExtended {
		return extendedRequestSize
	}
	return requestSize
}

// decode decodes a request of requestSize bytes. false: it is none of this
// mode, and the position in the stream is lost; the two kinds never mix.
func (m replyMode) decode(b []byte) (requestHeader, bool) {
	if m == modeExtended {
		return decodeExtendedRequest(b)
	}
	return decodeRequest(b)
}
