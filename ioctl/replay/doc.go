// Package replay plays a recording of the scst_user interface against a fresh
// host and checks that the host answers as the recorded one did.
//
// A recording has both sides in it: what the handler said (the entries of
// calls) and what the host said (their returns). Replay says the handler's
// part again, word for word, and makes an initiator do what the host's part
// implies: sessions for ATTACH_SESS and DETACH_SESS, commands with the CDB,
// task attribute and expected length of their PARSE, ALLOC_MEM and EXEC, task
// management functions. What the host then says has to be what is recorded, up
// to the names of handles and sessions. Buffers keep their addresses: they are
// the handler's, whose memory is simulated.
//
// # Files
//
//	plan.go      reads the recording once: calls with their returns, what each
//	             handle is, what the initiator has to do and when
//	obstacle.go  recordings that can't be replayed, and why
//	run.go       goes through the events; ioctls.go does each call
//	fetch.go     gets a subcommand from the host and finds what it answers
//	initiator.go the front end: sessions, commands, task management
//	hint.go      when commands began, if the latest moment is too late;
//	pool.go      what the buffer that they found says about that
//	manage.go    sessions come and go in front of what waits
//	attribute.go with which task attribute commands came
//	attention.go initiators that are told of conditions as events
//	handler.go   the handler's calls, as bytes; memory.go its memory
//	writesame.go the host's own WRITEs, which come in another order here
//	compare.go   recorded and replayed subcommands, field by field
//	listing.go   the listings of commands that are marks in a recording
//	expected.go  where this host does better than the module, on purpose
//	result.go    what came out
//
// # Order
//
// One goroutine goes through the events in their order. Replies are given when
// their call was entered; subcommands are fetched one by one when their call
// returned. An initiator's command is submitted as late as possible, when the
// first subcommand of it is about to be fetched, and in the order of handles:
// then nothing is ready that the recorded host did not have ready as well.
// Calls that overlap in a recording (several threads) have no order among
// themselves: a subcommand that another call got, which had been entered and
// had not returned at that event, may come first. That is the only freedom.
//
// So the same recording gives the same result, however fast the machine is.
// What the host does by itself after a while, as purging a pool, is waited for.
//
// # Goroutines and locks
//
// Run starts goroutines for calls of package target and ucmd that wait
// (NewSession, Close, SetOptions, FlushCache) and has ended them when it
// returns, unless the host hangs, which is a Difference then. initiator.mu
// guards what the host's goroutines touch: the outcome of commands. Nothing is
// called with it held.
package replay
