// Package volatiledisk is a disk with a volatile write cache, for tests of what
// survives a power cut. Killing a virtual machine alone loses only what the guest
// had not yet sent to its disk: what the emulator has written to a file of the
// host is in the host's page cache. Behind this disk, a flush that somebody left
// out is noticed.
//
//	Medium ── PowerOn ──► Disk ── Serve ──► NBD, on a unix socket
//	   ▲                   │
//	   └────── Cut ────────┘
//
// A [Medium] (medium.go) is the platters: it outlives the power. A [Disk]
// (disk.go) is the medium with the power on: a handlers.Backing that sees all
// writes, and knows which of them were not flushed. Cut (cut.go) switches it off:
// of what was not flushed, some sectors get to the medium and some don't, each of
// them whole, or larger parts if KeepWhole says so. Serve (serve.go) is for the emulator.
//
// After a cut the Disk answers nobody any more, as a disk without power does: its
// calls hang until Close. A new Disk goes on with what is on the medium.
//
// # Chunks
//
// A medium is a table of chunks, nil for zeroes. The disk's current state is a
// second table, which shares its chunks with the first until they are written to. A
// flush makes the two tables equal again; only chunks that were written since the
// last one are touched.
//
// # Locks
//
// Disk.mu guards all of a Disk and the table of its Medium, which has no lock of
// its own: it has one Disk at a time.
package volatiledisk
