// Package systemd speaks the two small protocols by which a service manager and
// its services meet: sockets that were opened before the service started
// ([Sockets]), and datagrams about what the service does ([Notifier]). Both are
// a few environment variables, so nothing here depends on systemd being there:
// without the variables there are no sockets, and notifying does nothing.
//
// The command line calls both, once, at its start. There are no locks: a
// Notifier is a socket, and may be used from any goroutine.
package systemd
