package handlers

import (
	"scstuser/scsi"
	"scstuser/ucmd"
)

// Handler carries out the SCSI commands of one device. Serve calls it, from
// several goroutines at once; a Handler locks what it must.
//
// A Handler may also implement Trier, Parser, TaskManager, Attacher and
// Resizer.
type Handler interface {
	// Exec carries out one command and fills in the outcome: Good with
	// RespLen bytes in Buf, or a status with sense. It may wait.
	Exec(r *Request)
}

// Trier is a Handler that can carry out some commands without waiting. Serve
// then runs those on the goroutine that made the command ready.
type Trier interface {
	// TryExec is Exec for a goroutine that must not wait. It returns false,
	// having done nothing, when the command might wait; Exec is called for
	// it later on another goroutine.
	TryExec(r *Request) bool
}

// Parser is a Handler of a device that was registered with parse "call" or
// "excpt".
type Parser interface {
	// Parse fills the reply to a PARSE subcommand (rule R45).
	Parse(sub *ucmd.Subcommand, reply *ucmd.Reply)
}

// TaskManager is a Handler that wants to know of task management.
type TaskManager interface {
	// TaskMgmt is called for TM_RECEIVED and TM_DONE; the result counts for
	// TM_DONE only (rule R66).
	TaskMgmt(sub *ucmd.Subcommand) (result int32)
}

// Attacher is a Handler that wants to know its sessions.
type Attacher interface {
	// Attach may refuse a session with an error (rule R40).
	Attach(sessH uint64, info *ucmd.SessInfo) error
	// Detach is called after the session's last command (rule R41).
	Detach(sessH uint64)
}

// Request is one EXEC subcommand and its outcome.
type Request struct {
	// Sub is the subcommand as it came; the handler only reads it.
	Sub *ucmd.Subcommand
	// CDB is the whole command, beyond 16 bytes if it is longer.
	CDB []byte
	// Buf is the data buffer, Sub.BufLen bytes: the initiator's data for a
	// write, room for the answer for a read. It is nil when there is none.
	// A read's Buf holds whatever an earlier command left in it.
	Buf []byte

	// Status is the outcome; the zero value is GOOD.
	Status scsi.Status
	// RespLen is how many bytes of Buf are the answer; 0 for writes.
	RespLen int32
	// sense is what SetSense left, encoded when the reply is built.
	sense    scsi.Sense
	senseSet bool
}

// Reset makes r ready for another command.
func (r *Request) Reset(sub *ucmd.Subcommand, cdb, buf []byte) {
	*r = Request{Sub: sub, CDB: cdb, Buf: buf}
}

// Fail ends the command with CHECK CONDITION and the given sense. The data
// phase is dropped.
func (r *Request) Fail(s scsi.Sense) {
	r.Status = scsi.CheckCondition
	r.RespLen = 0
	r.sense, r.senseSet = s, true
}

// Sense returns the sense that Fail was given, and whether it was called.
func (r *Request) Sense() (scsi.Sense, bool) { return r.sense, r.senseSet }
