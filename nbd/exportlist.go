package nbd

import "slices"

// Exports returns the exports that are offered now, in the order in which they
// were added.
func (s *Server) Exports() []*Export {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.exports)
}
