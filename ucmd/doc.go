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
// Who holds references, and when they go, is in ref.go. The steps of a life
// are in the file of their subcommand: parse.go, alloc.go, exec.go, onfree.go,
// background.go, session.go, taskmgmt.go, remap.go; ready.go and get.go queue
// and fetch, reply.go takes the answers, unjam.go does without them.
//
// # Locks
//
// Device.mu is the module's command lock: hash, ready list, flags, states and
// reference counts. Nothing foreign that could wait, take a lock or call back
// is called with it held: not the target (but for looking whether a command is
// aborted), not the pools, not the handler or its Memory; only the Observer.
// Two devices' locks are never held together. A method that is called with mu
// held and lets go of it meanwhile says so; the caller's ucmd may be gone then
// unless the caller has a reference.
//
// What is not under mu belongs to the mover: whoever moves the command on. A
// ucmd that is ready or sent is moved by whoever takes it from there, which is
// decided under mu, once: next clears the sent mark of what it takes off the
// list, reply clears it before it goes on. That is why a command can't end
// twice (I1), whatever replies come.
//
// A pool's lock is inside sgv and never held while this package runs.
// Registry.mu guards the tables of names; nothing is called with it held.
//
// # What is counted
//
// Device.Counters (counters.go) has what happened to ucmds and replies, under
// mu like everything that it counts; sgv.Stats what the pools did, and
// target.Counters what the commands came to.
//
// # Who runs what
//
// The package starts no goroutine while a device lives, but for the one that
// takes sessions over from a dead handler, and the supervisor of a device that
// has a time for its handler (supervise.go), which ends when the release
// begins. Release starts one per device, and that one the cleanup worker; both
// end with the release, always: see release.go. HandlerGone starts the same,
// and the wait for a successor is the first one's: see grace.go. What still is
// on its way then, with a front end that could not be waited for, is given up
// by the goroutine that brings it (or, where that one hangs, by the release:
// abandon.go).
//
// A Reporter hears of releases that don't get on and of handlers that don't
// answer (report.go). What is done about the latter, if anything, is to reset
// the unit, or to cut the handler off (sever.go).
//
// # A handler that dies
//
// Without Limits.HandlerGrace that is a release. With it only the Device dies,
// as completely as ever; the target.Device behind it, the sessions and their
// commands wait for a Device of the same name. grace.go says who owns what
// meanwhile, successor.go is the registry's part.
//
// # What a handler can do to others
//
// Nothing (I7). Every length, address and handle in a reply is checked before
// it is used; a reply that makes no sense ends its own command with an error.
// Buffers are reached through Memory only, and a pool is shared by devices of
// one handler only.
package ucmd
