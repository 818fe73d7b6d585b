package nbd

import (
	"bytes"
	"errors"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/nbd/nbdtest"
	"scstuser/scsi"
)

// scriptedListener accepts what it is told to.
type scriptedListener struct {
	net.Listener
	accept chan func() (net.Conn, error)
	closed chan struct{}
	once   sync.Once
}

func newScriptedListener(t *testing.T, script ...func() (net.Conn, error)) *scriptedListener {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &scriptedListener{Listener: l, accept: make(chan func() (net.Conn, error), len(script)), closed: make(chan struct{})}
	for _, f := range script {
		s.accept <- f
	}
	return s
}

func (s *scriptedListener) Accept() (net.Conn, error) {
	select {
	case f := <-s.accept:
		return f()
	case <-s.closed:
		return nil, net.ErrClosed
	}
}

func (s *scriptedListener) Close() error {
	s.once.Do(func() { close(s.closed) })
	return s.Listener.Close()
}

func acceptFails(e syscall.Errno) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", e)}
	}
}

// A shortage passes, and the listener goes on; another error is its end, and
// not that of the server.
func TestAcceptErrors(t *testing.T) {
	srv, _ := startServer(t, Options{})
	client, end := nbdtest.Socketpair(t)
	l := newScriptedListener(t, acceptFails(syscall.EMFILE), acceptFails(syscall.ECONNABORTED), acceptFails(syscall.EPROTO),
		func() (net.Conn, error) { return end, nil }, acceptFails(syscall.EINVAL))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	client.Hello()
	client.Abort()
	if err := <-served; !errors.Is(err, syscall.EINVAL) {
		t.Errorf("Serve: %v", err)
	}
	select {
	case <-l.closed:
	default:
		t.Error("the listener has not been closed")
	}
	srv.mu.Lock()
	n := len(srv.listeners)
	srv.mu.Unlock()
	if n != 1 {
		t.Errorf("%d listeners are known, want 1", n)
	}
}

// A shutdown does not wait for the pause after a shortage.
func TestShutdownWhileAcceptFails(t *testing.T) {
	srv, _ := startServer(t, Options{})
	script := make([]func() (net.Conn, error), 1000)
	for i := range script {
		script[i] = acceptFails(syscall.ENFILE)
	}
	l := newScriptedListener(t, script...)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	time.Sleep(5 * time.Millisecond)
	if err := srv.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// syncBuffer is a log.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) lines() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Split(strings.TrimSuffix(s.b.String(), "\n"), "\n")
}

// Whatever clients do, the log has a few lines about it; and none of them is
// the client's.
func TestClientsCannotFloodTheLog(t *testing.T) {
	var log syncBuffer
	logger := logrus.New()
	logger.SetOutput(&log)
	f := newFakeRig(t, fakeTraits{}, Options{Log: logger})
	for i := range 50 {
		c := f.dial(t)
		switch i % 3 {
		case 0:
			c.Greet()
			c.SendClientFlags(1 << 31)
		case 1:
			c.Hello()
			c.SendOption(nbdtest.OptExportName, []byte("evil\nlevel=panic msg=\"\x1b[31mboo\""))
		case 2:
			c.Hello()
			c.Go("fake")
			c.SendRequests(nbdtest.Request{Magic: 1})
		}
		c.ExpectClosed()
	}
	f.open(t).Disc(0)
	f.open(t).Close()
	lines := log.lines()
	if len(lines) != logLines {
		t.Errorf("%d lines, want %d:\n%s", len(lines), logLines, strings.Join(lines, "\n"))
	}
	for _, l := range lines {
		if !strings.Contains(l, `msg="client disconnected"`) || strings.Contains(l, "panic") && !strings.Contains(l, `\nlevel`) {
			t.Error(l)
		}
	}
}

func TestLogLimit(t *testing.T) {
	var l logLimit
	now := time.Now()
	count := func(n int) (passed, dropped int) {
		for range n {
			if d, ok := l.next(now); ok {
				passed++
				dropped += d
			}
		}
		return passed, dropped
	}
	if p, d := count(logLines + 5); p != logLines || d != 0 {
		t.Errorf("%d lines pass, %d reported as dropped", p, d)
	}
	now = now.Add(logPeriod - 1)
	if p, _ := count(2); p != 0 {
		t.Errorf("%d lines pass within the period", p)
	}
	now = now.Add(1)
	if p, d := count(3); p != 3 || d != 7 {
		t.Errorf("in the next period %d lines pass, %d reported as dropped, want 3 and 7", p, d)
	}
}

// A unix client may have bound its own end to any name at all.
func TestClientNames(t *testing.T) {
	for _, tc := range []struct {
		addr net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 99}, "tcp:10.0.0.1:99"},
		{&net.UnixAddr{Net: "unix", Name: "@"}, "unix:@"},
		{&net.UnixAddr{Net: "unix", Name: "/tmp/x"}, "unix:/tmp/x"},
		{&net.UnixAddr{Net: "unix", Name: "a\nb\"\x1b"}, `"unix:a\nb\"\x1b"`},
	} {
		if got := nameOf(addrConn{addr: tc.addr}); got != tc.want {
			t.Errorf("%v: %s, want %s", tc.addr, got, tc.want)
		}
	}
}

type addrConn struct {
	net.Conn
	addr net.Addr
}

func (c addrConn) RemoteAddr() net.Addr { return c.addr }

// A connection that is no socket is served too, with a client as slow as a
// pipe without a buffer is.
func TestServeOnAPipe(t *testing.T) {
	f := newFakeRig(t, fakeTraits{}, Options{})
	f.put(0, pattern(1, 1<<20))
	near, far := net.Pipe()
	l := newScriptedListener(t, func() (net.Conn, error) { return far, nil })
	served := make(chan error, 1)
	go func() { served <- f.srv.Serve(l) }()
	c := nbdtest.NewConn(t, near)
	c.Hello()
	c.Go("fake")
	reads(t, c, 0, pattern(1, 1<<20))
	data := pattern(2, 100_000&^511)
	if e := c.Write(512, data, nbdtest.CmdFlagFUA); e != nbdtest.OK {
		t.Error(e)
	}
	reads(t, c, 512, data)
	var requests []nbdtest.Request
	for i := range uint64(300) {
		requests = append(requests, readOf(i, i*512, 512))
	}
	got := f.hold(scsi.OpRead16, 1)
	go func() { (<-got).release() }() // its reply is sent by another goroutine
	c.Exchange(requests...)
	c.Disc(0)
	shutDown(t, f.srv)
	if err := <-served; err != nil {
		t.Error(err)
	}
}
