// Package client is the handler's side of an scst_user node: it registers a
// device there and is its handlers.Port. The node may be the kernel module's
// /dev/scst_user or the host's of this project; the handler is the same that
// runs in process.
//
//	handlers.Serve ── Device.ReplyAndGet ── ioctl ── node
//
// # A device's life
//
// Open opens the node and registers (one open, one device: rule R14). Whoever
// called it then runs handlers.Serve, which calls ReplyAndGet from as many
// goroutines as Options.Threads says, and at the end Close. Several devices are
// several Opens. Buffers come from an arena.Arena: memory outside the Go heap
// that never moves and that a forked child does not get (rule R54), so that its
// address is the pbuf of the interface.
//
// # One call, one ioctl
//
// ReplyAndGet gives all its replies and fetches with one ioctl:
// REPLY_AND_GET_MULTI, or REPLY_AND_GET_CMD where one subcommand is asked for
// and there is at most one reply, or REPLY_CMD for one reply alone; these two
// carry their structures in the ioctl's argument, which a FUSE host has at hand.
// What an ioctl reads and writes is a frame, memory outside the Go heap as well:
// nothing of it is allocated, moved or pinned for a command.
//
// # Waiting, and being woken
//
// A goroutine that waits for subcommands waits inside its ioctl, on a thread of
// its own. Signals are blocked on that thread meanwhile: Go's runtime handles
// them with SA_RESTART, and a restarted ioctl gives its replies a second time
// (rule R24), which ends a command that is not concerned and frees its buffer
// too early. SIGSTOP can't be blocked: on the kernel module don't stop a handler
// that has commands in flight.
//
// So no signal can end the wait either. When a context ends, or at Close, the
// device is made non-blocking with UNREGISTER_DEVICE (rule R15), which wakes
// everybody, for good. Who still waits after that, and everybody on a device that
// was registered non-blocking, waits by poll and EAGAIN: one goroutine for all,
// so that an idle device costs next to nothing even where poll always says
// "ready" (F5).
//
// # What is retried and what is not
//
// EINTR and EAGAIN are no verdicts on a reply: what was not taken is given again
// (fact 15). Any other error refuses one reply, replies[done], which must not be
// given again (rule R28, facts 13 and 27); handlers.Serve goes on behind it.
// ErrGone says that the node is no more: its host ended, or the device was
// closed.
//
// # Locks
//
// Device.mu guards who is inside an ioctl, the idle frames and the watched
// contexts; it is never held during a system call, but for the memory of a new
// frame. Device.poll is a token: its
// holder is the one that polls; it takes mu, not the other way round.
//
// # Invariants
//
//   - The file descriptor and the frames live until the last ioctl has returned,
//     however Close was called: no ioctl reaches a stranger's file or memory.
//   - A reply is given once, unless the node said that it did not look at it.
//   - A subcommand that was fetched is returned, or answered here if nobody knows
//     it: none is lost (rule R26).
package client
