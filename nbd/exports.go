package nbd

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrDuplicateExport is returned for a name that is taken.
var ErrDuplicateExport = errors.New("an export of that name exists")

// AddExport attaches to a device and offers it to clients. The first export is
// the default export too. ctx bounds the questions to the device.
func (s *Server) AddExport(ctx context.Context, cfg ExportConfig) (*Export, error) {
	if err := s.reserve(cfg.Name); err != nil {
		return nil, fmt.Errorf("export %q: %w", cfg.Name, err)
	}
	e, err := newExport(ctx, cfg, &s.opt)
	if err != nil {
		s.offer(cfg.Name, nil)
		return nil, fmt.Errorf("export %q: %w", cfg.Name, err)
	}
	if !s.offer(cfg.Name, e) {
		_ = e.close(ctx)
		return nil, fmt.Errorf("export %q: %w", cfg.Name, ErrServerClosed)
	}
	return e, nil
}

// reserve takes a name: questions to a device can take long.
func (s *Server) reserve(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		return ErrServerClosed
	}
	_, adding := s.adding[name]
	if adding || slices.ContainsFunc(s.exports, func(e *Export) bool { return e.name == name }) {
		return ErrDuplicateExport
	}
	s.adding[name] = struct{}{}
	return nil
}

// offer puts an export under its reserved name; nil: there is none. false: the
// server is shutting down.
func (s *Server) offer(name string, e *Export) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.adding, name)
	if s.draining.Load() {
		return false
	}
	if e != nil {
		s.exports = append(s.exports, e)
	}
	return true
}

// RemoveExport takes an export away from new clients and leaves its device, for
// as long as ctx lets it. Clients that use it go on until they leave or the
// device is released; they do not hear of changes of its size any more.
func (s *Server) RemoveExport(ctx context.Context, e *Export) error {
	s.mu.Lock()
	s.exports = slices.DeleteFunc(s.exports, func(x *Export) bool { return x == e })
	s.mu.Unlock()
	if err := e.close(ctx); err != nil {
		return fmt.Errorf("remove export %q: %w", e.name, err)
	}
	return nil
}

// lookup implements exportTable.
func (s *Server) lookup(name string) (exportRef, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.exports {
		if e.name == name {
			return e, true
		}
	}
	if name == "" && len(s.exports) > 0 {
		return s.exports[0], true
	}
	return nil, false
}

// list implements exportTable.
func (s *Server) list() []ExportInfo {
	s.mu.Lock()
	exports := slices.Clone(s.exports)
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

var _ exportTable = (*Server)(nil)
