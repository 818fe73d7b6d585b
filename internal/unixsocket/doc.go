// Package unixsocket makes unix sockets that are listened on: those of NBD
// clients (package nbd) and the control socket (internal/status).
//
//	listen.go  making one, its access, and taking it away
//	stale.go   what a killed process left behind
//	lock.go    several processes that start at one moment
//
// # What must hold
//
//   - A socket has its access before anybody can connect.
//   - Only a socket that nobody answers on is replaced; any other file stays.
//   - Of several processes that start at one moment one gets the socket.
//   - A listener that is closed takes its own file away, no successor's.
package unixsocket
