// Package nbdtls reads the certificates that NBD's STARTTLS is made with, from
// a directory with the file names that the programs of the NBD world share, so
// that one directory serves this server, nbdkit, qemu and libnbd:
//
//	ca-cert.pem                       whom to trust
//	ca-crl.pem                        whom not any more; may be missing
//	server-cert.pem, server-key.pem   what the server shows
//	client-cert.pem, client-key.pem   what a client shows; may be missing
//
// An [Identity] is the server's side: the command line makes one, gives its
// [Identity.Config] to the NBD server, and calls [Identity.Reload] on SIGHUP.
// Connections that are there keep what they were made with. [ClientConfig] is
// the client's side, for attaching a kernel device.
//
// The minimum is TLS 1.2 with forward secrecy, which is package tls's default.
// Sessions are never resumed: a ticket would outlive a certificate that a
// reload has taken away, and an NBD connection lasts.
//
// Lock: Identity.mu serialises reloads; connections read without one.
package nbdtls
