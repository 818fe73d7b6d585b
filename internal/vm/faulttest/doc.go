// Package faulttest holds the tests of a disk's faults as the real block layer
// reports them: in a guest of internal/vm the server serves a device-mapper
// device, and an image on an ext4 on one, whose table is exchanged for one that
// fails (error, flakey, delay). It has no code of its own; internal/faults has the
// same faults on a FUSE file system, in more modes, and needs no guest.
//
// They run with make test-vm, and are skipped otherwise.
package faulttest
