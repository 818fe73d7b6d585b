package nbd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// Serve accepts clients from l until Shutdown or the last client of l (see
// [Inherit]), which return nil, or until l fails. It closes l. Several listeners
// may be served at a time.
func (s *Server) Serve(l net.Listener) error {
	defer l.Close()
	if !s.addListener(l) {
		return nil
	}
	defer s.removeListener(l)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			s.admit(nc)
		case s.draining.Load(), errors.Is(err, io.EOF):
			return nil
		case passes(err):
			s.warn(s.opt.Log.WithError(err), "a client could not be accepted; trying again")
			s.pause(100 * time.Millisecond)
		default:
			return fmt.Errorf("accept on %v: %w", l.Addr(), err)
		}
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return false
	}
	s.listeners[l] = struct{}{}
	if s.opt.IdleTimeout > 0 && !s.watching {
		s.watching = true
		s.conns.Go(s.watchIdle)
	}
	return true
}

func (s *Server) removeListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

// passes: errors of accept(2) that are not the listener's: the process or the
// system is short of something, or the client's network failed.
func passes(err error) bool {
	var e syscall.Errno
	if !errors.As(err, &e) {
		return false
	}
	switch e {
	case syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED, syscall.EPERM,
		syscall.ENETDOWN, syscall.EPROTO, syscall.ENOPROTOOPT, syscall.EHOSTDOWN, syscall.ENONET,
		syscall.EHOSTUNREACH, syscall.ENETUNREACH:
		return true
	}
	return e.Temporary()
}

func (s *Server) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.quit.Done():
	}
}

// admit welcomes a client if it is allowed.
func (s *Server) admit(nc net.Conn) {
	if err := s.opt.Allow.check(nc); err != nil {
		s.warn(s.opt.Log.WithField("client", nameOf(nc)).WithError(err), "client turned away")
		_ = nc.Close()
		return
	}
	keepAlive(nc, s.opt.KeepAlive)
	s.welcome(&client{nc: nc, tls: &s.opt.TLS})
}

// ServeLocal serves a connection that this process has made itself, for as long
// as it lasts: without TLS, and whatever the AllowList says. It returns when
// there is a slot for it.
func (s *Server) ServeLocal(nc net.Conn) { s.welcome(&client{nc: nc, tls: &TLSOptions{}}) }

// welcome serves a client on a goroutine of its own, once there is a slot for
// it. The slot is not taken before the client is there: with several listeners
// one could hold the last slot for nobody.
func (s *Server) welcome(cl *client) {
	nc := cl.nc
	select {
	case s.slots <- struct{}{}:
	default:
		s.warn(s.opt.Log.WithField("limit", s.opt.MaxConnections), "the limit of connections is reached; new clients wait")
		select {
		case s.slots <- struct{}{}:
		case <-s.quit.Done():
			_ = nc.Close()
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		_ = nc.Close()
		<-s.slots
		return
	}
	s.clients[cl] = struct{}{}
	s.conns.Go(func() {
		log := s.opt.Log.WithField("client", nameOf(nc))
		s.report(log, s.serve(cl, log))
		s.mu.Lock()
		delete(s.clients, cl)
		s.mu.Unlock()
		<-s.slots
	})
}

// nameOf names a client for the log and for the handler. A client of a unix
// socket may have chosen its address itself.
func nameOf(nc net.Conn) string {
	a := nc.RemoteAddr()
	if a == nil {
		return "unknown" // it was gone before it was accepted
	}
	name := a.Network() + ":" + a.String()
	if q := strconv.Quote(name); q != `"`+name+`"` {
		return q
	}
	return name
}

// serve negotiates with a client and transmits, and hangs up.
func (s *Server) serve(cl *client, log *logrus.Entry) error {
	l := newLink(cl.nc, cl.tls)
	defer l.Close()
	n, err := negotiate(l, s, s.opt.Handshake)
	if err != nil {
		return err
	}
	c := newConn(s, &n, l.transport())
	if err := c.attach(s.quit, nameOf(cl.nc)); err != nil {
		return err
	}
	defer func() {
		// The client need not wait for the device. Under TLS it is told the end
		// by close_notify, which Close sends.
		polite := c.leaving() && !l.secured() && stopTalking(cl.nc)
		if !polite {
			_ = l.Close()
		}
		_ = c.sess.Close(context.Background())
		if polite {
			hangUp(cl.nc, s.opt.Linger)
		}
	}()
	s.mu.Lock()
	cl.conn = c
	s.mu.Unlock()
	if s.draining.Load() {
		c.leave() // Shutdown may have come before cl.conn was set
	}
	log.WithFields(logrus.Fields{"export": c.exp.name, "tls": l.secured(), "certificate": l.peer()}).Debug("client uses export")
	return c.run()
}
