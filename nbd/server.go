package nbd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Server serves exports to NBD clients. Its methods may be called from any
// goroutine.
type Server struct {
	opt Options
	// slots has a token for each client that is served.
	slots chan struct{}
	// conns are the goroutines of clients.
	conns sync.WaitGroup
	// draining is set, and quit ends, when Shutdown begins.
	draining atomic.Bool
	// busy counts the connections that are not waiting for their clients to send.
	busy atomic.Int32
	quit context.Context
	stop context.CancelFunc
	// noise limits the log lines that clients can cause.
	noise logLimit

	// mu guards what follows.
	mu sync.Mutex
	// exports in the order in which they were added: the first one is the
	// default. adding are the names of those that are not there yet.
	exports   []*Export
	adding    map[string]struct{}
	listeners map[net.Listener]struct{}
	clients   map[*client]struct{}
	// watching: watchIdle runs.
	watching bool
}

// client is an accepted connection.
type client struct {
	nc  net.Conn
	tls *TLSOptions
	// conn is set when transmission begins; guarded by Server.mu.
	conn *conn
}

// NewServer makes a server without exports and listeners.
func NewServer(o Options) *Server {
	o.EnsureDefaults()
	s := &Server{
		opt: o, slots: make(chan struct{}, o.MaxConnections),
		adding: map[string]struct{}{}, listeners: map[net.Listener]struct{}{}, clients: map[*client]struct{}{},
	}
	s.quit, s.stop = context.WithCancel(context.Background())
	return s
}

// ErrServerClosed is returned once Shutdown was called.
var ErrServerClosed = errors.New("the NBD server is shutting down")

// Shutdown stops the server (row 26): it closes the listeners, refuses new
// commands with ESHUTDOWN, has the commands in flight finished and answered,
// and gives up the exports. Clients that are slow to finish what they send or
// to take what they are owed are cut off after the Grace of Options, all others
// when ctx ends, which is an error. A second call does nothing and returns
// ErrServerClosed.
func (s *Server) Shutdown(ctx context.Context) error {
	exports, err := s.beginShutdown()
	if err != nil {
		return err
	}
	over := make(chan struct{})
	go func() {
		s.conns.Wait()
		close(over)
	}()
	select {
	case <-over:
	case <-ctx.Done():
		err = fmt.Errorf("shutdown: %d clients were cut off: %w", s.cutOff(), ctx.Err())
	}
	for _, e := range exports {
		// If its commands don't end, its owner releases the device next.
		if cerr := e.close(ctx); err == nil && cerr != nil {
			err = fmt.Errorf("shutdown: export %q: %w", e.name, cerr)
		}
	}
	return err
}

// beginShutdown turns away whoever comes now, and takes the exports.
func (s *Server) beginShutdown() ([]*Export, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Swap(true) {
		return nil, ErrServerClosed
	}
	s.stop()
	for l := range s.listeners {
		_ = l.Close()
	}
	for cl := range s.clients {
		if cl.conn != nil {
			cl.conn.leave()
		} else {
			_ = cl.nc.SetDeadline(time.Now().Add(s.opt.Linger))
		}
	}
	exports := s.exports
	s.exports = nil
	return exports, nil
}

// cutOff hangs up on the clients that are left. It does not wait for that: who
// sends to a client from a file may be waiting for the disk, and Close for him.
func (s *Server) cutOff() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cl := range s.clients {
		go cl.nc.Close()
	}
	return len(s.clients)
}
