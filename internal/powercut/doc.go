// Package powercut finds out whether a block device keeps what it has promised
// when the power goes (I6). It is test support: a client that writes over NBD
// and notes what was acknowledged, and a checker that compares the image after
// the cut with the notes.
//
//	Run ── Submit, Acknowledge ──► Journal ◄── Check ── the image afterwards
//	 │                                │
//	 └── NBD, several connections     └── Report: each loss, and who promised what
//
// # The unit
//
// All is judged by the sector of 512 bytes, because that is what a disk writes
// whole or not at all. Each sector that is written carries a stamp (sector.go):
// whose it is, where it belongs, its generation and a checksum. A generation is
// a number that a [Journal] gives to one request and never again, so what is
// found in a sector names the request that wrote it.
//
// # What may be found
//
// A sector has a history: what it held at the start, and the requests that
// changed it. The order in which two requests took effect is known only if one
// was acknowledged before the other was sent; the journal's clock, which is read
// before a request is sent and after its reply has come, says that safely. A
// request is durable when its FUA reply has come, or the reply to a FLUSH that
// was sent after its own reply, or any reply where the disk writes through.
//
// After a cut the sector may hold what any request of its history wrote, unless
// a durable request was sent after that one had been acknowledged. So there is
// one number for each sector, the latest time at which a durable request to it
// was sent (its floor), and what was acknowledged before is not legal any more.
// Nothing else is, not another sector's data, and not half a sector, unless the
// server's host is known to send pages to the disk that are being overwritten
// ([Rules].Tears). Then a sector may consist of parts, each of which would be
// legal if it were whole (torn.go).
//
// WRITE_ZEROES is a write of zeroes. TRIM is too if the disk promises so
// ([Rules].TrimZeroes); else it may have done it or not, and never makes what was
// there before illegal.
//
// # Who uses it
//
// The tests here run it against a disk of this process (inprocess_test.go), and
// against a server in a virtual machine that is killed (vm_test.go), both on top
// of package volatiledisk, a disk that forgets at a cut what was not flushed.
//
// # Locks
//
// Journal.mu guards all of a Journal and what its operations know of their
// fate. No other lock is taken under it. Each connection of a [Run] belongs to
// one goroutine, which shares only the journal with the others.
package powercut
