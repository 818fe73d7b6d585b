// Package nbdtest is an NBD client for tests, which works at the level of
// bytes: it can send what no real client sends and sees exactly what comes
// back. Tests of both halves of package nbd use it, and [Conformance] and
// [ConformanceShutdown] are the rules of nbd.md as checks that any NBD server
// can be put through.
//
// It knows package nbd no more than any client does. The protocol's numbers
// stand here a second time, typed from proto.md: a test that took them from
// the server would agree with its mistakes.
//
// A [Conn] belongs to one goroutine. What it did not expect ends the test, and
// each step has a deadline, so a server that hangs fails the test instead of
// holding it up.
package nbdtest
