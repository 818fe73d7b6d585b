// Package sgv keeps the data buffers that a handler has given, so that the
// next command of a similar size needs no upcall: the role of SCST's SGV cache
// for user-space devices (scst_user.md 2.8). Package ucmd is its only caller.
//
// # An object's way
//
//	Get ──┬─ hit: with memory ────────────┐
//	      └─ miss: empty ── Fill ─────────┴── in use ── Put ──┬── idle ── Get, a hit
//	                └─ Put: nobody ever knew it               └── destroyed
//
// A Pool hands out Objects. Objects of a size class (powers of two pages, or
// the one class of a single-size pool) have memory when an idle one was there,
// else they are empty: the caller gets memory from its handler and Fills the
// object. Put makes it idle again. Objects above the largest class, and those
// asked for uncached, are built for one use.
//
// An idle object is in two orders at once. In its class the one used last is
// on top and is handed out first, because its pages are in the CPU's cache
// (fact 33). Over all classes they are in a list by age, from whose old end
// the limits evict and the timer purges.
//
// # Owners
//
// The memory in an object has an Owner, who is told twice: SGVMapped when the
// memory enters an object, SGVDestroyed when that object is destroyed, which
// is when it is put back and not kept, evicted by a limit, purged or flushed.
// Each is told exactly once for each Fill that succeeded, on the goroutine of
// whoever did it (the timer's, for a purge).
//
// # Locks
//
// Pool.mu guards everything in the pool and in its objects, except the Data and
// Owner of an object that is in use, which belong to its user. It is never held
// while an Owner is called, so an Owner may take its own locks, and call the
// pool. What is to be destroyed is taken out under the lock first, all of it, and
// the owners are told afterwards: Stats.Leaving counts those not yet told.
//
// # Invariants
//
//   - An object is with one user at most.
//   - Stats: Filled - Destroyed objects have memory, TotalPages is the sum of
//     their pages, IdleObjects and IdlePages what the classes have idle.
//   - TotalPages never exceeds MaxPages, IdlePages never MaxIdlePages.
//   - Every call is bounded, whatever others do meanwhile: Flush destroys what
//     was idle when it came to a class and not what came later.
//
// Nothing is allocated in steady state: objects that are not needed are kept for
// the next Get.
package sgv
