package nbd

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"
)

// report logs how a connection ended.
func (s *Server) report(log *logrus.Entry, err error) {
	var breach *protocolError
	switch {
	case err == nil:
		log.Debug("client left")
	case gone(err) || s.draining.Load():
		log.WithError(err).Debug("client left")
	case errors.As(err, &breach), errors.Is(err, errHandshakeTimeout), errors.Is(err, errRefused), errors.Is(err, errTLS):
		s.warn(log.WithError(err), "client disconnected")
	default:
		s.warn(log.WithError(err), "client could not be served")
	}
}

// gone says whether err is what a connection ends with whose client has gone,
// or that was leaving.
func gone(err error) bool {
	for _, e := range []error{
		errAborted, errShuttingDown, context.Canceled,
		io.ErrUnexpectedEOF, os.ErrDeadlineExceeded, syscall.ECONNRESET, syscall.EPIPE, syscall.ETIMEDOUT,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// warn logs something that clients can cause as often as they like.
func (s *Server) warn(log *logrus.Entry, msg string) {
	dropped, ok := s.noise.next(time.Now())
	if !ok {
		return
	}
	if dropped > 0 {
		log = log.WithField("not_logged", dropped)
	}
	log.Warn(msg)
}

// A logLimit lets this many lines through in a period.
const (
	logLines  = 10
	logPeriod = 10 * time.Second
)

// logLimit limits log lines. Its zero value is ready for use.
type logLimit struct {
	// mu guards what follows.
	mu sync.Mutex
	// since is when the present period began, lines how many have passed in
	// it, dropped how many have not since the last one that did.
	since          time.Time
	lines, dropped int
}

// next says whether a line may be logged now, and how many were not since the
// last one.
func (l *logLimit) next(now time.Time) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.since) >= logPeriod {
		l.since, l.lines = now, 0
	}
	if l.lines == logLines {
		l.dropped++
		return 0, false
	}
	l.lines++
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}
