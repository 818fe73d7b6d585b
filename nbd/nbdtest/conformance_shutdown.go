package nbdtest

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"testing"
	"time"
)

// Running is a server that a check of [ConformanceShutdown] shuts down.
type Running struct {
	// Dial connects to it.
	Dial func(t testing.TB) *Conn
	// Stall makes the next READ that reaches the export's backing wait there.
	// held is closed when it has arrived; release lets it go on.
	Stall func() (held <-chan struct{}, release func())
	// Shutdown begins the shutdown and returns at once: from then on new
	// commands are refused.
	Shutdown func()
	// Stopped is closed when the shutdown is over.
	Stopped <-chan struct{}
	// Patience is how long a shutdown may take in which clients have to be cut
	// off. Default 40 s.
	Patience time.Duration
	// Socket is the path of the unix socket that it listens on, if it does.
	Socket string
}

// ConformanceShutdown runs the checks of row 26 as subtests. Each calls start
// for a server of its own, with an export as want describes it, in each of the
// modes that want names.
func ConformanceShutdown(t *testing.T, start func(t testing.TB) Running, want Expect) {
	if len(want.Modes) == 0 {
		conformanceShutdown(t, start, want)
	}
	for _, m := range want.Modes {
		t.Run(m.String(), func(t *testing.T) { conformanceShutdown(t, start, want.in(m)) })
	}
}

func conformanceShutdown(t *testing.T, start func(t testing.TB) Running, want Expect) {
	for _, c := range shutdownChecks {
		t.Run(c.name, func(t *testing.T) {
			srv := start(t)
			c.run(&suite{TB: t, dial: srv.Dial, want: want}, srv)
		})
	}
}

// shutdownChecks are row 26.
var shutdownChecks = []struct {
	name string
	run  func(s *suite, srv Running)
}{
	{"Row26InFlightIsAnsweredAndNewIsRefused", func(s *suite, srv Running) {
		c := s.open()
		flight := s.inFlight(c, srv)
		srv.Shutdown()
		for _, r := range s.commands() {
			if _, errno := c.Do(r); errno != ESHUTDOWN {
				s.Errorf("%s during shutdown: %v, want ESHUTDOWN", commandName(r.Type), errno)
			}
		}
		s.stillUp(srv)
		flight.land()
		c.ExpectClosed()
		s.stops(srv)
	}},

	{"Row26HagglingClientsGetErrShutdown", func(s *suite, srv Running) {
		c, lister, goer, aborter := s.open(), s.haggle(), s.haggle(), s.haggle()
		lister.List() // so that the server is known to wait for an option
		goer.List()
		aborter.List()
		flight := s.inFlight(c, srv)
		srv.Shutdown()

		lister.SendOption(OptList, nil)
		goer.SendOption(OptGo, InfoData(s.want.Export))
		aborter.SendOption(OptAbort, nil)
		lister.ExpectOptionReply(OptList, RepErrShutdown)
		goer.ExpectOptionReply(OptGo, RepErrShutdown)
		aborter.ExpectOptionReply(OptAbort, RepAck)
		for _, c := range []*Conn{lister, goer, aborter} {
			c.ExpectClosed()
		}
		flight.land()
		s.stops(srv)
	}},

	{"Row26IdleClientsDoNotHoldIt", func(s *suite, srv Running) {
		silent, haggling, served := s.connect(), s.haggle(), s.open()
		silent.Greet()
		haggling.List()
		s.alive(served)
		srv.Shutdown()
		s.stops(srv)
		for _, c := range []*Conn{silent, haggling, served} {
			c.ExpectClosed()
		}
	}},

	// A client that does not read its replies, or stops in the middle of a
	// payload, does not hold it for ever either.
	{"Row26StuckClientsDoNotHoldIt", func(s *suite, srv Running) {
		deaf, half := s.open(), s.open()
		r := Request{Type: CmdRead, Length: 512 << 10}
		deaf.SendRequests(r, r, r, r, r, r, r, r, r, r, r, r, r, r, r, r)
		half.SendRequests(Request{Type: CmdWrite, Length: 64 << 10, Payload: make([]byte, 1000)})
		s.alive(s.open())
		srv.Shutdown()
		s.stops(srv)
	}},

	{"Row26SocketIsRemoved", func(s *suite, srv Running) {
		s.alive(s.open())
		srv.Shutdown()
		s.stops(srv)
		if srv.Socket == "" {
			return
		}
		if _, err := os.Lstat(srv.Socket); !errors.Is(err, fs.ErrNotExist) {
			s.Errorf("the socket's file after the shutdown: %v", err)
		}
	}},
}

// flight is a READ that the backing holds.
type flight struct {
	s       *suite
	c       *Conn
	request Request
	release func()
}

// inFlight sends a READ on c and returns when the backing holds it.
func (s *suite) inFlight(c *Conn, srv Running) *flight {
	s.Helper()
	held, release := srv.Stall()
	release = sync.OnceFunc(release)
	s.Cleanup(release) // a server with a command in flight may not stop
	f := &flight{s: s, c: c, request: Request{Type: CmdRead, Cookie: 0xf119117, Length: s.unit()}, release: release}
	if chunked(s.want) {
		f.request.Flags = CmdFlagDF // a hole would not be read
	}
	c.SendRequests(f.request)
	select {
	case <-held:
	case <-time.After(c.Timeout):
		s.Fatal("the READ does not reach the backing")
	}
	return f
}

// land releases the READ, which has to be answered with its data.
func (f *flight) land() {
	f.s.Helper()
	f.release()
	if _, errno := f.c.answer(f.request); errno != OK {
		f.s.Errorf("READ that was in flight when the shutdown began: %v", errno)
	}
}

// stillUp requires that the shutdown is not over.
func (s *suite) stillUp(srv Running) {
	s.Helper()
	select {
	case <-srv.Stopped:
		s.Fatal("the shutdown is over, with a command in flight")
	default:
	}
}

// stops requires that the shutdown ends.
func (s *suite) stops(srv Running) {
	s.Helper()
	patience := srv.Patience
	if patience == 0 {
		patience = 2 * DefaultTimeout
	}
	select {
	case <-srv.Stopped:
	case <-time.After(patience):
		s.Fatal("the shutdown does not end")
	}
}
