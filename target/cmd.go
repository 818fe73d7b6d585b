package target

import (
	"sync/atomic"
	"time"

	"scstuser/scsi"
)

// MaxSense is how many bytes of sense a command carries (rules R46, R58).
const MaxSense = 252

// MaxCDB is the longest CDB that a command takes (SPC-4: 260 bytes).
const MaxCDB = 260

// Cmd is one SCSI command. The front end owns its memory: it fills one in with
// Init, submits it, and may use it again after Frontend.Freed. It is large
// (sense space is inside) so that nothing is allocated per command.
//
// Its fields and methods belong to whoever holds the command (see the package
// comment), except for those that say otherwise.
type Cmd struct {
	// Front is the front end's own; nobody else looks at it. Init keeps it.
	Front any
	// Priv is the device handler's own, from Parse to OnFree.
	Priv any
	// Tag is the initiator's name for the command (ABORT TASK). It is set
	// between Init and Submit.
	Tag uint64

	// QueueType is the task attribute. After Submit it is changed with
	// SetQueueType only.
	QueueType scsi.QueueType
	// ExpectedSet says that the initiator told what it expects to transfer.
	ExpectedSet bool
	// ExpectedDir and ExpectedLen (bytes) are what it expects.
	ExpectedDir scsi.Dir
	ExpectedLen int32

	// Dir, LBA, DataLen, BufLen, OutBufLen, Timeout and OpFlags are what
	// parse found: DataLen is the bytes of medium concerned, BufLen the
	// bytes through Buf (for BIDI the read side), OutBufLen the write side
	// of BIDI, Timeout seconds. LBA and DataLen are not range checked.
	Dir       scsi.Dir
	LBA       uint64
	DataLen   int64
	BufLen    int32
	OutBufLen int32
	Timeout   int32
	OpFlags   uint32

	// Buf is the data buffer, at least BufLen bytes, from AllocBuf (or, for
	// a read, from Done) until OnFree. OutBuf is the write side of BIDI.
	Buf    []byte
	OutBuf []byte

	// TakesFile says that the front end can send the data of a read from a
	// file. It sets that between Init and Submit.
	TakesFile bool
	// File, if there is one, has the bytes of a read that Buf has room for: the
	// handler has not copied them, and what Buf has is not to be sent. It is
	// set with Done, and only if TakesFile is.
	File FileRange

	// Status is the outcome once the command is done.
	Status scsi.Status
	// RespLen is how many bytes of Buf go to the initiator.
	RespLen int32
	// Delivery is what the front end said of the response.
	Delivery Delivery
	// DevTag is the handler's number for the command, plus one, and 0 while
	// it has none. Task management reads it at any moment.
	DevTag atomic.Uint64

	sess *Session
	// handler is who parsed the command, and is owed OnFree.
	handler DevHandler
	state   cmdState
	// kept is the initiator's data, once the command was given back with it;
	// received says that all of it has come (retry.go).
	kept     []byte
	received bool
	// repeats counts the calls of Retry.
	repeats int
	// askedQueue and askedLen are the task attribute and the length of the
	// CDB at submission: parse may change them.
	askedQueue scsi.QueueType
	askedLen   int16
	// started is when the command was submitted, on the clock of Now.
	started time.Duration
	// completed says that a stage before exec ended the command.
	completed bool
	// parsed says that DevHandler.Parse was called: OnFree is owed.
	parsed bool
	// internal commands are the target's own (REQUEST SENSE, WRITE SAME).
	internal bool
	// reserves says that this command took the reservation.
	reserves bool
	senseLen int16
	cdbLen   int16
	// aborted is set by task management, at any moment before the command is
	// done, under Session.mu.
	aborted atomic.Bool

	// What follows is guarded by Session.mu while the command is submitted.

	// special: counted in Session.special; isActive: in Session.active.
	special  bool
	isActive bool
	// prev, next link Session.tasks, qnext a cmdQueue.
	prev, next *Cmd
	qnext      *Cmd
	// seq numbers the session's commands in the order of their submission.
	seq uint64
	// abortedBy are the functions that wait for this command.
	abortedBy []*MgmtCmd

	ext   []byte // the CDB, if it is longer than cdb
	cdb   [16]byte
	sense [MaxSense]byte
}

// Delivery says what became of a response.
type Delivery int8

// The delivery statuses (rule R61).
const (
	Delivered       Delivery = 0
	DeliveryFailed  Delivery = -1
	DeliveryAborted Delivery = -2
)

