// Package nodehost runs a host with a mounted scst_user node in a process of its
// own, for tests of what registers there. A host must not open files of its own
// mount, so it can't be in the process of the test. It is support for tests and
// is not linked into fileio_tgt.
//
// The process is the test's own binary: TestMain calls Main first, which does
// nothing unless Start has started the process to be a host. A host exports what
// registers over NBD on a unix socket, and goes when its Host is closed or the
// test process dies. Its initiator (package initiator) does what the test says
// with Host.Say, for what NBD can't say: lines on stdin, answers on stdout.
package nodehost
