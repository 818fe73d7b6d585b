package nbdtest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// DefaultTimeout is far longer than any step takes on a busy machine.
const DefaultTimeout = 20 * time.Second

// Conn is a client's connection under a test's control.
type Conn struct {
	// Timeout is how long one step (a send, a receive) may take.
	Timeout time.Duration
	// TLS, if not nil, makes SendClientFlags go on with STARTTLS where a client
	// may use it, so that all that follows is under TLS.
	TLS *tls.Config

	t        testing.TB
	c        net.Conn
	mode     Mode   // what was negotiated
	context  uint32 // the id of base:allocation, if that was
	noZeroes bool   // NO_ZEROES was agreed on
	cookie   uint64 // the last cookie that Do chose
}

// NewConn wraps c for the test t, and closes it when t ends.
func NewConn(t testing.TB, c net.Conn) *Conn {
	t.Helper()
	t.Cleanup(func() { c.Close() })
	return &Conn{Timeout: DefaultTimeout, t: t, c: c}
}

// Dial connects to a server.
func Dial(t testing.TB, network, address string) *Conn {
	t.Helper()
	c, err := net.DialTimeout(network, address, DefaultTimeout)
	if err != nil {
		t.Fatalf("connect to the server: %v", err)
	}
	return NewConn(t, c)
}

// Socketpair returns two ends of a unix socket pair: a client, and what its
// server serves. Both are closed when t ends.
func Socketpair(t testing.TB) (*Conn, net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatalf("socketpair: %v", err)
	}
	var ends [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		ends[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatalf("socketpair: %v", err)
		}
	}
	t.Cleanup(func() { ends[1].Close() })
	return NewConn(t, ends[0]), ends[1]
}

// TrySend sends bytes and returns the error, for tests in which the server may
// hang up meanwhile.
func (c *Conn) TrySend(b []byte) error {
	c.c.SetWriteDeadline(time.Now().Add(c.Timeout))
	_, err := c.c.Write(b)
	return err
}

// Send sends bytes.
func (c *Conn) Send(b []byte) {
	c.t.Helper()
	if err := c.TrySend(b); err != nil {
		c.t.Fatalf("send %d bytes: %v", len(b), err)
	}
}

// TryRecv receives exactly n bytes, or what came before the error.
func (c *Conn) TryRecv(n int) ([]byte, error) {
	c.c.SetReadDeadline(time.Now().Add(c.Timeout))
	b := make([]byte, n)
	got, err := io.ReadFull(c.c, b)
	return b[:got], err
}

// Recv receives exactly n bytes.
func (c *Conn) Recv(n int) []byte {
	c.t.Helper()
	b, err := c.TryRecv(n)
	if err != nil {
		c.t.Fatalf("receive %d bytes: %v after %d bytes", n, err, len(b))
	}
	return b
}

// ExpectBytes receives as many bytes as want has, and requires them to be
// equal.
func (c *Conn) ExpectBytes(want []byte) {
	c.t.Helper()
	if got := c.Recv(len(want)); !bytes.Equal(got, want) {
		c.t.Fatalf("received\n%x, want\n%x", got, want)
	}
}

// ExpectClosed requires that the server sends nothing more and closes the
// connection.
func (c *Conn) ExpectClosed() {
	c.t.Helper()
	b, err := c.TryRecv(1)
	switch {
	case len(b) > 0:
		c.c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		more, _ := io.ReadAll(io.LimitReader(c.c, 63))
		c.t.Fatalf("received %x where the server has to close the connection", append(b, more...))
	case !hungUp(err):
		c.t.Fatalf("the server did not close the connection: %v", err)
	}
}

// hungUp reports whether err says that the other side closed the connection. A
// server that closes with bytes still to be read resets it.
func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.ErrClosedPipe) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// CloseWrite closes the sending direction: the server reads EOF, and can still
// answer.
func (c *Conn) CloseWrite() {
	c.t.Helper()
	half, ok := c.c.(interface{ CloseWrite() error })
	if !ok {
		c.t.Fatalf("%T can't be closed in one direction", c.c)
	}
	if err := half.CloseWrite(); err != nil {
		c.t.Fatalf("close the sending direction: %v", err)
	}
}

// Close closes the connection as a client does that is killed.
func (c *Conn) Close() { c.c.Close() }
