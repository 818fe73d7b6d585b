// Package node is the scst_user interface as its callers meet it, without the
// file system that carries it: a Host is the module, a File one open file
// description of the node, and File.Ioctl one ioctl on it, with rules R1 to R73
// of scst_user.md. Package fusenode puts it on a mount; tests drive it directly.
//
// # Who calls what
//
// The carrier opens a File per open(2), calls Ioctl for each ioctl with the
// bytes that the number covers (F1), and Close when the last descriptor is
// gone (R14, R70). Calls of one File may run at once. What an ioctl's pointers
// lead to is reached through Call.Mem, and only while that call runs (F2).
//
//	Ioctl ── register.go   REGISTER_DEVICE
//	      ├─ manage.go     options, flush, capacity, extended CDB, prealloc
//	      └─ get.go        REPLY_AND_GET_CMD, _MULTI, REPLY_CMD
//	            reply.go     bytes to ucmd.Reply, and READ data out of pbuf
//	            deliver.go   ucmd.Subcommand to bytes, and WRITE data into pbuf
//
// # Memory
//
// The module pins a handler's pages; here each buffer has a copy in this
// process (space.go, store.go). ucmd.Memory.Map is called deep inside a reply,
// where the caller's memory can't be asked any more: so the host memory for
// every buffer that a batch of replies brings is made ready first, after
// finding out that the caller's pages are there and writable, and Map takes it
// from there. All pieces of a batch travel in one system call each way.
//
// A READ's data is copied before its reply is given, a WRITE's payload when its
// EXEC is fetched and in front of it (F7). A WRITE whose buffer has gone away is
// ended with an error and never delivered. Copies belong to the File's own
// space: what a lying handler can spoil by them is its own device.
//
// # Interrupts
//
// A call whose ctx ends while it waits is answered: the caller was killed or
// got a signal. Its replies are consumed, and taken out of the argument, so
// that a restart does not give them again (F4, restart.go).
//
// # Goroutines and locks
//
// One goroutine per device attends to it from REGISTER to the end of its
// release (attend.go), and a SET_OPTIONS or FLUSH_CACHE has one, so that a
// killed caller need not wait. Locks, none held while another is taken or
// anything waits: Host.mu (devices by name, spaces), File.mu (what the file is
// registered for), space.mu (memory made ready), store.mu (free memory).
//
// # Invariants
//
//   - A device lives exactly as long as its File is open (R14), then it is
//     released, and its name is free when that is over and its watcher is done.
//   - Nothing that a handler says makes this package read or write outside the
//     given caller's memory or its own space (I7); memory per call is bounded
//     by Options.
//   - Memory of a space is given back to the system after its last device's
//     release and its last call.
package node
