package handlers_test

import (
	"context"
	"fmt"
	"syscall"
	"testing"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/ucmd"
)

// fakePort is a Port that follows a script: one step for each fetch. It checks
// that Serve keeps its side: one reply for each subcommand, no fetch after the
// end.
type fakePort struct {
	t testing.TB
	// steps are what the fetches get, in order; when there are no more, the
	// fetch waits for its context.
	steps chan step
	// refuse says with which error the reply to a handle is refused.
	refuse map[uint32]error
	// got are the replies that were taken or refused, in order.
	got chan ucmd.Reply
	// asked are the lengths of the fetches.
	asked chan int
}

// step is what one fetch gets.
type step struct {
	subs []ucmd.Subcommand
	err  error
}

func newFakePort(t testing.TB, steps ...step) *fakePort {
	p := &fakePort{
		t: t, steps: make(chan step, 100), refuse: map[uint32]error{},
		got: make(chan ucmd.Reply, 100), asked: make(chan int, 10000),
	}
	for _, s := range steps {
		p.steps <- s
	}
	return p
}

// subs is a step that delivers subcommands.
func subs(s ...ucmd.Subcommand) step { return step{subs: s} }

// fails is a step that delivers nothing.
func fails(err error) step { return step{err: err} }

func (p *fakePort) ReplyAndGet(ctx context.Context, replies []ucmd.Reply, subs []ucmd.Subcommand) (done, n int, err error) {
	for i := range replies {
		r := replies[i]
		r.Sense = append([]byte(nil), r.Sense...) // read before this returns
		p.got <- r
		if err := p.refuse[r.Handle]; err != nil {
			return i, 0, err
		}
	}
	if len(subs) == 0 {
		return len(replies), 0, nil
	}
	p.asked <- len(subs)
	select {
	case s := <-p.steps:
		return len(replies), copy(subs, s.subs), s.err
	case <-ctx.Done():
		return len(replies), 0, syscall.EINTR
	}
}

// reply waits for the next reply.
func (p *fakePort) reply() ucmd.Reply {
	p.t.Helper()
	return recv(p.t, p.got, "a reply")
}

// serveFake serves a port with one getter until the test ends.
func serveFake(t testing.TB, p handlers.Port, h handlers.Handler, o handlers.Options) *arena.Arena {
	t.Helper()
	if o.Arena == nil {
		o.Arena = arena.New(arena.Options{})
	}
	if o.Threads == 0 {
		o.Threads = 1
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- handlers.Serve(ctx, p, h, o) }()
	t.Cleanup(func() {
		cancel()
		if err := recv(t, served, "Serve to return"); err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	return o.Arena
}

// exchange serves one batch of subcommands and returns the replies by handle.
func exchange(t testing.TB, h handlers.Handler, o handlers.Options, batch ...ucmd.Subcommand) map[uint32]ucmd.Reply {
	t.Helper()
	p := newFakePort(t, subs(batch...))
	if o.Multi == 0 {
		o.Multi = len(batch)
	}
	serveFake(t, p, h, o)
	got := map[uint32]ucmd.Reply{}
	for range batch {
		r := p.reply()
		if _, twice := got[r.Handle]; twice {
			t.Errorf("two replies for %d", r.Handle)
		}
		got[r.Handle] = r
	}
	for _, s := range batch {
		if r := got[s.Handle]; r.Code != s.Code {
			t.Errorf("the reply to %v h=%d is one to %v", s.Code, s.Handle, r.Code)
		}
	}
	return got
}

// handler is a Handler made of functions; those that are nil do nothing.
type handler struct {
	exec func(*handlers.Request)
}

func (h handler) Exec(r *handlers.Request) {
	if h.exec != nil {
		h.exec(r)
	}
}

// trier is a handler that is a Trier.
type trier struct {
	handler
	try func(*handlers.Request) bool
}

func (h trier) TryExec(r *handlers.Request) bool { return h.try(r) }

// always is a Trier's answer when nothing of it waits.
func always(exec func(*handlers.Request)) trier {
	return trier{handler{exec}, func(r *handlers.Request) bool { exec(r); return true }}
}

// never is the answer of one that might always wait.
func never(exec func(*handlers.Request)) trier {
	return trier{handler{exec}, func(*handlers.Request) bool { return false }}
}

// ways are the ways in which a command comes to a handler's Exec.
func ways(exec func(*handlers.Request)) map[string]handlers.Handler {
	return map[string]handlers.Handler{
		"getter": handler{exec}, "tried": always(exec), "handed off": never(exec),
	}
}

func execSub(h uint32, change func(*ucmd.Subcommand)) ucmd.Subcommand {
	s := ucmd.Subcommand{Handle: h, Code: ucmd.SubExec, CDBLen: 6}
	if change != nil {
		change(&s)
	}
	return s
}

// failure is a comparable form of a failed reply.
func failure(r ucmd.Reply) string { return fmt.Sprintf("%v % x", r.Status, r.Sense) }
