package handlers_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/scsi"
	"scstuser/ucmd"
)

// Rule R28: a refused reply does not hold up the others, and loses no buffer.
func TestR28RefusedReplies(t *testing.T) {
	read := func(h uint32) ucmd.Subcommand {
		return execSub(h, func(s *ucmd.Subcommand) { s.Dir, s.BufLen, s.AllocLen = scsi.DirRead, 512, 4096 })
	}
	for name, refuse := range map[string]map[uint32]error{
		"none":           {},
		"the first":      {0: syscall.ESRCH},
		"the last":       {4: syscall.EINVAL},
		"two in a row":   {1: syscall.ESRCH, 2: syscall.EINVAL},
		"all":            {0: syscall.EINVAL, 1: syscall.ESRCH, 2: syscall.ESRCH, 3: syscall.ESRCH, 4: syscall.EINVAL},
		"wrapped errors": {0: errors.Join(errors.New("refused"), syscall.ESRCH)},
	} {
		for way, h := range ways(func(r *handlers.Request) { r.RespLen = 1 }) {
			t.Run(name+"/"+way, func(t *testing.T) {
				p := newFakePort(t, subs(read(0), read(1), read(2), read(3), read(4)))
				p.refuse = refuse
				a := serveFake(t, p, h, handlers.Options{Multi: 5})
				seen := map[uint32]int{}
				for range 5 {
					seen[p.reply().Handle]++
				}
				p.steps <- subs(execSub(9, nil)) // and it goes on
				if r := p.reply(); r.Handle != 9 {
					t.Errorf("another reply for %d", r.Handle)
				}
				for handle := range uint32(5) {
					if seen[handle] != 1 {
						t.Errorf("%d replies for %d", seen[handle], handle)
					}
				}
				if got, want := a.Stats().Live, int64(5-len(refuse)); got != want {
					t.Errorf("I3: %d buffers are live, want the %d that the port has", got, want)
				}
			})
		}
	}
}

// After EFAULT the port has taken the buffer: it is only the sense that it could
// not read (fact 37).
func TestRefusedWithEFAULTKeepsTheBuffer(t *testing.T) {
	p := newFakePort(t, subs(ucmd.Subcommand{Handle: 1, Code: ucmd.SubAllocMem, AllocLen: 4096}), subs(execSub(2, nil)))
	p.refuse[1] = syscall.EFAULT
	a := serveFake(t, p, handler{}, handlers.Options{})
	p.reply()
	p.reply()
	if a.Stats().Live != 1 {
		t.Error("a buffer that may be in use was freed")
	}
}

// How a fetch fails decides how Serve goes on.
func TestFetchErrors(t *testing.T) {
	broken := syscall.EBADF
	for _, tc := range []struct {
		name  string
		steps []step
		o     handlers.Options
		want  error // nil: Serve returns nil
	}{
		{"R24: a signal", []step{fails(syscall.EINTR), subs(execSub(1, nil)), fails(syscall.EAGAIN)}, handlers.Options{}, nil},
		{"R70: the device goes", []step{subs(execSub(1, nil)), fails(syscall.EAGAIN)}, handlers.Options{}, nil},
		{"a broken port", []step{subs(execSub(1, nil)), fails(broken)}, handlers.Options{}, broken},
		{"R29: an error with commands", []step{{subs: []ucmd.Subcommand{execSub(1, nil)}, err: syscall.EFAULT}, fails(broken)}, handlers.Options{}, broken},
		{"non-blocking: EAGAIN is nothing yet", []step{fails(syscall.EAGAIN), fails(syscall.EAGAIN), subs(execSub(1, nil)), fails(broken)},
			handlers.Options{NonBlocking: true, PollInterval: time.Microsecond}, broken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newFakePort(t, tc.steps...)
			tc.o.Arena, tc.o.Threads = arena.New(arena.Options{}), 1
			served := make(chan error, 1)
			go func() { served <- handlers.Serve(context.Background(), p, handler{}, tc.o) }()
			err := recv(t, served, "Serve to return")
			if tc.want == nil && err != nil || tc.want != nil && !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
			if r := p.reply(); r.Handle != 1 {
				t.Errorf("the command was not answered: %+v", r)
			}
		})
	}
}

// One getter's error ends the others, and Serve tells it.
func TestOneGetterFails(t *testing.T) {
	p := newFakePort(t, fails(syscall.EBADF))
	err := handlers.Serve(context.Background(), p, handler{}, handlers.Options{Arena: arena.New(arena.Options{}), Threads: 5})
	if !errors.Is(err, syscall.EBADF) || !strings.Contains(err.Error(), "fetch the next subcommand") {
		t.Errorf("got %v", err)
	}
}

