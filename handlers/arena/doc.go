// Package arena is memory for data buffers: outside the Go heap, page
// aligned, never moved, and named by a uint64 as the scst_user interface names
// buffers (pbuf in rules R38, R51 and R56).
//
// A handler allocates its buffers here, gives their addresses to the device in
// ALLOC_MEM and EXEC replies, and looks at their bytes with Bytes. The side
// that receives an address must not trust it: it uses Map, which finds the
// live allocation that holds the whole range or answers ErrFault, what the
// kernel module answers with EFAULT when it can't pin the pages.
//
// # Where the memory comes from
//
// Allocations of up to 4 MiB are rounded up to a power of two pages and carved
// from 4 MiB slabs, each slab serving one size class, so that ten thousand
// 4 KiB buffers are ten mappings and not ten thousand (the kernel allows a
// process 65530). Untouched pages cost no memory, which is why a slab may be
// generous. The lowest free slot is handed out first, which keeps the touched
// pages together. Larger allocations are mappings of their own.
//
// A slab whose last slot is freed is unmapped, except for one that is kept as
// a spare so that a lone client doing one command at a time doesn't map and
// unmap at every command. Large mappings are unmapped when they are freed.
//
// # Concurrency
//
// All methods may be called from many goroutines. There is one lock, Arena.mu;
// nothing else is locked while it is held and no caller's code runs under it.
// Memory is unmapped after the lock has been dropped (tearing down many pages
// takes long): by then no table names it and nobody can be given its address.
//
// # Invariants
//
//   - No two live allocations overlap, all are page aligned.
//   - An address that isn't the start of a live allocation can't be freed: an
//     unknown address and a second Free are errors, never a crash.
//   - Map never returns bytes outside one live allocation.
//   - When everything is freed, Stats is zero but for the spare.
//
// Bytes given out by Bytes or Map are valid until the allocation is freed.
// As with any unmapped memory, touching them later is a fault: whoever holds a
// slice must hold the allocation, which the command's lifecycle guarantees (a
// buffer is given back by ON_FREE_CMD or ON_CACHED_MEM_FREE and not earlier).
package arena
