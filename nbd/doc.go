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
// answers which of them, and each option_*.go is one answer.
//
// Negotiation runs on the goroutine of its connection and starts no other. It
// reads each option exactly, so what a client pipelines behind GO is still in
// the socket when the transmission half begins. It keeps no state between
// options but its counters, the mode (structured replies, extended headers) and
// the metadata contexts: an INFO says nothing about a later GO. All that a
// client can make grow is held by [Limits].
//
// STARTTLS (option_starttls.go) puts a connection under TLS in the middle of
// that. A connection is a [link] (tls.go), which stays the same while what is
// below it changes; the negotiator is made anew, so that nothing counts that was
// said in the clear; and since nothing is read ahead, what was pipelined in the
// clear is left for package tls, which refuses it. docs/security.md says what
// for.
//
// Negotiation takes no lock. It asks the server about exports through
// exportTable and exportRef, whose methods are called from many connections
// at once.
//
// # Transmission
//
// An [Export] is a device as clients see it. It is asked once, with SCSI
// commands, what it can do (discover.go), and offered accordingly. A connection
// has a session with the device (attach.go) and turns each request into one
// SCSI command, or into several, one after the other (steps.go).
//
//	socket ─ inbox ─ check ─ admit ─ start ─► target.Session.Submit
//	   ▲                                          │
//	   └── flush ◄── out ◄── answer ◄── outcome ◄─┘ XmitResponse
//
// Each connection (conn.go) has one goroutine, which reads requests and moves
// each as far as it goes. With a handler in this process and the data in memory
// that is to the end: a queue depth of reads is received with one system call,
// carried out, and answered with one. What might wait is finished by others (a
// handler's worker, a timer), who queue the reply themselves (frontend.go). No
// goroutine belongs to a request, except to one of parts of blocks.
//
// # Who sends
//
// This is send.go. Replies are queued in conn.out and sent by one goroutine at
// a time: whoever set conn.sending owns the batch being sent, until the queue
// is empty. It is
//
//   - the connection's goroutine. While it has requests in its inbox the queue
//     is corked: nobody sends, and their replies leave together when the inbox
//     is empty, or a batch is large. It always uncorks before it waits for
//     anything, and it may wait for its client to take the replies: it reads
//     nothing meanwhile, which is what slows a client down;
//   - else whoever queues a reply and finds nobody sending. That one must not
//     wait for a slow client, so it hands the rest to a flusher, a goroutine
//     that ends when the queue is empty.
//
// A request is over, and its buffer free, when its reply has left. Until then
// it counts in the connection's limits, so a client that does not read its
// replies stops being read, and holds no more than those. When sending fails
// nothing more is sent, and what is queued ends undelivered.
//
// # A WRITE
//
// This is write.go. The payload lies in the socket, in the way of the next
// request. The connection's goroutine submits the command and waits until it
// has moved on (request.phase): to a buffer, into which the payload is then
// read straight from the socket; or to its end without one, and then the
// payload is skipped (row 19), or kept aside if the command is worth another
// try.
//
// # Modes
//
// A connection is simple, structured or extended for its whole life (mode.go).
// That decides how requests are decoded and replies encoded (reply.go,
// wire_chunk.go), and nothing else knows of it but check.go, for the flags, and
// what only chunks can say: holes (sparse.go), the map of an export
// (blockstatus.go) and what went wrong (refusal.go, sensereply.go).
//
// A READ in chunks first asks the device for its holes, unless the export is known
// to have data there (knowndata.go). It may then be several SCSI commands and
// several parts of a reply, one after the other: request.partial says that a part
// is on its way, and the next command follows when it has left.
//
// # Parts of blocks
//
// Clients that have not asked for the size constraints may send requests that are
// not whole blocks (unaligned.go). Those are the only requests with a goroutine of
// their own; it makes aligned requests of them, which nobody answers
// (request.call). What keeps all other changes away from a block that is read,
// changed and written back is in changes.go, and costs them nothing until the first
// such request.
//
// # Leaving
//
// A shutdown, or the release of the device, makes a connection leave: for the
// Linger, and for as long as commands are in flight, it goes on reading, and
// new commands get ESHUTDOWN, or none at all (farewell.go); a payload that is on its way may arrive within
// the Grace; then it waits for what is outstanding, and sends it. That way
// every request is answered that came whole, and ends once in any case (I1).
// It ends with an end of the stream, not with a reset (hangup.go).
//
// # Locks
//
//	exactChanges.mu  whether changes claim their ranges; may be held while Server.mu is taken
//	Server.mu        exports, listeners, clients; may be held while conn.mu is taken
//	tlsWire.mu       encrypted bytes that nobody has begun to send
//	Export.mu        whether somebody asks the device for its size
//	conn.mu          the queue of replies, the counts, request.phase
//	rangeLocks.mu    the claims
//	logLimit.mu      how many lines were logged
//
// No other two are held together, and none while a method of package target
// or of a transport runs that could wait or call back. A claim is held while a
// change runs, and waited for before it begins; nobody holds one and waits for
// another, or for a client.
//
// # Invariants
//
//   - Each admitted request is finished exactly once (conn.finish), and the
//     connection's goroutine ends when none is left: conn.inflight counts them.
//   - What a client can make the server hold is bounded by [Options] and
//     [Limits], and what it can make it log by logLimit. A client that sends
//     garbage loses its own connection and nothing else (I7).
//   - If a queue is neither corked nor being sent, it is empty.
//   - An idle connection has no receive buffer (inbox.go), but for package
//     tls's own under TLS.
//   - No goroutine waits for a client in a system call: that is done in the
//     runtime's poller (socket.go says why). Who sends from a file may have to
//     wait for its disk (sendfile.go), as the handler may.
//
// # Under TLS
//
// A transport (transport.go) moves a connection's bytes: socket.go on a bare
// socket, secure.go on one under TLS. Package tls would wait for the client
// inside its Read and Write, and write each record by itself. So there is a
// tlsWire below it that never waits: a Read without bytes ends with an error
// that passes, and the transport waits outside, without a buffer; what is
// written is collected until a batch is full, and sent with one system call.
//
// # Ways in
//
// listen.go turns what a user types into a [ListenAddr] and that into a
// listener. listen_unix.go owns the unix socket file's life, vsock.go and
// fdconn.go do what package net does not know, and inherit.go takes sockets that
// systemd or inetd has opened.
//
// A client that is accepted has to be allowed (allow.go) before it takes a
// place. Clients that are gone are noticed by the system (keepalive.go), those
// that are silent by watchIdle (idle.go), a goroutine for all of them that ends
// with Shutdown. [Server.ServeLocal] is the way in for this process itself; package
// kernel uses it.
package nbd
