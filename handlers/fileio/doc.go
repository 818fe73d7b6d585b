// Package fileio is the Backing of an image file or a block device.
//
// Open checks what it is given and says in one line what is wrong and what to
// do (OpenError). It creates and changes nothing. The File it returns is a
// handlers.Backing with every optional interface; the disk handler is its only
// caller in production.
//
// # Which path a request takes
//
//   - TryReadAt and TryWriteAt (try.go) run on a connection's goroutine: they
//     move bytes between the buffer and the page cache and give up with
//     ErrWouldBlock rather than wait for a device.
//   - ReadAt and WriteAt (rw.go) run on a worker and finish what they began:
//     interrupted and short system calls are continued, and what can't be
//     finished is an error with the number of bytes that were.
//   - WriteAtDurable is a write with RWF_DSYNC, or a write and a Sync where that
//     means nothing (foreign.go); with Options.WriteThrough every write is one.
//   - Sync (commit.go) is fdatasync, shared by all who wait for one.
//   - With Options.Direct everything goes around the page cache (direct.go),
//     through an aligned bounce buffer and with read-modify-write where the
//     request is not aligned as the device wants it.
//   - Punch, Zero, NextExtent and Prefetch (space.go) are about the space
//     behind the bytes.
//
// # Durability
//
// Invariant I6 (no acknowledged durable write is lost) rests on three things.
// Sync covers every write answered before it was called, because it waits for
// an fdatasync that started after the call. An error of fdatasync is never
// forgotten: see File.Sync. And Sync has an open file description of its own:
// the kernel reports each write-back error once to each of them, so a
// RWF_DSYNC write on the other one can't take away the error that the next
// Sync has to report.
//
// fdatasync on a file also flushes the volatile cache of the device below; on
// a block device it is the same call. That holds with Direct as well, where no
// page is dirty but the device's cache is not empty.
//
// # Locks
//
// The data path of a buffered File takes no lock. commit.mu guards the group
// commit and is not held across fdatasync. rangeLock.mu guards the list of
// ranges that direct writes hold; a range is held across the write. A
// goroutine holds at most one range, and never takes it under commit.mu.
//
// # Changes behind our back
//
// A file that somebody else truncates reads as an error (never as zeroes)
// beyond its new end, until Refresh takes note of the new size. A write there
// makes the file grow again up to Size, as any write does: only a check under
// the file system's own lock could prevent that.
package fileio
