package status

import (
	"context"
	"errors"
	stdlog "log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/sirupsen/logrus"
)

// What clients of a Server can make it keep or wait for. They ask for little
// and read soon; the process has better things to do.
const (
	maxHeader     = 8 << 10 // bytes
	maxClients    = 16      // at a time; further ones wait in the socket
	headerTimeout = 5 * time.Second
	answerTimeout = 30 * time.Second
	idleTimeout   = 30 * time.Second
)

// Server answers HTTP requests on one listener.
type Server struct {
	http *http.Server
	done chan struct{} // closed when its goroutine has ended
}

// Serve answers what comes to l with h, on a goroutine of its own, until Close,
// which also closes l.
func Serve(l net.Listener, h http.Handler, log *logrus.Entry) *Server {
	s := &Server{done: make(chan struct{}), http: &http.Server{
		Handler:        h,
		MaxHeaderBytes: maxHeader, ReadHeaderTimeout: headerTimeout, ReadTimeout: headerTimeout,
		WriteTimeout: answerTimeout, IdleTimeout: idleTimeout,
		ErrorLog: stdlog.New(debugLog{log}, "", 0),
	}}
	go func() {
		defer close(s.done)
		if err := s.http.Serve(limit(l, maxClients)); !errors.Is(err, http.ErrServerClosed) {
			log.WithError(err).Error("nobody is told the status any more; all else goes on")
		}
	}()
	return s
}

// Close closes the listener, and waits for answers under way, at most until ctx
// ends: then they are cut off.
func (s *Server) Close(ctx context.Context) {
	if s.http.Shutdown(ctx) != nil {
		_ = s.http.Close() // the listener is closed already
	}
	<-s.done
}

// debugLog is where package http complains about clients.
type debugLog struct{ log *logrus.Entry }

// Write implements io.Writer.
func (l debugLog) Write(line []byte) (int, error) {
	l.log.Debug(clean(string(line)))
	return len(line), nil
}

// limitedListener accepts a client when fewer than the limit are there.
type limitedListener struct {
	net.Listener
	slots  chan struct{}
	once   sync.Once
	closed chan struct{} // closed by Close
}

func limit(l net.Listener, n int) net.Listener {
	return &limitedListener{Listener: l, slots: make(chan struct{}, n), closed: make(chan struct{})}
}

// Accept implements net.Listener.
func (l *limitedListener) Accept() (net.Conn, error) {
	select {
	case l.slots <- struct{}{}:
	case <-l.closed:
		return nil, net.ErrClosed
	}
	c, err := l.Listener.Accept()
	if err != nil {
		<-l.slots
		return nil, err
	}
	return &limitedConn{Conn: c, slots: l.slots}, nil
}

// Close implements net.Listener. It may be called more than once.
func (l *limitedListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return l.Listener.Close()
}

// limitedConn gives its slot back.
type limitedConn struct {
	net.Conn
	slots chan struct{}
	over  sync.Once
}

// Close implements net.Conn.
func (c *limitedConn) Close() error {
	c.over.Do(func() { <-c.slots })
	return c.Conn.Close()
}
