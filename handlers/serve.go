package handlers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"scstuser/handlers/arena"
	"scstuser/ucmd"
)

// Options are the settings of Serve.
type Options struct {
	// Arena is where the data buffers come from. Required.
	Arena *arena.Arena
	// Threads is how many goroutines get and carry out subcommands; default 7.
	Threads int
	// Multi is how many subcommands one call may fetch; default 32, 1: one
	// at a time, as REPLY_AND_GET_CMD does.
	Multi int
	// Inline lets a port that can do so run what does not wait at once.
	Inline bool
	// NonBlocking: the port never waits; look again after PollInterval.
	NonBlocking bool
	// PollInterval is for NonBlocking; default 1 ms.
	PollInterval time.Duration
	// BlockSize is for the standard parse of a device registered with parse
	// "call" whose Handler is no Parser; default 512.
	BlockSize uint32
}

// EnsureDefaults fills in what was left zero.
func (o *Options) EnsureDefaults() {
	if o.Threads <= 0 {
		o.Threads = 7
	}
	if o.Multi <= 0 {
		o.Multi = 32
	}
	if o.PollInterval <= 0 {
		o.PollInterval = time.Millisecond
	}
	if o.BlockSize == 0 {
		o.BlockSize = 512
	}
}

// handoffLen is how many subcommands wait for a worker before the goroutine
// that brings the next one carries it out itself.
const handoffLen = 1024

// Serve carries out the subcommands of port with h until ctx ends, and then
// returns nil when every call of h has returned; or with an error that the
// port reported. The caller releases the device afterwards.
func Serve(ctx context.Context, port Port, h Handler, o Options) error {
	o.EnsureDefaults()
	if o.Arena == nil {
		return errors.New("handlers: Serve needs an arena for its buffers")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{port: port, h: h, o: o, handoff: make(chan ucmd.Subcommand, handoffLen)}
	s.trier, _ = h.(Trier)
	s.parser, _ = h.(Parser)
	s.dsense, _ = h.(interface{ DSense() bool })

	getters := o.Threads
	inline, ok := port.(InlinePort)
	ok = ok && o.Inline && s.trier != nil
	if ok {
		getters = 1 // only for what no connection's goroutine picks up
		inline.SetInline(s.inline)
	}
	var wg sync.WaitGroup
	errs := make(chan error, getters)
	for range getters {
		wg.Go(func() {
			if err := s.getter(ctx); err != nil {
				errs <- err
				cancel()
			}
		})
	}
	<-ctx.Done()
	if ok {
		inline.SetInline(nil)
		s.stop()
	}
	wg.Wait()
	close(s.handoff)
	s.workers.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// server is one Serve.
type server struct {
	port   Port
	h      Handler
	trier  Trier
	parser Parser
	dsense interface{ DSense() bool }
	o      Options

	// handoff carries what might wait from inline to the workers.
	handoff chan ucmd.Subcommand
	workers sync.WaitGroup
	started atomic.Int32 // workers
	idle    atomic.Int32 // workers that wait for work
	// running counts the goroutines inside inline; stopping turns new ones
	// away.
	running  atomic.Int32
	stopping atomic.Bool
}

// call is the working set of one subcommand; pooled for inline.
type call struct {
	req   Request
	sense [scsiSenseMax]byte
}

const scsiSenseMax = 252

var calls = sync.Pool{New: func() any { return new(call) }}

// stop waits until nobody is inside inline.
func (s *server) stop() {
	s.stopping.Store(true)
	for s.running.Load() != 0 {
		time.Sleep(time.Millisecond) // inline never waits: this is short
	}
}

// inline is the ucmd.InlineFunc.
func (s *server) inline(sub *ucmd.Subcommand, reply *ucmd.Reply) bool {
	s.running.Add(1)
	defer s.running.Add(-1)
	if s.stopping.Load() {
		return false // the release unjams it
	}
	x := calls.Get().(*call)
	if sub.Code != ucmd.SubExec {
		s.carryOut(x, sub, reply)
		calls.Put(x)
		return true
	}
	pbuf, ok := s.prepare(x, sub, reply)
	if !ok {
		calls.Put(x)
		return true
	}
	done := s.trier.TryExec(&x.req)
	if !done && pbuf != 0 {
		s.free(pbuf) // whoever carries it out brings its own
	}
	if done {
		s.finish(x, sub, reply, pbuf)
		calls.Put(x)
		return true
	}
	calls.Put(x)
	select {
	case s.handoff <- *sub:
		s.wantWorker()
		return false
	default:
		x = calls.Get().(*call)
		s.carryOut(x, sub, reply)
		calls.Put(x)
		return true
	}
}

// wantWorker starts a worker unless one is idle or there are enough.
func (s *server) wantWorker() {
	if s.idle.Load() > 0 {
		return
	}
	for {
		n := s.started.Load()
		if int(n) >= s.o.Threads {
			return
		}
		if s.started.CompareAndSwap(n, n+1) {
			s.workers.Go(s.worker)
			return
		}
	}
}

// worker carries out what inline handed over.
func (s *server) worker() {
	x := new(call)
	replies := make([]ucmd.Reply, 1)
	for {
		s.idle.Add(1)
		sub, ok := <-s.handoff
		s.idle.Add(-1)
		if !ok {
			return
		}
		replies[0] = ucmd.Reply{Handle: sub.Handle, Code: sub.Code}
		s.carryOut(x, &sub, &replies[0])
		// An error means that the command was given up meanwhile.
		_, _, _ = s.port.ReplyAndGet(context.Background(), replies, nil)
	}
}

// getter gets subcommands and carries them out, until ctx ends.
func (s *server) getter(ctx context.Context) error {
	subs := make([]ucmd.Subcommand, s.o.Multi)
	replies := make([]ucmd.Reply, 0, s.o.Multi)
	xs := make([]call, s.o.Multi) // replies point to their sense
	for {
		done, n, err := s.port.ReplyAndGet(ctx, replies, subs)
		if done < len(replies) {
			// A reply was refused: its command was given up, or h is broken
			// and the command has failed. The rest must still get there.
			replies = append(replies[:0], replies[done+1:]...)
			continue
		}
		replies = replies[:0]
		if n == 0 && err != nil {
			if goOn, err := s.getFailed(ctx, err); !goOn {
				return err
			}
			continue
		}
		for i := range n {
			r := ucmd.Reply{Handle: subs[i].Handle, Code: subs[i].Code}
			s.carryOut(&xs[i], &subs[i], &r)
			replies = append(replies, r)
		}
	}
}

// getFailed decides what a failed fetch means.
func (s *server) getFailed(ctx context.Context, err error) (goOn bool, _ error) {
	switch {
	case ctx.Err() != nil:
		return false, nil
	case errors.Is(err, syscall.EINTR):
		return true, nil
	case errors.Is(err, syscall.EAGAIN) && s.o.NonBlocking:
		t := time.NewTimer(s.o.PollInterval)
		defer t.Stop()
		select {
		case <-t.C:
			return true, nil
		case <-ctx.Done():
			return false, nil
		}
	case errors.Is(err, syscall.EAGAIN):
		return false, nil // the device is being released
	}
	return false, fmt.Errorf("handlers: get the next command: %w", err)
}
