// Package kernel attaches an NBD export to a block device of the Linux kernel's
// own NBD client (/dev/nbd0), over generic netlink or by ioctls, so that it can be
// mounted, and detaches it again. The command line calls it: [Attach] for a server
// that a URI names, [AttachLocal] for the one in this process, [Resize], [Detach].
//
//	uri.go       what a URI says about where the server is
//	client.go    the client's side of negotiation: STARTTLS and GO
//	netlink.go   messages and attributes as bytes
//	genl.go      requests and answers on a netlink socket
//	device.go    the kernel's commands: connect, reconfigure, disconnect
//	ioctl.go     the kernel's older way, by ioctls on the device
//	writeback.go what has to leave the page cache before a device is detached
//	attach.go    all of it in order
//	resize.go    an export that has grown
//	watch.go     connections that die, and are made again
//	relay.go     TLS, which the kernel's client does not speak
//
// The kernel gets connected sockets on which negotiation is over. From then on
// the device works without this process, with three exceptions: a connection under
// TLS is a socket pair whose other end is in this process, which encrypts;
// connections that die are only made again while [Attachment.Wait] runs; and a
// device that is attached by ioctls is so for as long as one of our threads is in
// NBD_DO_IT.
//
// There are no locks: an Attachment belongs to one goroutine at a time. Its
// relays have goroutines of their own, two for each connection, which end with
// it.
package kernel
