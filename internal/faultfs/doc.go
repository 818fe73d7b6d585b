// Package faultfs is a disk that fails on demand: a FUSE file system with one
// file, Name, whose bytes are in a file that the caller gives. It is support for
// tests and is not linked into fileio_tgt.
//
// A test mounts it, lets a server in another process serve the file, and says
// with [FS.Inject] what is to go wrong: an errno for reads, writes, syncs or
// space operations, for all of the file or a range, so many times or until it is
// cleared; answers that are short; writes that are answered and lost; a disk
// that is slow, or hangs.
//
// # What the kernel adds
//
// Without Options.Cached every system call on the file arrives here, and its
// errno is the one that was injected. With it the kernel keeps the file's pages
// and writes them back when it likes, as it does for a disk's file system: an
// errno for Write then meets the kernel's writeback, and it is the kernel that
// decides who hears of it (each open file once, at its next sync) and that
// counts the lost pages as clean afterwards.
//
// As with most FUSE file systems a write that asks to be durable by itself
// (RWF_DSYNC, O_DSYNC) is a write like any other: only Sync is a sync. The kernel
// makes one of such a write if the file is Cached, and otherwise leaves it to the
// file system.
//
// # Who may use the file
//
// Other processes only. A process that waits in a system call on a mount that
// it serves itself may wait for ever, since its runtime may need the very thread
// that waits. [FS.Close] releases whatever hangs before it unmounts.
//
// # Locks
//
// FS.mu guards the faults and what they have done. It is not held while a
// request is carried out, is slow or hangs.
package faultfs
