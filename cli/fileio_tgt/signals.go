package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// control is what signals act on while devices are served. Its methods may be
// called from any goroutine.
type control interface {
	// Resize looks at the size of every file again and announces what has
	// changed to the initiators. It logs what it finds.
	Resize()
	// Shutdown takes no new command, answers those in flight, releases the
	// devices and removes the sockets; serve then returns. When ctx ends it
	// cuts what is left and says so in its error.
	Shutdown(ctx context.Context) error
}

// handledSignals are the signals that signalLoop knows.
var handledSignals = []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGUSR1, syscall.SIGHUP}

// startControl stands in for the control that serve makes, until there is one.
type startControl struct {
	// abort ends a start that is under way.
	abort context.CancelFunc

	mu       sync.Mutex // guards what follows; not held during the target's methods
	target   control    // nil until set
	stopping bool       // Shutdown was called
}

var _ control = (*startControl)(nil)

// set makes signals act on target. If a shutdown was asked for earlier, abort
// has reached serve by another way.
func (s *startControl) set(target control) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.target = target
}

// Resize implements control. Before the start is over there is nothing to do:
// the sizes have just been read.
func (s *startControl) Resize() {
	s.mu.Lock()
	target := s.target
	s.mu.Unlock()
	if target != nil {
		target.Resize()
	}
}

// Shutdown implements control.
func (s *startControl) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.stopping = true
	target := s.target
	s.mu.Unlock()
	if target == nil {
		s.abort()
		return nil
	}
	return target.Shutdown(ctx)
}

// wasStopped says that Shutdown has been called.
func (s *startControl) wasStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopping
}

// signalLoop turns signals into calls.
type signalLoop struct {
	log    *logrus.Logger
	ctl    control
	reopen func() error // opens the log file anew
	drain  time.Duration
	exit   func(status int) // ends the process
	// service is told of what is done.
	service *service

	down     bool
	shutdown chan error // takes the outcome of the one Shutdown
}

// run handles signals until done is closed, which says that serve has returned.
// It returns the outcome of Shutdown if that was called.
func (l *signalLoop) run(signals <-chan os.Signal, done <-chan struct{}) error {
	l.shutdown = make(chan error, 1)
	for {
		select {
		case sig := <-signals:
			l.handle(sig)
		case <-done:
			if !l.down {
				return nil
			}
			return <-l.shutdown
		}
	}
}

func (l *signalLoop) handle(sig os.Signal) {
	switch sig {
	case syscall.SIGHUP:
		l.service.reload(func() {
			if err := l.reopen(); err != nil {
				l.log.WithError(err).Error("the old log file stays in use")
			}
			if r, ok := l.ctl.(reloader); ok {
				r.Reload()
			}
		})
	case syscall.SIGUSR1:
		l.ctl.Resize()
	default:
		l.stop(sig)
	}
}

// stop starts the shutdown, or ends the process if that was asked for before.
func (l *signalLoop) stop(sig os.Signal) {
	if l.down {
		l.log.WithField("signal", sig).Warn("second signal: exiting without waiting for commands in flight")
		l.exit(exitFailure)
		return
	}
	l.down = true
	l.service.stopping()
	l.log.WithField("signal", sig).Info("finishing the commands in flight; a second signal exits at once")
	go func() { l.shutdown <- l.drainAndStop() }()
}

// drainAndStop gives Shutdown as long as the drain may take.
func (l *signalLoop) drainAndStop() error {
	ctx := context.Background()
	if l.drain > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.drain)
		defer cancel()
	}
	err := l.ctl.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("not everything was finished within --drain_timeout %s: %w", compactDuration(l.drain), err)
	}
	return err
}
