package proc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"time"
)

// pollInterval is how often a server that does not greet yet is tried again.
const pollInterval = 5 * time.Millisecond

// greetTimeout bounds one attempt at the greeting.
const greetTimeout = 2 * time.Second

// The pieces of the fixed newstyle handshake (proto.md, "Fixed newstyle
// negotiation") that a client needs to come and leave politely.
const (
	nbdMagic    = 0x4e42444d41474943 // "NBDMAGIC"
	optMagic    = 0x49484156454f5054 // "IHAVEOPT"
	optAbort    = 2
	clientFlags = 3 // FIXED_NEWSTYLE and NO_ZEROES, as far as the server offers them
)

// awaitReady returns when every endpoint greets. It fills in the ports that
// the kernel chose.
func (s *Server) awaitReady(ctx context.Context) error {
	for i := range s.endpoints {
		if err := s.awaitEndpoint(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) awaitEndpoint(ctx context.Context, i int) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	var last error // what is wrong with the server, not that time is up
	for {
		err := s.tryEndpoint(ctx, i)
		if err == nil {
			return nil
		}
		if deadline, ok := ctx.Deadline(); last == nil || !ok || time.Now().Before(deadline) {
			last = err
		}
		select {
		case <-s.done:
			return fmt.Errorf("ended with %v before it listened on %s", s.state, s.endpoints[i])
		case <-ctx.Done():
			return fmt.Errorf("no greeting from %s: %w (last attempt: %w)", s.endpoints[i], ctx.Err(), last)
		case <-tick.C:
		}
	}
}

// tryEndpoint makes one attempt at the i-th endpoint.
func (s *Server) tryEndpoint(ctx context.Context, i int) error {
	if s.endpoints[i].anyPort() {
		e, err := s.chosenPort(i)
		if err != nil {
			return err
		}
		s.endpoints[i] = e
	}
	return greet(ctx, s.endpoints[i])
}

// greet connects, reads the server's greeting and leaves with ABORT, so that
// the server sees a client that behaves.
func greet(ctx context.Context, e Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, greetTimeout)
	defer cancel()
	conn, err := e.Dial(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return err
		}
	}

	var hello [18]byte
	if _, err := io.ReadFull(conn, hello[:]); err != nil {
		return fmt.Errorf("read greeting: %w", err)
	}
	if binary.BigEndian.Uint64(hello[0:]) != nbdMagic || binary.BigEndian.Uint64(hello[8:]) != optMagic {
		return errors.New("greeting is not that of a newstyle NBD server")
	}

	var bye [20]byte
	flags := binary.BigEndian.Uint16(hello[16:]) & clientFlags
	binary.BigEndian.PutUint32(bye[0:], uint32(flags))
	binary.BigEndian.PutUint64(bye[4:], optMagic)
	binary.BigEndian.PutUint32(bye[12:], optAbort)
	if _, err := conn.Write(bye[:]); err != nil {
		return fmt.Errorf("send abort: %w", err)
	}
	// The server acknowledges and closes; one that just closes is fine too.
	_, _ = io.Copy(io.Discard, conn)
	return nil
}
