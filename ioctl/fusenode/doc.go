// Package fusenode puts a node.Host on a FUSE mount: the scst_user node that
// handler programs open, and around it a tree that shows what there is, with
// the names of SCST's own sysfs tree where that has them.
//
//	scst_user                 the node: ioctls only (scstuser.go, caller.go)
//	devices/NAME/             a registered device (device.go)
//	    commands              the ucmds, in the module's format (R73)
//	    type block_size size  what the disk is
//	    stats                 counters for people
//	    sessions/N            each initiator
//	    lun                   the device as a regular file (lun.go)
//	handlers/NAME/type        as SCST: each device is a handler of its own
//	sgv/POOL/stats            the buffer pools
//	version                   the SCST release that the interface follows
//	trace_level               the log level; writable
//
// # Who calls what
//
// The kernel, through go-fuse, one goroutine per request. Mount begins it and
// Close ends it; mount.go has both, stale.go what a crashed process left behind.
// This process never opens a file of its own mount (F8).
//
// # ioctls
//
// A FUSE file gets the restricted ioctl (F1): the kernel copies the bytes that
// the number covers, everything else is read and written with process_vm_readv
// and _writev by the caller's thread id, inside that very ioctl (F2).
//
// # lun
//
// Reads and writes of lun become SCSI commands of an initiator called "fuse",
// which is attached while the file is open, and a second longer (initiator.go). I/O that does not
// begin and end at blocks is widened to them; writes of that kind read first,
// alone. Files are opened with FOPEN_DIRECT_IO, so the kernel caches nothing and
// NBD clients and lun see the same bytes; mmap with MAP_SHARED is refused for
// that reason. losetup and mount -o loop work: the loop driver reads and writes
// through the same path, and keeps its own cache above it.
//
// # Locks
//
// tree.mu (numbers of devices, initiators), initiator.edges (a write that is
// widened excludes all others), initiator.mu (who uses it). They are taken in
// this order; tree.mu and initiator.mu are not held while a command is waited
// for.
//
// # Limits
//
// A call on the node that reaches into the caller's memory waits as long as the
// kernel does for its pages. A handler can make that long (memory of a FUSE
// file, userfaultfd); it then holds one thread of this process and its own
// device, nobody else.
package fusenode
