package ucmd

import (
	"scstuser/scsi"
	"scstuser/target"
)

// PageSize is the page size of the interface: pool classes, alignment rules
// and alloc_len are counted in it (rules R38, R50, R51).
const PageSize = 4096

// Subcode names one subcommand that a device sends to its handler. The value
// is the state that the ucmd is in while the subcommand is outstanding, which
// is also _IOC_NR of the ioctl interface's subcode (rule R2).
type Subcode uint8

// The subcommands (rule R2).
const (
	SubParse           Subcode = 0x01
	SubAllocMem        Subcode = 0x02
	SubExec            Subcode = 0x03
	SubOnFree          Subcode = 0x04
	SubOnCachedMemFree Subcode = 0x05
	SubExtCopyRemap    Subcode = 0x06
	SubTMReceived      Subcode = 0x08
	SubTMDone          Subcode = 0x09
	SubAttachSess      Subcode = 0x20
	SubDetachSess      Subcode = 0x21
)

// ReplyType says what an EXEC reply means (rules R57, R59, R60). These are not
// the interface's numbers (0 BACKGROUND, 1 COMPLETED, 2 DO_WRITE_SAME): in Go
// the zero value must not mean that a command was answered with GOOD. It is
// refused.
type ReplyType uint8

// The EXEC reply types.
const (
	// ReplyCompleted ends the command with the reply's status and data.
	ReplyCompleted ReplyType = 1
	// ReplyBackground answers the initiator with GOOD now; a second
	// ReplyCompleted on the same handle releases the command.
	ReplyBackground ReplyType = 2
	// ReplyDoWriteSame asks the target to carry a WRITE SAME out as WRITEs.
	ReplyDoWriteSame ReplyType = 3
)

// Delivery statuses of ON_FREE_CMD (rule R61).
const (
	DeliverySuccess int8 = 0
	DeliveryFailed  int8 = -1
	DeliveryAborted int8 = -2
)

// Subcommand is one subcommand on its way to the handler: the Go form of the
// interface's get_cmd structure. Which fields are valid depends on Code; the
// comments name the subcommands.
type Subcommand struct {
	Handle uint32  // all
	Code   Subcode // all

	Dir           scsi.Dir       // PARSE, ALLOC_MEM, EXEC
	QueueType     scsi.QueueType // PARSE, ALLOC_MEM, EXEC
	CDB           [16]byte       // PARSE, ALLOC_MEM, EXEC: the first 16 bytes
	CDBLen        uint16         // PARSE, ALLOC_MEM, EXEC: of the whole CDB
	SessH         uint64         // PARSE, ALLOC_MEM, EXEC, TM, ATTACH, DETACH
	LBA           uint64         // PARSE, EXEC
	DataLen       int64          // PARSE, EXEC
	BufLen        int32          // PARSE, EXEC
	OutBufLen     int32          // PARSE, EXEC
	AllocLen      int32          // ALLOC_MEM, EXEC (rules R50, R56)
	Timeout       int32          // PARSE, EXEC: seconds
	PBuf          uint64         // EXEC, ON_FREE_CMD, ON_CACHED_MEM_FREE: 0 is no buffer
	OutPBuf       uint64         // EXEC, BIDI only
	SN            uint32         // PARSE, ALLOC_MEM, EXEC
	OpFlags       uint32         // PARSE
	ExpectedSet   bool           // PARSE
	ExpectedDir   scsi.Dir       // PARSE
	ExpectedLen   int32          // PARSE
	ExpectedOut   int32          // PARSE
	RespDataLen   int32          // ON_FREE_CMD
	BufferCached  bool           // ON_FREE_CMD: the pool keeps the buffer
	Aborted       bool           // ON_FREE_CMD
	Status        scsi.Status    // ON_FREE_CMD
	Delivery      int8           // ON_FREE_CMD: one of the Delivery constants
	TMFunc        int32          // TM_RECEIVED, TM_DONE: see target.TMFunc
	CmdHToAbort   uint32         // TM_RECEIVED
	CmdSN         uint32         // TM_RECEIVED
	CmdSNSet      bool           // TM_RECEIVED
	Sess          *SessInfo      // ATTACH_SESS
	Remap         *RemapSegment  // EXT_COPY_REMAP
	TakesFile     bool           // EXEC: Reply.File may be set; never for a handler in another process
	ParentHandle  uint32         // never set, as on the module (rule R21)
	ParentDataLen int32          // never set
	PartialOffset int32          // never set
}

// FileRange is a place in a file.
type FileRange = target.FileRange

// SessInfo is what ATTACH_SESS tells about the new session (rule R39).
type SessInfo struct {
	LUN              uint64
	ThreadsNum       uint16
	ReadOnly         bool
	TransportVersion uint16
	PhysVersion      uint16
	Initiator        string
	Target           string
}

// RemapSegment is the segment of an EXTENDED COPY that EXT_COPY_REMAP asks
// about (rule R65).
type RemapSegment struct {
	SrcSessH, DstSessH uint64
	Descr              DataDescr
}

// DataDescr is one piece of an EXTENDED COPY segment, lengths in bytes.
type DataDescr struct {
	SrcLBA, DstLBA uint64
	DataLen        int32
}

// WriteSameDescr is one range that a DO_WRITE_SAME reply wants written; a
// Blocks of 0 ends the list (rule R60).
type WriteSameDescr struct {
	LBA    uint64
	Blocks uint64
}

// Reply is the handler's answer to one subcommand: the Go form of the
// interface's reply_cmd structure. Sense and the descriptor lists are read
// before the call that gives the reply returns, and not kept.
type Reply struct {
	Handle uint32  // all
	Code   Subcode // all: must be the outstanding subcommand's

	Type        ReplyType      // EXEC
	Status      scsi.Status    // PARSE, EXEC, EXT_COPY_REMAP
	RespDataLen int32          // EXEC
	PBuf        uint64         // ALLOC_MEM, EXEC
	Sense       []byte         // PARSE, EXEC, EXT_COPY_REMAP: at most 252 bytes are used
	BadSense    bool           // the sense pointer could not be read (rules R46, fact 37)
	Result      int32          // ATTACH_SESS, DETACH_SESS, TM
	QueueType   scsi.QueueType // PARSE
	Dir         scsi.Dir       // PARSE
	CDBLen      uint16         // PARSE: 0 keeps it
	LBA         int64          // PARSE
	DataLen     int64          // PARSE
	BufLen      int32          // PARSE
	OutBufLen   int32          // PARSE
	OpFlags     uint32         // PARSE

	// File says, with EXEC and if TakesFile was set, that the first RespDataLen
	// bytes of the answer are in a file, and have not been written to the
	// buffer, which there is all the same. They stay as they are there until
	// ON_FREE_CMD would come, but for what other commands write.
	File FileRange

	// WriteSame are the ranges of a DO_WRITE_SAME reply, WSLen the bytes that
	// the handler declared for them, 16 each; 0 is the whole CDB's range.
	WriteSame []WriteSameDescr
	WSLen     int32
	// Remap are the pieces of an EXT_COPY_REMAP reply, RemapLen the bytes that
	// the handler declared for them, 24 each; 0 is that nothing is left.
	Remap    []DataDescr
	RemapLen int32
}
