package target

// Verdict is what a stage of a DevHandler or Frontend says to the pipeline.
type Verdict uint8

const (
	// Continue: the stage is done (or has failed the command); go on.
	Continue Verdict = iota
	// Stop: the stage has kept the command and will resume it with the
	// method that the stage's comment names.
	Stop
)

// DevHandler is what stands behind a Device: the role that SCST's "dev
// handler" has. The pipeline calls it in this order for each command: Parse,
// AllocBuf, Exec, OnFree. Calls for different commands come from many
// goroutines at once; no lock of this package is held during any of them.
type DevHandler interface {
	// Parse fills in what the command transfers. Stop: Cmd.ParseDone later.
	Parse(c *Cmd) Verdict
	// AllocBuf sets Cmd.Buf to the data buffer. A read may go on without
	// one and set it before Done. Stop: Cmd.AllocDone later, which calls
	// AllocBuf again.
	AllocBuf(c *Cmd) Verdict
	// Exec carries the command out, and calls Cmd.Done when it is over,
	// possibly before Exec returns.
	Exec(c *Cmd)
	// OnFree is told that nobody needs the command and its buffer any more.
	// It must forget c before it returns. It is called for each command for
	// which Parse was called, and only for those.
	OnFree(c *Cmd)

	// TaskMgmtReceived announces a task management function, before its
	// commands are waited for. Nothing waits for its outcome (fact 49).
	TaskMgmtReceived(m *MgmtCmd)
	// TaskMgmtDone tells that all affected commands are finished. The
	// handler calls MgmtCmd.Done with the outcome, possibly before returning.
	TaskMgmtDone(m *MgmtCmd)

	// Attach asks whether a session may use the device. Nothing executes on
	// the device while it runs. An error refuses the session.
	Attach(s *Session) error
	// Detach tells that the session is gone; all its commands are finished,
	// and nothing executes on the device until answered is called, once,
	// possibly before Detach returns. Detach itself does not wait.
	Detach(s *Session, answered func())
}

// Frontend is what brings commands in: the role of SCST's "target driver".
// Its methods are called on whatever goroutine moved the command, often from
// within Session.Submit; they must not wait.
type Frontend interface {
	// RdyToXfer says that Cmd.Buf can take the initiator's data. Continue:
	// the data is there. Stop: Cmd.DataReceived later.
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
	// new commands will fail with LOGICAL UNIT NOT SUPPORTED.
	SessionGone(s *Session)
	// TMDone delivers the outcome of a task management function.
	TMDone(m *MgmtCmd)
}