// Init makes c a fresh command with the given CDB, which is copied. Everything
// but Front is reset. CDBs longer than 16 bytes cost an allocation; longer
// than MaxCDB are cut.
func (c *Cmd) Init(cdb []byte, q scsi.QueueType) {
	c.Priv, c.Tag = nil, 0
	c.QueueType = q
	c.ExpectedSet, c.ExpectedDir, c.ExpectedLen = false, 0, 0
	c.Dir, c.LBA, c.DataLen, c.BufLen, c.OutBufLen = scsi.DirNone, 0, 0, 0, 0
	c.Timeout, c.OpFlags = 0, 0
	c.Buf, c.OutBuf = nil, nil
	c.TakesFile, c.File = false, FileRange{}
	c.Status, c.RespLen, c.Delivery = scsi.Good, 0, Delivered
	c.sess, c.handler, c.state = nil, nil, stateNew
	c.kept, c.received, c.repeats = nil, false, 0
	c.askedQueue, c.askedLen, c.seq = 0, 0, 0
	c.completed, c.parsed, c.internal, c.reserves = false, false, false, false
	c.senseLen, c.started = 0, 0
	// Storing what is there already would cost more than looking.
	if c.aborted.Load() {
		c.aborted.Store(false)
	}
	if c.DevTag.Load() != 0 {
		c.DevTag.Store(0)
	}
	c.special, c.isActive = false, false
	c.prev, c.next, c.qnext, c.abortedBy = nil, nil, nil, nil
	c.ext = nil
	c.cdbLen = int16(copy(c.cdb[:], cdb))
	if len(cdb) > len(c.cdb) {
		c.ext = append([]byte(nil), cdb[:min(len(cdb), MaxCDB)]...)
		c.cdbLen = int16(len(c.ext))
	}
}

// CDB returns the whole command descriptor block; only read it. It may be
// shorter than its operation code asks for, even empty: initiators send that.
func (c *Cmd) CDB() []byte {
	if c.ext != nil {
		return c.ext[:c.cdbLen]
	}
	return c.cdb[:c.cdbLen]
}

// SetCDBLen shortens the CDB, as a PARSE reply may (rule R45). Lengths that
// would not shorten it are ignored.
func (c *Cmd) SetCDBLen(n int) {
	if n > 0 && n < int(c.cdbLen) {
		c.cdbLen = int16(n)
	}
}

// Op returns the operation code, TEST UNIT READY's for an empty CDB.
func (c *Cmd) Op() scsi.Opcode {
	if c.cdbLen == 0 {
		return 0
	}
	return scsi.Opcode(c.cdb[0])
}

// Started returns when the command was submitted, on the clock of Now.
func (c *Cmd) Started() time.Duration { return c.started }

// Session returns the nexus that submitted the command.
func (c *Cmd) Session() *Session { return c.sess }

// Aborted says whether task management aborted the command. Its response goes
// to the front end all the same (I1). It may be called at any moment.
func (c *Cmd) Aborted() bool { return c.aborted.Load() }

// Completed says whether the command was ended before exec.
func (c *Cmd) Completed() bool { return c.completed }

// Sense returns the sense bytes that go with CHECK CONDITION; only read them.
func (c *Cmd) Sense() []byte { return c.sense[:c.senseLen] }

// Data returns what a read answers; with File, room for it.
func (c *Cmd) Data() []byte { return c.Buf[:min(int(c.RespLen), len(c.Buf))] }

// SetStatus makes st the outcome, without sense.
func (c *Cmd) SetStatus(st scsi.Status) {
	c.Status, c.senseLen, c.RespLen = st, 0, 0
}

// SetSense makes CHECK CONDITION with s the outcome, in the format that the
// device's D_SENSE bit asks for.
func (c *Cmd) SetSense(s scsi.Sense) {
	d := c.sess != nil && c.sess.dev.dSense.Load()
	c.Status, c.RespLen = scsi.CheckCondition, 0
	c.senseLen = int16(len(s.Append(c.sense[:0], d)))
}

// SetSenseBytes sets the sense that goes with Status, cut at MaxSense bytes.
func (c *Cmd) SetSenseBytes(b []byte) {
	c.senseLen = int16(copy(c.sense[:], b))
}

// FailBusy makes the outcome TASK SET FULL when the session has other
// commands (the initiator should wait for one to end), else BUSY (SAM-5 5.3).
func (c *Cmd) FailBusy() {
	s := c.sess
	s.mu.Lock()
	alone := s.tasks.first == s.tasks.last
	s.mu.Unlock()
	if alone {
		c.SetStatus(scsi.Busy)
		return
	}
	c.SetStatus(scsi.TaskSetFull)
}
