// Package sgv keeps the data buffers that a handler has given, so that the
// next command of a similar size needs no upcall: the role of SCST's SGV cache
// for user-space devices (scst_user.md 2.8).
//
// A Pool hands out Objects. An object of a size class (powers of two pages, or
// the one class of a single-size pool) comes with memory when an idle one is
// there (a hit), else empty: the caller gets memory from its handler and Fills
// the object. Put makes it idle again: the most recently used of a class is
// handed out first, and all idle objects are in one list by age, for purging.
// Objects above the largest class, and those asked for uncached, are built for
// one use.
//
// Memory has an Owner, told once when its memory enters an object and once
// when that object is destroyed: evicted, purged, flushed, or put back uncached.
//
// # Locks
//
// Pool.mu guards everything in the pool. It is never held while an Owner is
// called, so an Owner may take its own locks, and call the pool.
package sgv
