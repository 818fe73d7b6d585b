// Package nbd is the front end that block clients talk to: a server for the
// Network Block Device protocol (proto.md of the nbd project; nbd.md lists
// the rules that naive servers break, by row number).
//
// A connection lives through two halves.
//
// # Negotiation
//
// [negotiate] greets the client and answers its options one at a time until
// one of them ends the haggling: GO or EXPORT_NAME picks an export and hands
// the connection on, ABORT or a breach of the protocol ends it. handshake.go
// has the greeting and the loop, option.go reads options and says which file
// answers which of them, and each option_*.go is one answer. Options that
// come with structured replies, TLS and extended headers are entries in that
// table already, answered as unsupported.
//
// Negotiation runs on the goroutine of its connection and starts no other. It
// reads each option exactly, so what a client pipelines behind GO is still in
// the socket when the transmission half begins. It keeps no state between
// options but its counters: an INFO says nothing about a later GO. All that a
// client can make grow is held by [Limits].
//
// Negotiation takes no lock. It asks the server about exports through
// exportTable and exportRef, whose methods are called from many connections
// at once.
//
// # Listening
//
// listen.go turns what a user types into a [ListenAddr] and that into a
// listener, and owns the unix socket file's life.
package nbd