// The replies of the last batch are given when Serve ends, and nothing more is
// fetched, however much there is.
func TestEndWithABusyPort(t *testing.T) {
	for way, h := range ways(nil) {
		t.Run(way, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			p := newFakePort(t)
			var execs atomic.Int32
			exec := func(*handlers.Request) {
				if execs.Add(1) == 3 {
					cancel()
				}
				p.steps <- subs(execSub(7, nil)) // always something to do
			}
			switch h.(type) {
			case handler:
				h = handler{exec}
			default:
				h = ways(exec)[way]
			}
			p.steps <- subs(execSub(7, nil))
			served := make(chan error, 1)
			go func() {
				served <- handlers.Serve(ctx, p, h, handlers.Options{Arena: arena.New(arena.Options{}), Threads: 1, Multi: 1})
			}()
			if err := recv(t, served, "Serve to return"); err != nil {
				t.Error(err)
			}
			// What was fetched was answered: a fetch that had begun may have
			// brought one more.
			if n := int(execs.Load()); len(p.got) != n || n > 4 {
				t.Errorf("%d commands were carried out and %d answered", n, len(p.got))
			}
		})
	}
}

// A refused reply at the end does not keep the others back either.
func TestEndWithARefusedReply(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	p := newFakePort(t, subs(execSub(0, nil), execSub(1, nil), execSub(2, nil)))
	p.refuse[0], p.refuse[1] = syscall.ESRCH, syscall.ESRCH
	err := handlers.Serve(ctx, p, handler{func(*handlers.Request) { cancel() }},
		handlers.Options{Arena: arena.New(arena.Options{}), Threads: 1, Multi: 3})
	if err != nil || len(p.got) != 3 {
		t.Errorf("%d replies, %v", len(p.got), err)
	}
}

// Options.Multi is what a fetch may bring; its default depends on the handler.
func TestMulti(t *testing.T) {
	for _, tc := range []struct {
		name  string
		h     handlers.Handler
		multi int
		want  int
	}{
		{"one that may wait would hold up the others", handler{}, 0, 1},
		{"a Trier", always(func(*handlers.Request) {}), 0, 32},
		{"asked for", handler{}, 5, 5},
		{"asked for one", always(func(*handlers.Request) {}), 1, 1},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newFakePort(t)
			serveFake(t, p, tc.h, handlers.Options{Multi: tc.multi})
			if got := recv(t, p.asked, "a fetch"); got != tc.want {
				t.Errorf("a fetch of %d, want %d", got, tc.want)
			}
		})
	}
}

// With one thread, and a handler that is no Trier, calls come one at a time.
func TestOneAtATime(t *testing.T) {
	var inside atomic.Int32
	p := newFakePort(t)
	for i := range uint32(20) {
		p.steps <- subs(execSub(2*i, nil), execSub(2*i+1, nil))
	}
	serveFake(t, p, handler{func(*handlers.Request) {
		if inside.Add(1) != 1 {
			t.Error("two calls at a time")
		}
		time.Sleep(10 * time.Microsecond)
		inside.Add(-1)
	}}, handlers.Options{Threads: 1, Multi: 2})
	for range 40 {
		p.reply()
	}
}

// With more threads, that many run side by side, on a port of any kind.
func TestThreads(t *testing.T) {
	const threads = 4
	for way := range ways(nil) {
		if way == "tried" {
			continue // does not wait
		}
		t.Run(way, func(t *testing.T) {
			inside, leave := make(chan uint32, 10), make(chan struct{})
			h := ways(func(r *handlers.Request) {
				inside <- r.Sub.Handle
				<-leave
			})[way]
			p := newFakePort(t)
			for i := range uint32(threads + 2) {
				p.steps <- subs(execSub(i, nil))
			}
			serveFake(t, p, h, handlers.Options{Threads: threads, Multi: 1})
			for range threads {
				recv(t, inside, "a call of Exec")
			}
			select {
			case h := <-inside:
				t.Errorf("%d is in Exec as well", h)
			case <-time.After(20 * time.Millisecond):
			}
			close(leave)
			for range threads + 2 {
				p.reply()
			}
		})
	}
}

func TestServeNeedsAnArena(t *testing.T) {
	err := handlers.Serve(context.Background(), newFakePort(t), handler{}, handlers.Options{})
	if err == nil || !strings.Contains(err.Error(), "Options.Arena") {
		t.Errorf("got %v", err)
	}
}

// A device whose buffers would never come back is refused at once.
func TestR61BuffersThatNobodySpeaksOf(t *testing.T) {
	for reuse := ucmd.ReuseNone; reuse <= ucmd.ReuseAll; reuse++ {
		r := newRig(t, nil, rigConfig{noServe: true, opt: func(o *ucmd.Opt) {
			o.OnFree, o.Reuse = uint8(ucmd.OnFreeIgnore), uint8(reuse)
		}})
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		err := handlers.Serve(ctx, r.dev, handler{}, handlers.Options{Arena: r.arena})
		if refused := err != nil && strings.Contains(err.Error(), "on_free"); refused != (reuse != ucmd.ReuseAll) {
			t.Errorf("reuse %d: %v", reuse, err)
		}
		r.release()
	}
}

// Inline takes a Trier and a port that can; otherwise getters do the work.
func TestInlineWithoutATrier(t *testing.T) {
	for name, h := range map[string]handlers.Handler{"no Trier": handler{}, "no InlinePort": always(func(*handlers.Request) {})} {
		t.Run(name, func(t *testing.T) {
			if r := exchange(t, h, handlers.Options{Inline: true}, execSub(1, nil))[1]; r.Status != scsi.Good {
				t.Errorf("got %+v", r)
			}
		})
	}
}
