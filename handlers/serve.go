package handlers

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"scstuser/ucmd"
)

// Serve carries out the subcommands of port with h until ctx ends or the
// device is being released, and returns nil when every call of h has returned
// and its reply has been given; or it returns the error that the port reported
// when something could not be fetched. One Serve per port. The caller releases
// the device afterwards (see the package comment).
func Serve(ctx context.Context, port Port, h Handler, o Options) error {
	if err := check(port, o); err != nil {
		return err
	}
	s := newServer(port, h, o)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	getters := s.o.Threads
	inline, ok := port.(InlinePort)
	if ok = ok && s.o.Inline && s.trier != nil; ok {
		getters = 1 // for what no connection's goroutine has the time for
		inline.SetInline(s.inline)
	}
	var wg sync.WaitGroup
	errs := make(chan error, getters)
	for range getters {
		wg.Go(func() {
			defer cancel() // one that ends has a reason that the others have too
			if err := s.getter(ctx); err != nil {
				errs <- err
			}
		})
	}
	<-ctx.Done()
	if ok {
		inline.SetInline(nil)
	}
	s.gate.Lock() // for ever: those inside have left, nobody enters any more
	wg.Wait()
	close(s.handedOff)
	s.workers.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// check says what can't work.
func check(port Port, o Options) error {
	if o.Arena == nil {
		return errors.New("serve a handler: no arena for its data buffers: set Options.Arena")
	}
	p, ok := port.(OptionsPort)
	if !ok {
		return nil
	}
	if opt := p.GetOptions(); ucmd.OnFreeType(opt.OnFree) == ucmd.OnFreeIgnore && ucmd.ReuseType(opt.Reuse) != ucmd.ReuseAll {
		return errors.New("serve a handler: nobody would say when a buffer that is not reused is free: " +
			"register the device with on_free call, or with reuse of all memory")
	}
	return nil
}

// server is one Serve.
type server struct {
	port Port
	h    Handler
	o    Options

	// What the Handler and the port can do besides; nil if they can't.
	trier       Trier
	parser      Parser
	dsenser     DSenser
	taskManager TaskManager
	attacher    Attacher
	extendedCDB ExtendedCDBPort
	released    <-chan struct{}

	// gate is held for reading by every call of inline; Serve takes it at the
	// end.
	gate sync.RWMutex

	// handedOff are the calls that wait for a worker. It is closed when nobody
	// hands off any more.
	handedOff chan *call
	workers   sync.WaitGroup
	// started is how many workers there are; they stay until the end.
	started atomic.Int32
	// unfinished is how many calls wait for a worker or have one.
	unfinished atomic.Int32
}

func newServer(port Port, h Handler, o Options) *server {
	s := &server{port: port, h: h, handedOff: make(chan *call, maxHandedOff)}
	s.trier, _ = h.(Trier)
	s.parser, _ = h.(Parser)
	s.dsenser, _ = h.(DSenser)
	s.taskManager, _ = h.(TaskManager)
	s.attacher, _ = h.(Attacher)
	s.extendedCDB, _ = port.(ExtendedCDBPort)
	if p, ok := port.(ReleasedPort); ok {
		s.released = p.Released()
	}
	o.EnsureDefaults(s.trier != nil)
	s.o = o
	return s
}
