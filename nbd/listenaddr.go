package nbd

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"scstuser/internal/unixsocket"
)

// ListenAddr is a place to listen on: what --listen takes.
type ListenAddr struct {
	// Network is "unix", "tcp", "vsock" or "stdin".
	Network string
	// Address is the path of the socket, or host:port with a numeric port. An
	// empty host means all addresses of the machine; port 0 lets the system
	// choose one, which [ListenAddrOf] tells. Of a vsock it is port or
	// cid:port; of stdin it is empty.
	Address string
}

// ParseListen reads a ListenAddr as a user writes it: unix:/path,
// tcp:host:port, or host:port, where an IPv6 address stands in brackets;
// vsock:port, vsock:cid:port, or stdin. The error says what would have been
// right.
func ParseListen(s string) (ListenAddr, error) {
	if path, ok := strings.CutPrefix(s, "unix:"); ok {
		return parseUnix(s, path)
	}
	if address, ok := strings.CutPrefix(s, "vsock:"); ok {
		return parseVsock(s, address)
	}
	if s == "stdin" {
		return ListenAddr{Network: "stdin"}, nil
	}
	address, hasPrefix := strings.CutPrefix(s, "tcp:")
	if !hasPrefix {
		switch {
		case s == "":
			return ListenAddr{}, fmt.Errorf("empty listen address; write unix:/path or tcp:host:port")
		case strings.Contains(s, "://"):
			return ListenAddr{}, fmt.Errorf("listen address %q is a URI; write unix:/path or tcp:host:port", s)
		case strings.Contains(s, "/"):
			return ListenAddr{}, fmt.Errorf("listen address %q looks like a path; for a unix socket write unix:%s", s, s)
		}
	}
	return parseTCP(s, address)
}

func parseUnix(s, path string) (ListenAddr, error) {
	switch {
	case path == "":
		return ListenAddr{}, fmt.Errorf("listen address %q has no path; write unix:/path", s)
	case strings.HasPrefix(path, "@"):
		return ListenAddr{}, fmt.Errorf("listen address %q is an abstract socket, which few clients can reach; write unix:/path "+
			"(unix:./%s for a file of that name)", s, path)
	case strings.IndexByte(path, 0) >= 0:
		return ListenAddr{}, fmt.Errorf("listen address %q contains a NUL byte", s)
	case len(path) > unixsocket.MaxPath:
		return ListenAddr{}, fmt.Errorf("the path of listen address %q is %d bytes long; the system allows %d for a socket, so choose a shorter one",
			s, len(path), unixsocket.MaxPath)
	}
	return ListenAddr{Network: "unix", Address: path}, nil
}

func parseTCP(s, address string) (ListenAddr, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return ListenAddr{}, fmt.Errorf("listen address %q: %s", s, whyNotHostPort(address))
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return ListenAddr{}, fmt.Errorf("listen address %q: port %q is not a number from 0 to 65535", s, port)
	}
	if strings.ContainsAny(host, "/ \x00") {
		return ListenAddr{}, fmt.Errorf("listen address %q: %q is not a host name or an IP address", s, host)
	}
	return ListenAddr{Network: "tcp", Address: net.JoinHostPort(host, port)}, nil
}

// whyNotHostPort says what keeps address from being host:port, by its usual
// mistakes.
func whyNotHostPort(address string) string {
	if _, err := strconv.ParseUint(address, 10, 16); err == nil {
		return fmt.Sprintf("this is only a port; write tcp:127.0.0.1:%s, or tcp::%s for all addresses of this machine", address, address)
	}
	switch {
	case strings.Count(address, ":") > 1 && !strings.Contains(address, "["):
		return "an IPv6 address needs brackets; write tcp:[::1]:port"
	case strings.HasSuffix(address, "]"), !strings.Contains(address, ":"):
		return fmt.Sprintf("the port is missing; write tcp:%s:10809", address)
	}
	return "write tcp:host:port, or tcp:[::1]:port for an IPv6 address"
}

// ListenAddrOf returns where l listens, with the port that the system chose
// for port 0. l is of [Listen].
func ListenAddrOf(l net.Listener) ListenAddr {
	return ListenAddr{Network: l.Addr().Network(), Address: l.Addr().String()}
}

// String returns a in the form that [ParseListen] reads.
func (a ListenAddr) String() string {
	if a.Network == "stdin" {
		return a.Network
	}
	return a.Network + ":" + a.Address
}

// URI returns the NBD URI by which a client on this machine reaches the export
// called name; "" is the default export. Bytes that mean something to a URI or
// a shell are escaped. An address that stands for all of the machine's becomes
// localhost; a socket's path is only as absolute as it was given.
func (a ListenAddr) URI(name string) string {
	if a.Network == "unix" {
		return "nbd+unix:///" + escapeURI(name) + "?socket=" + escapeURI(a.Address)
	}
	if a.Network == "vsock" {
		return vsockURI(a.Address, name)
	}
	host, port, err := net.SplitHostPort(a.Address)
	if err != nil {
		return "nbd://" + escapeURI(a.Address) + "/" + escapeURI(name) // not from ParseListen
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if strings.Contains(host, ":") {
		// The zone of an IPv6 address begins with a percent sign (RFC 6874).
		host = "[" + strings.ReplaceAll(host, "%", "%25") + "]"
	}
	return "nbd://" + host + ":" + port + "/" + escapeURI(name)
}

// escapeURI escapes all bytes of s but those that RFC 3986 calls unreserved,
// and the slash, which is itself in a path and in a query.
func escapeURI(s string) string {
	const unreserved = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~/"
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte(unreserved, s[i]) >= 0 {
			b.WriteByte(s[i])
		} else {
			fmt.Fprintf(&b, "%%%02X", s[i])
		}
	}
	return b.String()
}
