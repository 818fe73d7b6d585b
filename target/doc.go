// Package target is the SCSI target mid-level: what "SCST core" is in the
// kernel. It owns devices, sessions (I_T_L nexuses) and commands, and moves
// each command through one pipeline:
//
//	Session.Submit ─ parse ─ alloc-buf ─ rdy-to-xfer ─ order ─ exec ─ done ─ xmit-response ─ on-free
//	                   │         │            │                  │                  │            │
//	               DevHandler DevHandler  Frontend          DevHandler          Frontend    DevHandler
//
// A Frontend brings commands in (NBD, a file, a test), a DevHandler stands
// behind the device (package ucmd, a test).
//
// # Continuation style
//
// There is no goroutine per command. Whoever makes a command able to move
// moves it, as far as it goes, on its own goroutine: the front end in Submit,
// DataReceived and Delivered; the handler in ParseDone, AllocDone and Done. A
// command belongs to whoever holds it: after a stage has returned Stop, or
// after Exec and XmitResponse were called, the pipeline does not touch it.
//
// # Activity
//
// A command is active from its submission until it is done, except while the
// initiator's data is being waited for (a slow client must not hold up the
// device). While activity is suspended (ATTACH and DETACH, SET_OPTIONS,
// FLUSH_CACHE) commands are held at their session's door, in order.
//
// # Locks
//
//	Device.suspending   held (as a one-place channel) during a suspension
//	Device.mu           the session list, the reservation, gone
//	Session.mu          the command list, held and blocked commands, counters, unit attentions
//
// in this order; no lock is held while a DevHandler or Frontend method runs.
//
// # Invariants
//
// I1: every submitted command gets XmitResponse exactly once, then (after
// Delivered) OnFree exactly once if its Parse was called, then Freed.
package target
