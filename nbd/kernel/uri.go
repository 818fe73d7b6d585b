package kernel

import (
	"fmt"
	"net"
	"net/url"
	"strings"
)

// Target is a server and an export, as a URI names them.
type Target struct {
	// Network and Address are what package net dials.
	Network, Address string
	// Export is the export's name; "" is the default one.
	Export string
	// TLS: the connection has to be under TLS, and the server has to be
	// ServerName.
	TLS        bool
	ServerName string
}

// defaultPort is where NBD servers listen.
const defaultPort = "10809"

// ParseURI reads a URI as the NBD project defines it: nbd://host:port/export and
// nbd+unix:///export?socket=/path, and both with nbds for TLS.
func ParseURI(s string) (Target, error) {
	u, err := url.Parse(s)
	if err != nil {
		return Target{}, fmt.Errorf("%q is no URI; write nbd://host/export or nbd+unix:///export?socket=/path", s)
	}
	kind, transport, _ := strings.Cut(u.Scheme, "+")
	if kind != "nbd" && kind != "nbds" || u.Opaque != "" {
		return Target{}, fmt.Errorf("%q is no NBD URI; write nbd://host/export or nbd+unix:///export?socket=/path, with nbds for TLS", s)
	}
	t := Target{TLS: kind == "nbds", Export: strings.TrimPrefix(u.Path, "/")}
	socket := u.Query().Get("socket")
	switch transport {
	case "", "tcp":
		if u.Hostname() == "" {
			return Target{}, fmt.Errorf("%q names no host", s)
		}
		port := u.Port()
		if port == "" {
			port = defaultPort
		}
		t.Network, t.Address, t.ServerName = "tcp", net.JoinHostPort(u.Hostname(), port), u.Hostname()
	case "unix":
		if socket == "" || u.Host != "" {
			return Target{}, fmt.Errorf("%q names no socket; write nbd+unix:///export?socket=/path", s)
		}
		t.Network, t.Address, t.ServerName = "unix", socket, "localhost"
	default:
		return Target{}, fmt.Errorf("%q: the kernel can't be connected by %s; use tcp or unix", s, transport)
	}
	return t, nil
}
