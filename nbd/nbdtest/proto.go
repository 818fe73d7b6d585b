package nbdtest

import "fmt"

// Magic numbers.
const (
	MagicInit        = 0x4e42444d41474943 // "NBDMAGIC"
	MagicOption      = 0x49484156454f5054 // "IHAVEOPT"
	MagicOptionReply = 0x0003e889045565a9
	MagicRequest     = 0x25609513
	MagicSimpleReply = 0x67446698
)

// Flags of the greeting, and of the client's answer to it.
const (
	FixedNewstyle = 1 << 0
	NoZeroes      = 1 << 1
)

// Options.
const (
	OptExportName      = 1
	OptAbort           = 2
	OptList            = 3
	OptStartTLS        = 5
	OptInfo            = 6
	OptGo              = 7
	OptStructuredReply = 8
	OptListMetaContext = 9
	OptSetMetaContext  = 10
	OptExtendedHeaders = 11
)

// Option reply types.
const (
	RepAck           = 1
	RepServer        = 2
	RepInfo          = 3
	RepMetaContext   = 4
	RepErrUnsup      = 1<<31 + 1
	RepErrPolicy     = 1<<31 + 2
	RepErrInvalid    = 1<<31 + 3
	RepErrTLSReqd    = 1<<31 + 5
	RepErrUnknown    = 1<<31 + 6
	RepErrShutdown   = 1<<31 + 7
	RepErrTooBig     = 1<<31 + 9
	RepErrExtHeader  = 1<<31 + 10
	repErrBit        = 1 << 31
	optionReplyLimit = 1 << 20 // no reply is that long
)

// Information types.
const (
	InfoExport      = 0
	InfoName        = 1
	InfoDescription = 2
	InfoBlockSize   = 3
)

// Transmission flags.
const (
	FlagHasFlags        = 1 << 0
	FlagReadOnly        = 1 << 1
	FlagSendFlush       = 1 << 2
	FlagSendFUA         = 1 << 3
	FlagRotational      = 1 << 4
	FlagSendTrim        = 1 << 5
	FlagSendWriteZeroes = 1 << 6
	FlagSendDF          = 1 << 7
	FlagCanMultiConn    = 1 << 8
	FlagSendResize      = 1 << 9
	FlagSendCache       = 1 << 10
	FlagSendFastZero    = 1 << 11
	FlagStatusPayload   = 1 << 12
)

// Commands.
const (
	CmdRead        = 0
	CmdWrite       = 1
	CmdDisc        = 2
	CmdFlush       = 3
	CmdTrim        = 4
	CmdCache       = 5
	CmdWriteZeroes = 6
	CmdBlockStatus = 7
	CmdResize      = 8
)

// Command flags.
const (
	CmdFlagFUA        = 1 << 0
	CmdFlagNoHole     = 1 << 1
	CmdFlagDF         = 1 << 2
	CmdFlagReqOne     = 1 << 3
	CmdFlagFastZero   = 1 << 4
	CmdFlagPayloadLen = 1 << 5
)

// Errno is the error value of a reply. It prints as its name.
type Errno uint32

// Error values.
const (
	OK        Errno = 0
	EPERM     Errno = 1
	EIO       Errno = 5
	ENOMEM    Errno = 12
	EINVAL    Errno = 22
	ENOSPC    Errno = 28
	EOVERFLOW Errno = 75
	ENOTSUP   Errno = 95
	ESHUTDOWN Errno = 108
)

// String returns the value's name in proto.md.
func (e Errno) String() string {
	switch e {
	case OK:
		return "success"
	case EPERM:
		return "EPERM"
	case EIO:
		return "EIO"
	case ENOMEM:
		return "ENOMEM"
	case EINVAL:
		return "EINVAL"
	case ENOSPC:
		return "ENOSPC"
	case EOVERFLOW:
		return "EOVERFLOW"
	case ENOTSUP:
		return "ENOTSUP"
	case ESHUTDOWN:
		return "ESHUTDOWN"
	}
	return fmt.Sprintf("error value %d, which the protocol does not have", uint32(e))
}
