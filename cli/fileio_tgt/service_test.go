package main

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/internal/systemd"
)

// newService returns a service and what its manager hears.
func newService(t *testing.T, watchdog string) (*service, func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "n")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: path})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { manager.Close() })
	t.Setenv("NOTIFY_SOCKET", path)
	t.Setenv("WATCHDOG_USEC", watchdog)
	n, err := systemd.NewNotifier()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	log := logrus.New()
	log.SetOutput(io.Discard)
	return &service{log: log, notify: n}, func() string {
		_ = manager.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		b := make([]byte, 1000)
		n, err := manager.Read(b)
		if os.IsTimeout(err) {
			return ""
		}
		return string(b[:n])
	}
}

// A SIGHUP during the start must not make the manager believe that the start is
// over.
func TestReloadDuringTheStart(t *testing.T) {
	s, heard := newService(t, "")
	done := 0
	s.reload(func() { done++ })
	if said := heard(); said != "" || done != 1 {
		t.Errorf("%q, %d reloads", said, done)
	}
	s.ready("up")
	if said := heard(); said != "READY=1\nSTATUS=up" {
		t.Errorf("%q", said)
	}
	s.reload(func() { done++ })
	if a, b := heard(), heard(); len(a) < 11 || a[:11] != "RELOADING=1" || b != "READY=1\nSTATUS=up" || done != 2 {
		t.Errorf("%q, %q, %d reloads", a, b, done)
	}
}

// stuck is a control that hangs from the n-th ping on.
type stuck struct {
	left    atomic.Int32
	release chan struct{}
}

func (s *stuck) Ping() {
	if s.left.Add(-1) < 0 {
		<-s.release
	}
}

// The manager hears nothing of a server that hangs.
func TestWatchdogOfAServerThatHangs(t *testing.T) {
	s, heard := newService(t, "20000")
	p := &stuck{release: make(chan struct{})}
	p.left.Store(3)
	done, over := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(over)
		s.watchdog(p, done)
	}()
	for range 3 {
		if said := heard(); said != "WATCHDOG=1" {
			t.Errorf("%q", said)
		}
	}
	if said := heard(); said != "" {
		t.Errorf("%q of a server that hangs", said)
	}
	close(done)
	close(p.release)
	<-over
}
