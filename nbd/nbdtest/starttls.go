package nbdtest

import (
	"crypto/tls"
	"net"
	"time"
)

// TryStartTLS sends STARTTLS, which has to be acknowledged, and does the
// client's part of the TLS handshake. With TLS 1.3 a server that refuses the
// client's certificate says so later.
func (c *Conn) TryStartTLS(cfg *tls.Config) error {
	c.t.Helper()
	c.SendOption(OptStartTLS, nil)
	if r := c.ReadOptionReply(); r.ID != OptStartTLS || r.Type != RepAck {
		c.t.Fatalf("reply %#x to STARTTLS: %q", r.Type, r.Data)
	}
	secured := tls.Client(c.c, cfg)
	if err := c.c.SetDeadline(time.Now().Add(c.Timeout)); err != nil {
		return err
	}
	if err := secured.Handshake(); err != nil {
		return err
	}
	c.c = secured
	return nil
}

// StartTLS is TryStartTLS that has to succeed.
func (c *Conn) StartTLS(cfg *tls.Config) {
	c.t.Helper()
	if err := c.TryStartTLS(cfg); err != nil {
		c.t.Fatalf("TLS handshake: %v", err)
	}
}

// Secretly does the client's part of the TLS handshake after the ACK and tells
// all that the server sent meanwhile, whether or not it succeeded.
func (c *Conn) Secretly(cfg *tls.Config) <-chan []byte {
	seen := make(chan []byte, 1)
	_ = c.c.SetDeadline(time.Now().Add(c.Timeout))
	go func() {
		tap := &tap{Conn: c.c}
		_ = tls.Client(tap, cfg).Handshake() // whether it fails shows at the server
		seen <- tap.seen
	}()
	return seen
}

// tap remembers what is read.
type tap struct {
	net.Conn
	seen []byte
}

func (t *tap) Read(p []byte) (int, error) {
	n, err := t.Conn.Read(p)
	t.seen = append(t.seen, p[:n]...)
	return n, err
}
