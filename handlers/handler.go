package handlers

import "scstuser/ucmd"

// Handler carries out the SCSI commands of one device. Serve calls it, from
// several goroutines at once (one at a time only if it is no Trier and
// Options.Threads is 1); a Handler locks what it must.
//
// A Handler may also implement the interfaces below. Their methods, other than
// Exec, must not wait long: they run on whatever goroutine there is, and
// ATTACH_SESS has to be answered within seconds (rule R40).
type Handler interface {
	// Exec carries out one command and fills in the outcome: RespLen bytes in
	// Buf, or a status, with sense if it is CHECK CONDITION. It may wait. r
	// and what it points to are Serve's again when Exec returns.
	Exec(r *Request)
}

// Trier is a Handler that can carry out some commands without waiting.
type Trier interface {
	// TryExec is Exec for a goroutine that must not wait. It returns false,
	// having done nothing that Exec would not do again in the same way, when
	// the command might wait; Exec is called for it later, on another
	// goroutine, with a fresh Request.
	TryExec(r *Request) bool
}

// Parser is a Handler of a device that was registered with parse "call" or
// "excpt" and has commands which the standard parser doesn't know.
type Parser interface {
	// Parse fills the reply to a PARSE subcommand, except for its Handle and
	// Code (rule R45). Commands longer than 16 bytes are cut in sub.
	Parse(sub *ucmd.Subcommand, reply *ucmd.Reply)
}

// DSenser is a Handler that may want its sense data in the descriptor format
// (SPC-4, 4.5.2) instead of the fixed one.
type DSenser interface {
	// DSense is the D_SENSE bit of the control mode page as it is now.
	DSense() bool
}

// TaskManager is a Handler that wants to know of task management.
type TaskManager interface {
	// TaskMgmt is called for TM_RECEIVED and TM_DONE; the result counts for
	// TM_DONE only, 0 is success (rule R66).
	TaskMgmt(sub *ucmd.Subcommand) (result int32)
}

// Attacher is a Handler that wants to know its sessions.
type Attacher interface {
	// Attach may refuse a session with an error (rule R40). A syscall.Errno
	// in it is what the target reports, otherwise it reports EPERM.
	Attach(sessH uint64, info *ucmd.SessInfo) error
	// Detach is called after the session's last command (rule R41).
	Detach(sessH uint64)
}
