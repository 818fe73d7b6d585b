// Package proc runs NBD servers as real processes, for the tests in
// internal/interop and for the benchmark in internal/nbdbench. It is support
// for them and is not linked into fileio_tgt.
//
// The story of one server: a Program (FileioTgt, or the peers Nbdkit and
// QemuNbd) turns a Config into a command line; Start runs it, waits until
// every endpoint greets as an NBD server, and hands out a Server. The caller
// connects clients to Server.URI, reads what the process costs with
// Server.Usage, and ends it with Server.Stop, which sends SIGTERM and returns
// an error unless the process drained and left with status 0. A Builder makes
// the fileio_tgt binary, once for each way of building it.
//
// A server never outlives the process that started it: the kernel kills it
// when that process dies, so that an aborted test run leaves nothing behind.
//
// # Locks
//
// Builder.mu guards the set of builds and is held while one of them runs.
// tail.mu guards the captured output. Neither is taken while the other is held.
//
// # Invariants
//
// A Server has one goroutine that waits for the process. Everything it learns
// is written before Server.Done is closed and never afterwards. Stop and Kill
// may be called from any goroutine, any number of times.
package proc
