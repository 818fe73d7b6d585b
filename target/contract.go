package target

// Verdict is what a stage of a DevHandler or Frontend says to the pipeline.
type Verdict uint8

const (
	// Continue: the stage is done (or has failed the command, see
	// Cmd.Complete); go on.
	Continue Verdict = iota
	// Stop: the stage has kept the command and will resume it with the
	// method that the stage's comment names.
	Stop
)

// DevHandler is what stands behind a Device: the role that SCST's "dev
// handler" has. The pipeline calls it in this order for each command: Parse,
// AllocBuf, Exec, OnFree; a command that ends early skips what is left of the
// first three. Calls for different commands come from many goroutines at once;
// no lock of this package is held during any of them.
type DevHandler interface {
	// Parse fills in what the command transfers. Stop: Cmd.ParseDone later,
	// or Cmd.AbnormalDone to end the command.
	Parse(c *Cmd) Verdict
	// AllocBuf sets Cmd.Buf to the data buffer. A read may go on without
	// one and set it before Done. Stop: Cmd.AllocDone later, which calls
	// AllocBuf again, or Cmd.AbnormalDone. It is not called for a command
	// without data.
	AllocBuf(c *Cmd) Verdict
	// Exec carries the command out, and calls Cmd.Done when it is over,
	// possibly before Exec returns. Right before the command is begun,
	// however late that is, it asks Cmd.CheckLocalEvents (rule R33).
	Exec(c *Cmd)
	// OnFree is told that nobody needs the command and its buffer any more.
	// It must forget c before it returns. It is called once for each call of
	// Parse: for a command that was given back (Cmd.Retry) it comes at once.
	OnFree(c *Cmd)

	// TaskMgmtReceived announces a task management function, before its
	// commands are waited for. Nothing waits for its outcome (fact 49).
	TaskMgmtReceived(m *MgmtCmd)
	// TaskMgmtDone tells that all affected commands are finished. The
	// handler calls MgmtCmd.Done, once, with the outcome, possibly before
	// returning.
	TaskMgmtDone(m *MgmtCmd)

	// Attach asks whether a session may use the device. Nothing executes on
	// the device while it runs (rule R39). An error refuses the session,
	// which is not detached then; with ErrHandlerGone it is asked of the
	// handler's successor.
	Attach(s *Session) error
	// Detach tells that the session is gone; all its commands and task
	// management functions are finished (rule R41), and nothing executes on
	// the device until answered is called, once, possibly before Detach
	// returns. Detach itself does not wait.
	Detach(s *Session, answered func())
}

// Frontend is what brings commands in: the role of SCST's "target driver".
// Its methods are called on whatever goroutine moved the command, often from
// within Session.Submit; they must not wait, and so not call NewSession,
// Session.Close or Device.Suspend. None is called for a session whose Close
// has returned nil, except for what is submitted after that.
type Frontend interface {
	// RdyToXfer says that Cmd.Buf (OutBuf for BIDI) can take the initiator's
	// data. Continue: the data is there. Stop: Cmd.DataReceived or
	// Cmd.DataFailed later.
	RdyToXfer(c *Cmd) Verdict
	// XmitResponse hands over the finished command: status, sense and, for a
	// read, Cmd.Data. The front end calls Cmd.Delivered once the response
	// has left and the buffer is no longer needed.
	XmitResponse(c *Cmd)
	// Freed says that the target does not know the command any more: its
	// memory can be used for another one.
	Freed(c *Cmd)
	// AEN offers an asynchronous event. true: the front end has dealt with
	// it; false: it becomes a unit attention for the session.
	AEN(s *Session, ua UnitAttention) bool
	// SessionGone says that the device is being released under the session:
	// commands that the handler does not have yet, and new ones, end with
	// LOGICAL UNIT NOT SUPPORTED. The front end ends commands that wait for
	// their data (Cmd.DataFailed), and closes the session when it likes. It
	// may come before NewSession has returned.
	SessionGone(s *Session)
	// TMDone delivers the outcome of a task management function. Commands
	// that it aborted are over for the handler then; their XmitResponse may
	// come after it (fact 45).
	TMDone(m *MgmtCmd)
}
