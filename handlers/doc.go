// Package handlers is how a handler is written: it turns the subcommands of a
// port into calls of a Handler's methods, and a Handler's outcomes into replies.
//
//	port ── Serve ── Handler (handlers/disk, yours) ── Backing (handlers/fileio, handlers/nullio, yours)
//
// A Port is anything that takes replies and gives subcommands: a *ucmd.Device
// in this process, or a scst_user node. The same Handler serves all.
//
// Serve looks after the data buffers: it answers ALLOC_MEM, ON_FREE_CMD and
// ON_CACHED_MEM_FREE itself, from an arena.Arena, and gives Exec its buffer.
//
// # Goroutines
//
// Serve runs Options.Threads getters. On a port that can run a handler inline
// (InlinePort) a command is first tried, with Trier, on the goroutine that
// made it ready; what might wait is handed to at most Threads workers. Exec
// may take as long as it wants there: it holds up nobody but its command.
package handlers
