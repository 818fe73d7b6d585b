package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// Options are a Server's settings.
type Options struct {
	// Handshake bounds negotiation.
	Handshake Limits
	// MaxConnections is how many clients are served at a time; more wait to
	// be accepted. Default 1024.
	MaxConnections int
	// MaxInflight is how many requests of one connection are worked on at a
	// time; more stay in the socket. Default 256.
	MaxInflight int
	// MaxInflightBytes bounds the payloads of those, in bytes; one request
	// of any permitted size always fits. Default 8 MiB.
	MaxInflightBytes int64
	// MaxPayload is the longest READ or WRITE, in bytes. Default 32 MiB.
	MaxPayload uint32
	// Linger is how long a shutdown goes on answering new commands with
	// ESHUTDOWN before it hangs up. Default 200 ms.
	Linger time.Duration
	// Grace is how long a shutdown lets a client finish the payload that it
	// is sending, and take the replies that it is owed. Default 5 s.
	Grace time.Duration
	// Log is where the server reports; logrus.StandardLogger() if nil.
	Log *logrus.Logger
}

// EnsureDefaults fills in what was left zero.
func (o *Options) EnsureDefaults() {
	o.Handshake.EnsureDefaults()
	if o.MaxConnections <= 0 {
		o.MaxConnections = 1024
	}
	if o.MaxInflight <= 0 {
		o.MaxInflight = 256
	}
	if o.MaxInflightBytes <= 0 {
		o.MaxInflightBytes = 8 << 20
	}
	if o.MaxPayload == 0 {
		o.MaxPayload = 32 << 20
	}
	if o.Linger <= 0 {
		o.Linger = 200 * time.Millisecond
	}
	if o.Grace <= 0 {
		o.Grace = 5 * time.Second
	}
	if o.Log == nil {
		o.Log = logrus.StandardLogger()
	}
}

// Server serves exports to NBD clients. Its methods may be called from any
// goroutine.
type Server struct {
	opt      Options
	draining atomic.Bool
	graceEnd atomic.Int64   // UnixNano; set before draining
	conns    sync.WaitGroup // the goroutines of connections
	slots    chan struct{}  // a token for each connection
	quit     chan struct{}  // closed by Shutdown

	// mu guards what follows.
	mu        sync.Mutex
	exports   []*Export // the first one is the default export
	listeners map[net.Listener]struct{}
	clients   map[*client]struct{}
}

// client is an accepted connection.
type client struct {
	nc net.Conn
	// tr is set when transmission begins; guarded by Server.mu.
	tr transport
}

// NewServer makes a server without exports.
func NewServer(o Options) *Server {
	o.EnsureDefaults()
	return &Server{
		opt: o, slots: make(chan struct{}, o.MaxConnections), quit: make(chan struct{}),
		listeners: map[net.Listener]struct{}{}, clients: map[*client]struct{}{},
	}
}

// ErrDuplicateExport is returned for a name that is taken.
var ErrDuplicateExport = errors.New("an export of that name exists")

// AddExport attaches to a device and exports it. The first export is the
// default export too. ctx bounds the questions to the device.
func (s *Server) AddExport(ctx context.Context, cfg ExportConfig) (*Export, error) {
	if s.find(cfg.Name) != nil {
		return nil, fmt.Errorf("export %q: %w", cfg.Name, ErrDuplicateExport)
	}
	e, err := newExport(ctx, cfg, s.opt.MaxPayload)
	if err != nil {
		return nil, err
	}
	info, _ := e.info()
	if err := info.Validate(); err != nil {
		_ = e.close(ctx)
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exports = append(s.exports, e)
	return e, nil
}

// RemoveExport takes an export away from new clients and leaves its device.
// Clients that use it go on until the device is released.
func (s *Server) RemoveExport(ctx context.Context, e *Export) error {
	s.mu.Lock()
	for i, x := range s.exports {
		if x == e {
			s.exports = append(s.exports[:i], s.exports[i+1:]...)
			break
		}
	}
	s.mu.Unlock()
	return e.close(ctx)
}

func (s *Server) find(name string) *Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.exports {
		if e.name == name {
			return e
		}
	}
	if name == "" && len(s.exports) > 0 {
		return s.exports[0]
	}
	return nil
}

// lookup implements exportTable.
func (s *Server) lookup(name string) (exportRef, bool) {
	if e := s.find(name); e != nil {
		return e, true
	}
	return nil, false
}

// list implements exportTable.
func (s *Server) list() []ExportInfo {
	s.mu.Lock()
	exports := append([]*Export(nil), s.exports...)
	s.mu.Unlock()
	var l []ExportInfo
	for _, e := range exports {
		if i, err := e.info(); err == nil {
			l = append(l, i)
		}
	}
	return l
}

// shuttingDown implements exportTable.
func (s *Server) shuttingDown() bool { return s.draining.Load() }

