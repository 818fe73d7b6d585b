// Package status lets people and programs look into a running process: which
// devices it has, who uses them, what commands did, and where they are.
//
// A Snapshot is everything at a moment, as plain values. The program makes it
// (it implements Source; DeviceOf does the part of each device), a server here
// hands it out, and Text lays it out for people:
//
//	devices ──DeviceOf──► Snapshot ──► ControlHandler  JSON over a unix socket ──► Client ──► Text
//	                          └──────► MetricsHandler  Prometheus' text over TCP
//
// Who asks must not hurt who is served. A snapshot takes the locks of devices
// and sessions one after the other, each for as long as it takes to copy, and
// suspends nothing. It is therefore not one moment for all: a command may be in
// one figure and not yet in another. An answer is complete in memory before the
// first byte is sent, so that a slow client holds up a goroutine and nothing
// else; connections, headers and times are limited.
//
// # Files
//
//	snapshot.go, latency.go  what there is to tell
//	collect.go               where it comes from
//	text.go, table.go        a Snapshot for people
//	metrics.go               a Snapshot for Prometheus
//	handler.go, server.go    HTTP on the serving side
//	client.go                HTTP on the asking side
//	socket.go, find.go       the control socket: made, found, removed
//
// # Locks
//
// None. Server has a goroutine, which ends with Close.
package status
