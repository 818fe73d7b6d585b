// Package ucmd is the scst_user role: it stands behind a target.Device and
// hands its commands to a handler, which may be in this process or elsewhere.
// Every command is tracked by a Ucmd with a handle, a state and a reference
// count, from its parse until nobody needs it or the buffer it brought.
// scst_user.md is the specification; names here are the ones used there.
//
// A Registry holds devices by name. A Device is a target.DevHandler on one
// side and, on the other, what a handler drives: ReplyAndGet ("here are my
// replies, give me the next subcommands"), or, for a handler in this process,
// an inline function that the goroutine which made a command ready calls.
//
// # A ucmd's life
//
//	          ┌ PARSING ┐   ┌ BUF_ALLOCING ┐
//	NEW ──────┴─────────┴───┴──────────────┴── EXECING ──┬─ ON_FREE_SKIPPED ─┬─ (buffer cached: stays, ref 1)
//	                                                     └─ ON_FREEING ──────┘         │ evicted, flushed
//	ATTACH_SESS, DETACH_SESS, TM_RECEIVED, TM_DONE (their own ucmds)             ON_CACHE_FREEING ── gone
//
// Who holds references, and when they go, is in ref.go.
//
// # Locks
//
// Device.mu is the module's command lock: hash, ready list, flags, states and
// reference counts. Nothing foreign is called with it held: not the target,
// not the pools, not the handler; only the Observer, which must not call
// back. A pool's lock is inside sgv and never held while this package runs.
// Registry.mu guards the tables of names and is not held together with others.
//
// # Who runs what
//
// The package starts no goroutine while a device lives. Release starts one
// (the cleanup worker) per device; it ends with the release, always: see
// release.go.
package ucmd