// Serve accepts clients from l until Shutdown (nil), or until l fails.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.draining.Load() {
		s.mu.Unlock()
		return l.Close()
	}
	s.listeners[l] = struct{}{}
	s.mu.Unlock()
	for {
		select {
		case s.slots <- struct{}{}:
		case <-s.quit:
			return nil
		}
		nc, err := l.Accept()
		if err == nil {
			s.accept(nc)
			continue
		}
		<-s.slots
		switch {
		case s.draining.Load():
			return nil
		case tryAgain(err):
			s.opt.Log.WithError(err).Warn("accept: out of resources, trying again")
			time.Sleep(100 * time.Millisecond)
		default:
			return fmt.Errorf("accept on %v: %w", l.Addr(), err)
		}
	}
}

// tryAgain: errors of accept(2) that pass.
func tryAgain(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// accept serves one client, which has a slot, on a goroutine of its own.
func (s *Server) accept(nc net.Conn) {
	log := s.opt.Log.WithField("client", nc.RemoteAddr().String())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		_ = nc.Close()
		<-s.slots
		return
	}
	cl := &client{nc: nc}
	s.clients[cl] = struct{}{}
	s.conns.Go(func() {
		err := s.serve(cl, log)
		s.mu.Lock()
		delete(s.clients, cl)
		s.mu.Unlock()
		<-s.slots
		s.report(log, err)
	})
}

// report logs how a connection ended.
func (s *Server) report(log *logrus.Entry, err error) {
	var breach *protocolError
	switch {
	case err == nil, errors.Is(err, errAborted), errors.Is(err, errShuttingDown):
		log.Debug("client left")
	case errors.As(err, &breach), errors.Is(err, errHandshakeTimeout):
		log.WithError(err).Warn("client disconnected")
	default:
		log.WithError(err).Info("connection ended")
	}
}

// serve negotiates and then transmits.
func (s *Server) serve(cl *client, log *logrus.Entry) error {
	defer cl.nc.Close()
	n, err := negotiate(cl.nc, s, s.opt.Handshake)
	if err != nil {
		return err
	}
	e := n.export.(*Export)
	log = log.WithField("export", e.name)
	tr := newTransport(cl.nc)
	c := newConn(s, e, tr, log)
	ctx, cancel := context.WithTimeout(context.Background(), attachTimeout)
	err = c.open(ctx, cl.nc.RemoteAddr().Network()+":"+cl.nc.RemoteAddr().String())
	cancel()
	if err != nil {
		return err
	}
	s.mu.Lock()
	cl.tr = tr
	s.mu.Unlock()
	if s.draining.Load() {
		s.hurry(tr)
	}
	log.Debug("client uses export")
	err = c.run()
	tr.close()
	_ = c.sess.Close(context.Background())
	if errors.Is(err, os.ErrDeadlineExceeded) && (s.draining.Load() || e.gone.Load()) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) {
		return errAborted
	}
	return err
}

// hurry makes a connection come to its end.
func (s *Server) hurry(tr transport) {
	tr.stopReading(s.opt.Linger)
	tr.stopSending(s.opt.Grace)
}

// mayFinish says whether a client may go on with what it is sending, though
// the server is shutting down.
func (s *Server) mayFinish() bool {
	return s.draining.Load() && time.Now().UnixNano() < s.graceEnd.Load()
}

// attachTimeout bounds how long a new client waits for the device to be quiet.
const attachTimeout = 90 * time.Second

// Shutdown stops the server (row 26): listeners are closed, new commands get
// ESHUTDOWN, commands in flight are finished and answered; then connections
// are closed and the exports given up. When ctx ends first the connections
// are cut.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.graceEnd.Store(time.Now().Add(s.opt.Grace).UnixNano())
	if s.draining.Swap(true) {
		s.mu.Unlock()
		return errors.New("shutdown: called twice")
	}
	close(s.quit)
	for l := range s.listeners {
		_ = l.Close()
	}
	for cl := range s.clients {
		if cl.tr != nil {
			s.hurry(cl.tr)
		} else {
			_ = cl.nc.SetDeadline(time.Now().Add(s.opt.Linger))
		}
	}
	exports := s.exports
	s.exports = nil
	s.mu.Unlock()

	over := make(chan struct{})
	go func() {
		s.conns.Wait()
		close(over)
	}()
	var err error
	select {
	case <-over:
	case <-ctx.Done():
		err = fmt.Errorf("shutdown: clients were cut off: %w", ctx.Err())
		s.mu.Lock()
		for cl := range s.clients {
			if cl.tr != nil {
				cl.tr.close()
			} else {
				_ = cl.nc.Close()
			}
		}
		s.mu.Unlock()
	}
	for _, e := range exports {
		// A device whose commands don't end is released by its owner next.
		if cerr := e.close(ctx); err == nil {
			err = cerr
		}
	}
	return err
}
