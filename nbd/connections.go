package nbd

// Connections returns how many clients are connected, those included that still
// negotiate, and how many there can be.
func (s *Server) Connections() (now, limit int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients), s.opt.MaxConnections
}
