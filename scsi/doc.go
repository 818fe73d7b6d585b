// Package scsi is the vocabulary of the block commands: operation codes, CDBs,
// statuses, sense data, and the parameter data that commands carry. It is used
// by everything that speaks SCSI here: the target, the scst_user role, the
// handlers and the front ends that act as initiators. It imports nothing of
// this module.
//
// # CDBs
//
// One table (table.go) says what each CDB looks like: its name, where each
// field is, which way data moves, what its length counts. Everything else reads
// that table:
//
//   - Decode turns a CDB into a Command,
//   - Command.Encode and the Encode functions (encode.go) turn a Command into a CDB,
//   - ParseSBC tells the target what a CDB transfers (the "standard parser"),
//   - AppendCDBUsage tells an initiator which bits are looked at.
//
// Decode tells what the CDB says and judges nothing but its length and its
// operation code: whether a device can do what a field asks for is its
// handler's decision. ParseSBC judges the length of the transfer.
//
// # Sense
//
// Sense is a small comparable value that can be compared with the predefined
// ones. It is encoded in the fixed or the descriptor format only when it leaves,
// and ParseSense reads both.
//
// # Parameter data
//
// Each kind has a struct, an Append function that appends its wire form, and,
// where an initiator needs it, a Parse function. Append functions append the
// whole thing; cutting it to the allocation length is up to the caller. Parse
// functions take any bytes and return an error rather than panic.
//
// # Conventions
//
// All integers on the wire are big-endian. Nothing here keeps state or locks
// anything; everything may be used from many goroutines. Decode, Encode,
// ParseSBC and the Append functions (given enough capacity) don't allocate.
//
// The standards are SAM-5, SPC-4 and SBC-3. Where the target's parse follows
// SCST rather than a standard, the fact numbers of the recordings are given.
package scsi
