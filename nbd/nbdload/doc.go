// Package nbdload is a lean load generator for NBD servers: it keeps a number
// of requests in flight on each of its connections, sends what is due with one
// system call and reads as many replies as there are with one. It looks at
// nothing but the replies' headers, so that on a machine with few processors
// it is the server that is measured and not the client.
//
// load.go says what a load is and runs it; worker.go is one connection;
// handshake.go connects; histogram.go keeps latencies.
//
// Each connection has a goroutine of its own, and they share nothing but the
// time at which they stop.
package nbdload
