package proc

import (
	"context"
	"net"
	"net/url"
)

// Endpoint is a place where a server listens.
type Endpoint struct {
	// Network is "unix" or "tcp".
	Network string
	// Addr is the socket's path, or host:port. Port 0 leaves the choice to the
	// kernel; Server.Endpoint then says which port it is.
	Addr string
}

// Unix returns the endpoint of a unix socket. The kernel limits path to 107
// bytes.
func Unix(path string) Endpoint { return Endpoint{Network: "unix", Addr: path} }

// TCP returns the endpoint of a TCP address, host:port.
func TCP(hostPort string) Endpoint { return Endpoint{Network: "tcp", Addr: hostPort} }

// String returns the endpoint in the form that fileio_tgt's --listen takes:
// unix:/path or tcp:host:port.
func (e Endpoint) String() string { return e.Network + ":" + e.Addr }

// URI returns the NBD URI of the named export at this endpoint, as libnbd,
// QEMU and fio understand it (the NBD project's uri.md). The empty name is the
// default export.
func (e Endpoint) URI(export string) string {
	if e.Network == "unix" {
		return "nbd+unix:///" + url.PathEscape(export) + "?socket=" + url.QueryEscape(e.Addr)
	}
	return "nbd://" + e.Addr + "/" + url.PathEscape(export)
}

// Dial connects to the endpoint.
func (e Endpoint) Dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, e.Network, e.Addr)
}

// anyPort says whether the kernel is to choose the port.
func (e Endpoint) anyPort() bool {
	if e.Network != "tcp" {
		return false
	}
	_, port, err := net.SplitHostPort(e.Addr)
	return err == nil && port == "0"
}
