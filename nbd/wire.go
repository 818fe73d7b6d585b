package nbd

import "github.com/pojntfx/go-nbd/pkg/protocol"

// The numbers of the protocol, under the names of proto.md in Go spelling
// (NBD_OPT_EXPORT_NAME is optExportName). Those that go-nbd defines are taken
// from there. All integers on the wire are unsigned and big-endian.

// Magic numbers.
const (
	magicInit            = protocol.NEGOTIATION_MAGIC_OLDSTYLE // "NBDMAGIC", first bytes of every server
	magicOption          = protocol.NEGOTIATION_MAGIC_OPTION   // "IHAVEOPT", in the greeting and before each option
	magicOptionReply     = protocol.NEGOTIATION_MAGIC_REPLY
	magicRequest         = protocol.TRANSMISSION_MAGIC_REQUEST
	magicSimpleReply     = protocol.TRANSMISSION_MAGIC_REPLY
	magicStructuredReply = uint32(0x668e33ef)
	magicExtendedRequest = uint32(0x21e41c71)
	magicExtendedReply   = uint32(0x6e8a278c)
)

// maxString is the length limit, in bytes, of every string of the protocol:
// export names, descriptions, error messages (proto.md "Conventions").
const maxString = 4096

// Handshake flags, which the server sends in its greeting.
const (
	handshakeFixedNewstyle = protocol.NEGOTIATION_HANDSHAKE_FLAG_FIXED_NEWSTYLE
	handshakeNoZeroes      = uint16(1 << 1)
)

// Client flags, the client's answer to the greeting. They are the handshake
// flags that it accepts, in 32 bits.
const (
	clientFixedNewstyle = uint32(handshakeFixedNewstyle)
	clientNoZeroes      = uint32(handshakeNoZeroes)
)

// Options, which a client sends while it haggles.
const (
	optExportName      = uint32(1)
	optAbort           = protocol.NEGOTIATION_ID_OPTION_ABORT
	optList            = protocol.NEGOTIATION_ID_OPTION_LIST
	optPeekExport      = uint32(4) // withdrawn, in use nowhere
	optStartTLS        = uint32(5)
	optInfo            = protocol.NEGOTIATION_ID_OPTION_INFO
	optGo              = protocol.NEGOTIATION_ID_OPTION_GO
	optStructuredReply = uint32(8)
	optListMetaContext = uint32(9)
	optSetMetaContext  = uint32(10)
	optExtendedHeaders = uint32(11)
)

// Option reply types. Bit 31 marks an error; the data of an error is a
// message for people.
const (
	repAck         = protocol.NEGOTIATION_TYPE_REPLY_ACK
	repServer      = protocol.NEGOTIATION_TYPE_REPLY_SERVER
	repInfo        = protocol.NEGOTIATION_TYPE_REPLY_INFO
	repMetaContext = uint32(4)

	repErrUnsup             = protocol.NEGOTIATION_TYPE_REPLY_ERR_UNSUPPORTED
	repErrPolicy            = uint32(1<<31 | 2)
	repErrInvalid           = uint32(1<<31 | 3)
	repErrPlatform          = uint32(1<<31 | 4)
	repErrTLSRequired       = uint32(1<<31 | 5)
	repErrUnknown           = protocol.NEGOTIATION_TYPE_REPLY_ERR_UNKNOWN
	repErrShutdown          = uint32(1<<31 | 7)
	repErrBlockSizeRequired = uint32(1<<31 | 8)
	repErrTooBig            = uint32(1<<31 | 9)
	repErrExtHeaderRequired = uint32(1<<31 | 10)
)

// Information types, in the requests of INFO and GO and in repInfo.
const (
	infoExport      = protocol.NEGOTIATION_TYPE_INFO_EXPORT
	infoName        = protocol.NEGOTIATION_TYPE_INFO_NAME
	infoDescription = protocol.NEGOTIATION_TYPE_INFO_DESCRIPTION
	infoBlockSize   = protocol.NEGOTIATION_TYPE_INFO_BLOCKSIZE
)

// Transmission flags, which tell a client what an export can do.
const (
	flagHasFlags           = protocol.NEGOTIATION_REPLY_FLAGS_HAS_FLAGS // always set
	flagReadOnly           = uint16(1 << 1)
	flagSendFlush          = uint16(1 << 2)
	flagSendFUA            = uint16(1 << 3)
	flagRotational         = uint16(1 << 4)
	flagSendTrim           = uint16(1 << 5)
	flagSendWriteZeroes    = uint16(1 << 6)
	flagSendDF             = uint16(1 << 7) // only with structured replies
	flagCanMultiConn       = protocol.NEGOTIATION_REPLY_FLAGS_CAN_MULTI_CONN
	flagSendResize         = uint16(1 << 9) // nobody ships it (row 28)
	flagSendCache          = uint16(1 << 10)
	flagSendFastZero       = uint16(1 << 11)
	flagBlockStatusPayload = uint16(1 << 12)
)

// Commands, the type of a request.
const (
	cmdRead        = protocol.TRANSMISSION_TYPE_REQUEST_READ
	cmdWrite       = protocol.TRANSMISSION_TYPE_REQUEST_WRITE
	cmdDisc        = protocol.TRANSMISSION_TYPE_REQUEST_DISC
	cmdFlush       = uint16(3)
	cmdTrim        = uint16(4)
	cmdCache       = uint16(5)
	cmdWriteZeroes = uint16(6)
	cmdBlockStatus = uint16(7)
	cmdResize      = uint16(8)
)

// Command flags.
const (
	cmdFlagFUA        = uint16(1 << 0)
	cmdFlagNoHole     = uint16(1 << 1) // WRITE_ZEROES
	cmdFlagDF         = uint16(1 << 2) // READ, once flagSendDF was offered
	cmdFlagReqOne     = uint16(1 << 3) // BLOCK_STATUS
	cmdFlagFastZero   = uint16(1 << 4) // WRITE_ZEROES, once flagSendFastZero was offered
	cmdFlagPayloadLen = uint16(1 << 5) // extended headers only
)

// Error values of replies. They are numbers of their own which happen to be
// Linux's, so they are not taken from package syscall.
const (
	errnoNone     = uint32(0)
	errnoPerm     = protocol.TRANSMISSION_ERROR_EPERM
	errnoIO       = uint32(5)
	errnoNoMem    = uint32(12)
	errnoInval    = protocol.TRANSMISSION_ERROR_EINVAL
	errnoNoSpace  = uint32(28)
	errnoOverflow = uint32(75)
	errnoNotSup   = uint32(95)
	errnoShutdown = uint32(108)
)
