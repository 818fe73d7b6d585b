// Package handlers is how a handler is written: it turns the subcommands of a
// port into calls of a Handler's methods, and a Handler's outcomes into replies.
//
//	port ── Serve ── Handler (handlers/disk, yours) ── Backing (handlers/fileio, handlers/nullio, yours)
//
// A Port is anything that takes replies and gives subcommands: a *ucmd.Device
// in this process, or a scst_user node. The same Handler serves all. Whoever
// registered the device calls Serve; examples/go-handler shows a whole program.
//
// # What Serve does itself
//
// It looks after the data buffers: it answers ALLOC_MEM, ON_FREE_CMD and
// ON_CACHED_MEM_FREE from an arena.Arena, and gives Exec its buffer. A buffer
// is allocated when a subcommand asks for one, goes to the port with the reply,
// and is freed once: when the port says that it is not needed any more, or at
// once if the port never got it (an answer without data, a refused reply). For
// buffers that are not reused it is ON_FREE_CMD that says so: a device with
// on_free "ignore" must reuse all memory.
//
// Every subcommand that was fetched gets one reply (rule R26), and a refused
// one does not hold up the others (rule R28). An outcome that no reply can
// carry, such as an answer longer than the command's buffer, becomes a failure
// of its own command.
//
// # Goroutines
//
// A Handler that can't tell what would wait is called by Options.Threads
// getters, which fetch, carry out and reply, one command after the other.
//
// A Trier is first asked, with TryExec, to carry a command out without waiting.
// What might wait is handed to a worker, of which there are at most
// Options.Threads, so that it holds up nobody but its own command. The rest
// runs at once on the goroutine that fetched it; on a port that can (InlinePort)
// that is the one that made the command ready, a connection's say, and no
// goroutine is switched to at all.
//
// When maxHandedOff commands wait for a worker the next one is carried out by
// the goroutine that brings it: the handler is far behind, and so must be those
// who bring commands. As it answers, the neighbours' commands that are ready
// may run on the same goroutine too.
//
// # The end
//
// Serve ends when its context does, or when the device is released: nothing more
// is fetched, every call of the Handler is waited for and its reply given. Then
// the owner releases the device, which answers what was not fetched (rule R70);
// what a connection brings at that moment is BUSY. In this order no buffer
// is taken away from a call that uses it. To have every buffer back before the
// release, flush the device (ucmd.Device.FlushCache) and wait until the arena
// is empty.
//
// A panic in a Handler is not caught: nobody here can tell what it left half
// done, and answering GOOD or an error for it would be a guess. It ends the
// process, as anywhere else.
//
// # Locks
//
// There are none but server.gate, which every inline call holds for reading, so
// that Serve can wait for them. It is held while the Handler's TryExec runs, and
// while the port is called for one thing: to give it a buffer that is new. What a Handler guards with locks is its own
// affair; it may not call the port from within its methods.
package handlers
