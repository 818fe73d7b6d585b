package nbd

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
)

// TLSMode says whether clients have to use TLS (row 9).
type TLSMode uint8

// The modes. Which one suits whom is told in docs/security.md.
const (
	// TLSOff: STARTTLS is answered as an option that is not supported.
	TLSOff TLSMode = iota
	// TLSOn: clients may use TLS. Somebody in between can keep them from it,
	// so this protects only clients that insist on TLS themselves.
	TLSOn
	// TLSRequire: before STARTTLS every other option is refused with
	// NBD_REP_ERR_TLS_REQD, and EXPORT_NAME ends the connection.
	TLSRequire
)

// TLSOptions are a Server's settings for TLS. The zero value is TLSOff.
type TLSOptions struct {
	Mode TLSMode
	// Config is what a connection's TLS is made with; not nil unless Mode is
	// TLSOff. For certificates that change, and for verifying clients, it has
	// a GetConfigForClient, as that of package nbdtls. Anything below TLS 1.2
	// is refused whatever it says.
	Config *tls.Config
}

// errTLS: the client's STARTTLS led to nothing.
var errTLS = errors.New("the TLS handshake failed")

// securable is a handshakeConn that can be put under TLS while negotiation goes
// on. What is no securable is served as with TLSOff.
type securable interface {
	handshakeConn
	tlsMode() TLSMode
	// secured says whether TLS is on.
	secured() bool
	// secure does the server's part of the TLS handshake. From then on Read
	// and Write are protected. After an error the connection is of no use.
	secure() error
}

// link is a client's connection: a plain one, under TLS once secure was called.
// It belongs to the connection's goroutine, but for the deadlines.
type link struct {
	// Conn is what is spoken on: raw, or tls.
	net.Conn
	raw  net.Conn
	opt  *TLSOptions
	wire *tlsWire  // between tls and raw; nil without TLS
	tls  *tls.Conn // nil without TLS
}

var _ securable = (*link)(nil)

func newLink(raw net.Conn, opt *TLSOptions) *link { return &link{Conn: raw, raw: raw, opt: opt} }

func (l *link) tlsMode() TLSMode { return l.opt.Mode }
func (l *link) secured() bool    { return l.tls != nil }

// secure implements securable. All that the client sent before the handshake
// and was not read yet is taken for the handshake's beginning, which fails
// then: nothing that came in the clear is ever taken for protected input
// (CVE-2021-3716 and its kin).
func (l *link) secure() error {
	w := newTLSWire(l.raw)
	t := tls.Server(w, l.opt.Config)
	if err := t.Handshake(); err != nil {
		return err
	}
	if v := t.ConnectionState().Version; v < tls.VersionTLS12 {
		return fmt.Errorf("the client offers at most %s; TLS 1.2 or later is needed", tls.VersionName(v))
	}
	l.wire, l.tls, l.Conn = w, t, t
	return nil
}

// transport picks the way for the transmission half.
func (l *link) transport() transport {
	switch {
	case l.tls == nil:
		return newTransport(l.raw)
	case l.wire.rc == nil:
		return &plain{l.tls}
	}
	l.wire.engine = true
	return &secure{conn: l.raw, tls: l.tls, wire: l.wire}
}

// peer names a client that has shown a certificate; "" if it has not.
func (l *link) peer() string {
	if l.tls == nil {
		return ""
	}
	if certs := l.tls.ConnectionState().PeerCertificates; len(certs) > 0 {
		return certs[0].Subject.String()
	}
	return ""
}
