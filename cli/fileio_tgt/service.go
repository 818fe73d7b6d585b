package main

import (
	"sync"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/internal/systemd"
)

// reloader is a control that has settings to read again.
type reloader interface {
	// Reload reads them, and logs what it finds.
	Reload()
}

// pinger is a control that can be asked whether it hangs.
type pinger interface {
	// Ping returns, unless it does.
	Ping()
}

// Reload implements reloader. Before the start is over there is nothing to do:
// everything has just been read.
func (s *startControl) Reload() {
	s.mu.Lock()
	target := s.target
	s.mu.Unlock()
	if r, ok := target.(reloader); ok {
		r.Reload()
	}
}

// Ping implements pinger.
func (s *startControl) Ping() {
	s.mu.Lock()
	target := s.target
	s.mu.Unlock()
	if p, ok := target.(pinger); ok {
		p.Ping()
	}
}

// service tells the service manager what becomes of us. What can't be told is
// logged, and changes nothing.
type service struct {
	log    *logrus.Logger
	notify *systemd.Notifier // nil: nobody wants to know
	// mu guards status, what ready told; "": it has not been called.
	mu     sync.Mutex
	status string
}

func (s *service) tell(err error) {
	if err != nil {
		s.log.WithError(err).Warn("the service manager is not told")
	}
}

// ready tells that clients can connect.
func (s *service) ready(status string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
	s.tell(s.notify.Ready(status))
}

// reload does what SIGHUP asks for.
func (s *service) reload(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status == "" { // a reload does not end the start
		do()
		return
	}
	s.tell(s.notify.Reloading())
	do()
	s.tell(s.notify.Ready(s.status))
}

// stopping tells that the end has begun.
func (s *service) stopping() { s.tell(s.notify.Stopping()) }

// watchdog tells again and again that we don't hang, until done is closed: a
// ping that does not come back is what the manager waits for. The ping runs
// here, so it keeps nothing else waiting.
func (s *service) watchdog(p pinger, done <-chan struct{}) {
	every := s.notify.Watchdog() / 2
	if every <= 0 {
		return
	}
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-t.C:
		case <-done:
			return
		}
		p.Ping()
		s.tell(s.notify.Alive())
	}
}
