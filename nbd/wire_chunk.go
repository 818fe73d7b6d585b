package nbd

import "encoding/binary"

// Chunk types of structured and extended replies. Bit 15 marks an error.
const (
	chunkNone           = uint16(0)
	chunkOffsetData     = uint16(1)
	chunkOffsetHole     = uint16(2)
	chunkBlockStatus    = uint16(5)
	chunkBlockStatusExt = uint16(6)
	chunkError          = uint16(1<<15 | 1)
	chunkErrorOffset    = uint16(1<<15 | 2)
)

// chunkDone marks the last chunk of a reply.
const chunkDone = uint16(1 << 0)

// Flags of the base:allocation context.
const (
	stateHole = uint32(1 << 0) // not allocated
	stateZero = uint32(1 << 1) // reads as zeroes
)

// Sizes of chunk headers, in bytes.
const (
	structuredReplySize = 20
	extendedReplySize   = 32
	// maxChunkHeader has room for an extended header and the fixed fields of
	// every chunk type; the longest is a hole's.
	maxChunkHeader = extendedReplySize + 12
)

// appendChunk appends the header of a chunk with length bytes of payload to b
// (proto.md "Structured reply chunk message"; its extended form in mode
// modeExtended, which repeats the offset of the request).
func appendChunk(b []byte, m replyMode, flags, typ uint16, h *requestHeader, length uint64) []byte {
	magic := magicStructuredReply
	if m == modeExtended {
		magic = magicExtendedReply
	}
	b = binary.BigEndian.AppendUint32(b, magic)
	b = binary.BigEndian.AppendUint16(b, flags)
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint64(b, h.cookie)
	if m == modeExtended {
		b = binary.BigEndian.AppendUint64(b, h.offset)
		return binary.BigEndian.AppendUint64(b, length)
	}
	return binary.BigEndian.AppendUint32(b, uint32(length))
}

// appendDataChunk appends what comes before the n bytes of an OFFSET_DATA chunk,
// which begin at offset in the export.
func appendDataChunk(b []byte, m replyMode, flags uint16, h *requestHeader, offset, n uint64) []byte {
	b = appendChunk(b, m, flags, chunkOffsetData, h, 8+n)
	return binary.BigEndian.AppendUint64(b, offset)
}

// appendHoleChunk appends an OFFSET_HOLE chunk: n bytes at offset in the export
// read as zeroes.
func appendHoleChunk(b []byte, m replyMode, flags uint16, h *requestHeader, offset uint64, n uint32) []byte {
	b = appendChunk(b, m, flags, chunkOffsetHole, h, 12)
	b = binary.BigEndian.AppendUint64(b, offset)
	return binary.BigEndian.AppendUint32(b, n)
}

// appendErrorChunk appends what comes before the message of an error chunk. With
// located the offset of the error follows the message.
func appendErrorChunk(b []byte, m replyMode, h *requestHeader, errno uint32, message string, located bool) []byte {
	typ, length := chunkError, 6+uint64(len(message))
	if located {
		typ, length = chunkErrorOffset, length+8
	}
	b = appendChunk(b, m, chunkDone, typ, h, length)
	b = binary.BigEndian.AppendUint32(b, errno)
	return binary.BigEndian.AppendUint16(b, uint16(len(message)))
}
