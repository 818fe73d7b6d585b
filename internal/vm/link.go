package vm

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"scstuser/internal/vm/wire"
)

// ErrGone is what everything that needs the guest returns once it has ended,
// wrapped.
var ErrGone = errors.New("the virtual machine has ended")

// sendTimeout is how long the agent may take to take a request.
const sendTimeout = 30 * time.Second

// link is the connection to the agent.
type link struct {
	conn net.Conn

	// mu guards what follows, and is held while a request is written.
	mu      sync.Mutex
	last    uint32             // the last request's number
	pending map[uint32]handler // requests under way
	err     error              // why nothing more comes, once that is so
}

// handler gets the events of one request, in order, from one goroutine, which is
// all machine's: it must not wait. After the last one it is forgotten. When the
// connection ends before, it gets a Failed that has err.
type handler func(e wire.Event, err error)

// greet waits for the agent's greeting and returns the guest's kernel release.
// The caller then calls serve.
func greet(r *bufio.Reader) (release string, err error) {
	var e wire.Event
	if err := wire.Receive(r, &e); err != nil {
		return "", fmt.Errorf("the agent does not greet: %w", err)
	}
	if e.Kind != wire.Hello {
		return "", fmt.Errorf("the agent says %q before it greets", e.Kind)
	}
	return e.Text, nil
}

// serve takes events in until the connection ends.
func (l *link) serve(r *bufio.Reader) {
	for {
		var e wire.Event
		if err := wire.Receive(r, &e); err != nil {
			l.end(fmt.Errorf("%w: %w", ErrGone, err))
			return
		}
		l.mu.Lock()
		h := l.pending[e.ID]
		if e.Last() {
			delete(l.pending, e.ID)
		}
		l.mu.Unlock()
		if h != nil {
			h(e, nil)
		}
	}
}

// end fails all that is under way and all that comes.
func (l *link) end(err error) {
	_ = l.conn.Close()
	l.mu.Lock()
	pending := l.pending
	l.pending, l.err = nil, err
	l.mu.Unlock()
	for id, h := range pending {
		h(wire.Event{ID: id, Kind: wire.Failed, Text: err.Error()}, err)
	}
}

// send sends a request, and returns its number.
func (l *link) send(req wire.Request, h handler) (uint32, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.err != nil {
		return 0, l.err
	}
	l.last++
	req.ID = l.last
	l.pending[req.ID] = h
	err := l.conn.SetWriteDeadline(time.Now().Add(sendTimeout))
	if err == nil {
		err = wire.Send(l.conn, req)
	}
	if err != nil {
		delete(l.pending, req.ID)
		return 0, fmt.Errorf("%w: %w", ErrGone, err)
	}
	return req.ID, nil
}

// call sends a request and waits for its end. data, which may be nil, gets what
// comes before.
func (l *link) call(ctx context.Context, req wire.Request, data func([]byte)) error {
	done := make(chan error, 1)
	_, err := l.send(req, func(e wire.Event, err error) {
		switch {
		case err != nil:
			done <- err
		case e.Kind == wire.Failed:
			done <- errors.New(e.Text)
		case e.Last():
			done <- nil
		case data != nil:
			data(e.Data)
		}
	})
	if err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
