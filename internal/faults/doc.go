// Package faults holds the tests of what becomes of a disk's faults: the real
// fileio_tgt serves a file of internal/faultfs, the disk is told to fail, and the
// test compares what an NBD client is told, what the log says and what is stored.
// It has no code of its own.
//
// rows_test.go, slow_test.go and host_test.go are the table: each row a fault, what
// the client sees step by step, and the log's lines. table_test.go says how a row
// is run, rig_test.go what it is run on, medium_test.go on which disks. TestFaults runs every row in each of its modes and
// at each of its request sizes; TestDocument requires that docs/faults.md says the
// same (go test ./internal/faults -run Document -rewrite writes it).
//
// The tests take root, /dev/fuse, and for some of them loop devices and mkfs.ext4;
// what is not there is skipped and said on standard error.
package faults
