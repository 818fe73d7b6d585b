package nbd

import "time"

// idleState is what tells whether a client is idle.
type idleState struct {
	// seen is the conn.pulse that was seen last, since when. They belong to
	// the watcher.
	seen  uint64
	since time.Time
}

// watchIdle lets clients go that have been silent for the server's IdleTimeout.
// It is one goroutine for all, so that a request costs nothing but a count; it
// ends when Shutdown begins.
func (s *Server) watchIdle() {
	t := time.NewTicker(s.opt.IdleTimeout / 4)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			s.dismissIdle(now)
		case <-s.quit.Done():
			return
		}
	}
}

func (s *Server) dismissIdle(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for cl := range s.clients {
		if c := cl.conn; c != nil && c.silent(now) >= s.opt.IdleTimeout {
			s.opt.Log.WithField("client", nameOf(cl.nc)).Debug("client was idle for too long")
			c.leave()
		}
	}
}

// silent returns for how long the server has been waiting for the client: it
// owes it nothing, or waits for the rest of a payload.
func (c *conn) silent(now time.Time) time.Duration {
	pulse := c.pulse.Load()
	c.mu.Lock()
	waits := c.inflight == 0 || c.payload.Load()
	c.mu.Unlock()
	if !waits || pulse != c.idle.seen || c.idle.since.IsZero() {
		c.idle.seen, c.idle.since = pulse, now
	}
	return now.Sub(c.idle.since)
}

// receivePayload is receive within a payload.
func (c *conn) receivePayload(p []byte) (int, error) {
	c.payload.Store(true)
	defer c.payload.Store(false)
	return c.receive(p, c.graced)
}
