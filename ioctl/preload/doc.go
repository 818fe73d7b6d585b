// Package preload records what any handler program says to a scst_user node,
// the real module's included: it runs the program under a small C library that
// stands between it and libc (library/preload.c, built on demand with cc), and makes a
// trace of what that wrote.
//
//	Build    the library, in a cache directory, once per version of its source
//	Record   a program's run, from start to end
//	Import   the library's lines into a trace
//
// # What the library does
//
// It wraps open, openat, close, dup, dup2, dup3, fcntl, ioctl and poll, and
// knows a node by its file name, scst_user, or by an ioctl of the interface on
// a descriptor that it has not seen. Before and after each call it appends one
// line to the file that SCST_TRACE_FILE names, in one write, so that threads
// and processes never mix their lines and a program that is killed leaves whole
// ones. The lines are events of the trace format with bytes in place of decoded
// members; what an argument points to (replies, sense, descriptors, subcommands
// and the beginning of their data) is read through the kernel, so that a bad
// pointer of the program stays the program's own problem.
//
// Import numbers the events, decodes the bytes, finds out when the last
// descriptor of a file was closed, and ends what the program's death has ended.
//
// # Limits
//
// Programs that are linked statically, or make system calls themselves, are not
// seen: Record says so when nothing was recorded. Descriptors that travel in
// other ways (SCM_RIGHTS, close_range) are not followed. The bytes of an
// extended CDB are not recorded: their number is not in the ioctl.
//
// # Goroutines
//
// Record starts one, which passes signals to the program, and ends it before it
// returns.
package preload
