// Package kerneltest holds the tests of what a real Linux kernel makes of us, in
// a guest of internal/vm: the kernel's NBD client, with the server on this host
// and in the same guest, and the file that a handler's device is over FUSE. It
// has no code of its own.
//
// One guest is booted for all of it, since booting takes longer than most steps.
// The steps are subtests of TestKernel, in files named after what they are about;
// each leaves no device attached and nothing mounted. docs/testing.md lists them
// with their times.
//
// They run with make test-vm, and are skipped otherwise.
package kerneltest
