package vm

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"scstuser/internal/vm/wire"
)

// fakeGuest is a machine without QEMU, and the agent's end of its connection.
func fakeGuest(t *testing.T) (*Machine, net.Conn) {
	t.Helper()
	ours, agent := net.Pipe()
	must(t, agent.SetDeadline(time.Now().Add(30*time.Second)))
	m := &Machine{link: &link{conn: ours, pending: make(map[uint32]handler)}}
	m.events.Go(func() { m.link.serve(bufio.NewReader(ours)) })
	t.Cleanup(func() {
		agent.Close()
		m.events.Wait()
	})
	return m, agent
}

// answers lets the agent's end hear one request and answer it with events.
func answers(t *testing.T, agent net.Conn, events ...wire.Event) chan wire.Request {
	t.Helper()
	heard := make(chan wire.Request, 1)
	go func() {
		var req wire.Request
		if err := wire.Receive(agent, &req); err != nil {
			t.Errorf("the agent: %v", err)
		}
		for _, e := range events {
			e.ID = req.ID
			if err := wire.Send(agent, e); err != nil {
				t.Errorf("the agent: %v", err)
			}
		}
		heard <- req
	}()
	return heard
}

func TestGreet(t *testing.T) {
	for _, tc := range []struct {
		said []wire.Event
		want string // of the error
	}{
		{[]wire.Event{{Kind: wire.Hello, Text: "6.1.0"}}, ""},
		{[]wire.Event{{Kind: wire.Done}}, `says "done" before it greets`},
		{nil, "does not greet"},
	} {
		var b bytes.Buffer
		for _, e := range tc.said {
			must(t, wire.Send(&b, e))
		}
		release, err := greet(bufio.NewReader(&b))
		switch {
		case tc.want == "" && (err != nil || release != "6.1.0"):
			t.Errorf("%q, %v", release, err)
		case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%v, want %q", err, tc.want)
		}
	}
}

func TestRunResults(t *testing.T) {
	m, agent := fakeGuest(t)
	heard := answers(t, agent,
		wire.Event{Kind: wire.Stdout, Data: []byte("a")}, wire.Event{Kind: wire.Stderr, Data: []byte("b")},
		wire.Event{Kind: wire.Stdout, Data: []byte("c")}, wire.Event{Kind: wire.Exit, Status: 3})
	var both strings.Builder
	r, err := m.Run(t.Context(), Command{Args: []string{"x", "y"}, Dir: "/d", Output: &both})
	var status *StatusError
	if !errors.As(err, &status) || r.Status != 3 || r.Stdout != "ac" || r.Stderr != "b" || both.String() != "abc" {
		t.Errorf("%+v, %v, %q", r, err, both.String())
	}
	if req := <-heard; req.Op != wire.Run || req.Command.Args[1] != "y" || req.Command.Dir != "/d" {
		t.Errorf("the agent heard %+v", req)
	}
	answers(t, agent, wire.Event{Kind: wire.Failed, Text: "no such file"})
	if _, err := m.Run(t.Context(), Command{Args: []string{"x"}}); err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Errorf("%v", err)
	}
}

// A command whose context ends is killed, and Run returns when it is dead.
func TestRunIsKilled(t *testing.T) {
	m, agent := fakeGuest(t)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		var run, kill wire.Request
		if err := errors.Join(wire.Receive(agent, &run), wire.Receive(agent, &kill)); err != nil {
			t.Error(err)
		}
		if kill.Op != wire.Signal || kill.Target != run.ID || kill.Signal != 9 {
			t.Errorf("the agent heard %+v", kill)
		}
		if err := errors.Join(wire.Send(agent, wire.Event{ID: kill.ID, Kind: wire.Done}),
			wire.Send(agent, wire.Event{ID: run.ID, Kind: wire.Exit, Status: 137})); err != nil {
			t.Error(err)
		}
	}()
	r, err := m.Run(ctx, Command{Args: []string{"sleep"}})
	if !errors.Is(err, context.DeadlineExceeded) || r.Status != 137 {
		t.Errorf("%+v, %v", r, err)
	}
	<-done
}

// Whatever waits for a machine that ends is told, and what comes later, too.
func TestTheMachineEnds(t *testing.T) {
	m, agent := fakeGuest(t)
	go func() {
		var req wire.Request
		_ = wire.Receive(agent, &req)
		agent.Close()
	}()
	if _, err := m.ReadFile(t.Context(), "/x"); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	if err := m.WriteFile(t.Context(), "/x", nil, 0o600); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
	if _, err := m.Start(Command{Args: []string{"x"}}); !errors.Is(err, ErrGone) {
		t.Errorf("%v", err)
	}
}

// What is kept of an endless output is its end.
func TestOutputIsBounded(t *testing.T) {
	var b safeBuffer
	w := tee{kept: &b}
	part := []byte(strings.Repeat("x", 1<<20))
	for range 6 {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Write([]byte("end")); err != nil {
		t.Fatal(err)
	}
	if s := b.String(); len(s) != maxKept || !strings.HasSuffix(s, "xend") {
		t.Errorf("%d bytes are kept, ending in %q", len(s), s[len(s)-4:])
	}
}
