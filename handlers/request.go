package handlers

import (
	"scstuser/scsi"
	"scstuser/ucmd"
)

// Request is one EXEC subcommand and its outcome. It belongs to one call of
// Exec or TryExec.
type Request struct {
	// Sub is the subcommand as it came; the handler only reads it.
	Sub *ucmd.Subcommand
	// CDB is the whole command, beyond 16 bytes if it is longer; the handler
	// only reads it.
	CDB []byte
	// Buf is the data buffer, Sub.BufLen bytes: the initiator's data for a
	// write, room for the answer for a read. It is nil when there is none.
	// A read's Buf holds whatever an earlier command left in it: an answer
	// must be written in full, up to RespLen (invariant I7).
	Buf []byte
	// OutBuf is the initiator's data of a bidirectional command, whose Buf
	// is for the answer; otherwise nil.
	OutBuf []byte

	// Status is the outcome; the zero value is GOOD.
	Status scsi.Status
	// RespLen is how many bytes of Buf are the answer; 0 for writes (rule R57).
	RespLen int32
	// File is where the answer is, if that is in a file and not in Buf. Only
	// TryExec may set it, and only if Sub.TakesFile is set.
	File ucmd.FileRange
	// sense is what Fail left; it is encoded when the reply is built.
	sense  scsi.Sense
	failed bool
}

// Reset makes r ready for another command. Serve calls it, and tests of a
// Handler.
func (r *Request) Reset(sub *ucmd.Subcommand, cdb, buf []byte) {
	*r = Request{Sub: sub, CDB: cdb, Buf: buf}
}

// again makes r ready for Exec after TryExec has declined.
func (r *Request) again() {
	r.Status, r.RespLen, r.failed, r.File = scsi.Good, 0, false, ucmd.FileRange{}
}

// Fail ends the command with CHECK CONDITION and the given sense. The data
// phase is dropped.
func (r *Request) Fail(s scsi.Sense) {
	r.Status = scsi.CheckCondition
	r.RespLen, r.File = 0, ucmd.FileRange{}
	r.sense, r.failed = s, true
}

// Sense returns the sense that Fail was given, and whether it was called.
func (r *Request) Sense() (scsi.Sense, bool) { return r.sense, r.failed }
