// Package disk is the handler of a block device: it carries out the SBC-3
// commands of one logical unit over a handlers.Backing.
//
// # Who calls it
//
// handlers.Serve calls Exec and TryExec, from many goroutines at once, and Parse
// for a device that was registered with parse "call" or "excpt". The owner of
// the device calls Resize when the medium may have changed its size, and then
// announces the change.
//
// # How a command goes
//
// table.go lists the commands: what runs each one, what it needs of the unit, and
// whether it can run on a goroutine that must not wait. begin (exec.go) decodes
// the CDB and makes the checks that all commands share: known, supported by this
// Backing, no protection information or ACA asked for, unit started, not write
// protected. The command's own method then checks its range and fields, moves
// the bytes and fills in the outcome. One family of commands, one file.
//
// TryExec runs what never waits, and READ and WRITE as far as the Backing can do
// them without waiting (handlers.NonBlocker). When it returns false the
// command has changed nothing that running it again would not change in the
// same way.
//
// # What is promised
//
//   - A block address is compared with the capacity before it is multiplied or
//     added to, so no range wraps around.
//   - A transfer is complete or the command fails. The INFORMATION field of a
//     MEDIUM ERROR is the first block that was not transferred.
//   - Durability (invariant I6). A command is durable if it is a write with
//     FUA, a write with the write cache off (WCE=0), WRITE AND VERIFY, or
//     SYNCHRONIZE CACHE. It gets GOOD only after the Backing said that the bytes
//     are stable; an error of Sync fails the command it belongs to. With
//     NVCache the cache itself counts as stable, so FUA and SYNCHRONIZE CACHE
//     wait for nothing; WCE=0 still does.
//   - Turning WCE off is no race: a write looks at WCE again when its bytes are
//     in the cache. Either it sees 0 and syncs, or MODE SELECT's sync, which
//     comes after WCE was cleared, covers it.
//   - WRITE SAME writes its pattern to every block it names, also to just
//     one. Zeroes may be written in a faster way (Zeroer; Puncher if UNMAP is
//     set), never skipped.
//   - UNMAP checks every descriptor before it touches anything.
//
// Every limit is told to the initiator in the Block Limits VPD page and
// enforced.
//
// # A medium that fails
//
// A command that the medium fails gets its sense (media.go) and concerns nobody
// else. Options.Faults hears when such failures begin, go on and end, for reads,
// writes, space and lost writes each (faults.go).
//
// # Locks and memory
//
// The size and the mode bits are atomics, read once per command. Disk.mu guards
// their changes by MODE SELECT and START STOP UNIT, across the Sync that
// these may need; under it only faults.mu is taken, which guards what the medium
// fails to do (faults.go) and is held while the FaultObserver is called. READ and
// WRITE allocate nothing.
// Commands that move more than their buffer holds (WRITE SAME, VERIFY) take a
// chunk from a pool of numChunks and may wait for one.
package disk
