// Package target is the SCSI target mid-level: what "SCST core" is in the
// kernel. It owns devices, sessions (I_T_L nexuses) and commands, and moves
// each command through one pipeline:
//
//	Session.Submit ─ parse ─ alloc-buf ─ rdy-to-xfer ─ order ─ exec ─ done ─ xmit-response ─ on-free
//	                   │         │            │                  │                  │            │
//	               DevHandler DevHandler  Frontend          DevHandler          Frontend    DevHandler
//
// A Frontend brings commands in (NBD, a file, a test), a DevHandler stands
// behind the device (package ucmd, a test). Their methods are in contract.go;
// the pipeline itself is in pipeline.go and nothing else assigns its states.
//
// # Continuation style
//
// There is no goroutine per command. Whoever makes a command able to move
// moves it, as far as it goes, on its own goroutine: the front end in Submit,
// DataReceived and Delivered; the handler in ParseDone, AllocDone and Done. A
// command belongs to whoever holds it: after a stage has returned Stop, or
// after Exec and XmitResponse were called, the pipeline does not touch it.
//
// # Task management
//
// A front end starts functions with Session.TaskMgmt. The target itself resets
// a unit whose handler does not get on, when it is asked to: Session.ResetUnit.
//
// # Activity
//
// A command is active from its submission until it is done, except while it
// waits for the initiator's data or for its turn (a slow client must not hold
// up the device). While activity is suspended (ATTACH and DETACH, SET_OPTIONS,
// FLUSH_CACHE) nothing is active: commands are held at their session's door,
// in order, whether they are new or have just got their data or their turn.
//
// # The end of a session
//
// A session is used by its commands (until Frontend.Freed has returned), its
// task management functions (until Frontend.TMDone has) and by events on their
// way. Once Close or Unregister was called and nobody uses it, it is detached;
// after that neither the handler nor the front end hears of it again.
//
// # The end of a handler
//
// A device can outlive its handler. HandlerGone shuts the doors of all
// sessions, more lastingly than a suspension does: commands come back to them
// (Cmd.Retry), as they were when they were submitted, and with the data that
// the initiator has sent. Adopt attaches the sessions to another handler, in a
// suspension, and opens the doors: every session's commands go on in the order
// in which it submitted them. Each command belongs to the handler that parsed
// it, until OnFree; each session to the one that it was attached to last.
//
// # Locks
//
//	Device.suspending   held (as a one-place channel) during a suspension
//	Device.mu           the session list, the handler, hold, gone
//	Session.mu          the task set, held and blocked commands, the door, unit attentions, the tally
//
// in this order; no lock is held while a DevHandler or Frontend method runs,
// except that Attach, Detach and what a resumption runs come during a
// suspension. The reservation is one atomic pointer and needs none.
//
// # Counters
//
// Each session counts what it has done (count.go) under the lock that the end
// of a command takes anyhow; Device.Counters adds sessions up, those that have
// ended included. Latencies are those of a random sample: the clock is dear.
//
// # Invariants
//
// I1: every submitted command gets XmitResponse exactly once, then (after
// Delivered) OnFree exactly once if its Parse was called, then Freed. One that
// is given back gets OnFree then, and is one that was never parsed.
package target
