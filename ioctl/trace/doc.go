// Package trace is the file format of recordings of the scst_user interface:
// what crosses it, decoded, with threads and times, one JSON object a line.
// docs/traces.md describes the format to people and to other programs.
//
// A recorder makes a Writer and gives it Events; anything that reads a
// recording (show, compare, replay) gets them back from a Reader, one by one,
// with bounded memory whatever the file's size. Both sides work on streams and
// compress by the file's name, or find out by its first bytes. Convert imports
// the older format of recordings that were made on the kernel module.
//
// What people do with files is here too: Printer (show.go) makes a line of an
// event, Stats (stat.go) counts, Diff (diff.go) finds the first event in which
// two traces differ, after both were renamed by canon.go: handles, sessions,
// buffers and threads get the numbers of their first appearance. OpenAny and
// Load (import.go) read the older format too.
//
// ArgIn, ArgOut, NewReply and NewCmd make an event's parts of the bytes that
// cross the interface, by package abi.
//
// Port records a device whose handler is in this process, as the ioctls that
// it would make.
//
// # Locks and goroutines
//
// Writer.mu guards everything in a Writer: threads write their events as they
// come, and the file's order is the order of sequence numbers. Nothing is
// called with it held but the writer below. A Reader has one user.
//
// A Recorder is a Writer for the data path, with a bounded queue and the only
// goroutine of the package, which Close ends. Recorder.mu is held while an
// event waits for room in the queue; the goroutine does not take it. Port.mu
// guards a Port's numbers of threads; nothing is called with it held.
//
// # What a bad file can do
//
// Nothing but be refused (I7): lines are bounded, unknown versions are refused,
// and an error names its line. A file that ends in the middle of a line, as one
// does whose recorder was killed, is read up to there and says so (Truncated).
package trace
