package nbdload

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Load is what is put on a server.
type Load struct {
	// Connections is how many there are, Depth how many requests each has in
	// flight.
	Connections, Depth int
	// BlockSize is the length of each request in bytes; a whole number of
	// them has to fit into the export.
	BlockSize int
	// Write says that it writes; else it reads. Random says that the offsets
	// are, in units of BlockSize; else they follow each other, each connection
	// in a part of the export of its own.
	Write, Random bool
	// Duration is how long requests are sent.
	Duration time.Duration
	// Exports are the names of the exports that the connections use in turn;
	// nil: all use the default one.
	Exports []string
	// Begin, if not nil, is called once: all connections are there, and no
	// request has been sent.
	Begin func()
}

// export is the export of connection i.
func (l *Load) export(i int) string {
	if len(l.Exports) == 0 {
		return ""
	}
	return l.Exports[i%len(l.Exports)]
}

// Result is what came back.
type Result struct {
	// Requests were completed in Elapsed.
	Requests int64
	Elapsed  time.Duration
	// Latency has the time of each request, from the call that sent it to the
	// one that returned its reply.
	Latency Histogram
}

func (l *Load) check() error {
	switch {
	case l.Connections < 1, l.Depth < 1:
		return errors.New("a load has at least one connection and one request in flight")
	case l.BlockSize < 1, l.BlockSize > maxBlock:
		return fmt.Errorf("a block of %d bytes: it has to be from 1 to %d", l.BlockSize, maxBlock)
	}
	return nil
}

// maxBlock is what every server takes.
const maxBlock = 32 << 20

// Run connects to a server with dial and puts the load on it. Any request that
// fails, and ctx, ends it with an error.
func Run(ctx context.Context, dial func(context.Context) (net.Conn, error), l Load) (Result, error) {
	if err := l.check(); err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	workers := make([]*worker, l.Connections)
	for i := range workers {
		w, err := connect(ctx, dial, &l, i)
		if err != nil {
			for _, w := range workers[:i] {
				w.conn.Close()
			}
			return Result{}, err
		}
		workers[i] = w
	}
	stop := context.AfterFunc(ctx, func() {
		for _, w := range workers {
			w.conn.Close()
		}
	})
	defer stop()
	if l.Begin != nil {
		l.Begin()
	}
	start := time.Now()
	end := start.Add(l.Duration)
	var wg sync.WaitGroup
	for _, w := range workers {
		wg.Go(func() {
			if err := w.run(end); err != nil {
				cancel(err) // the others need not go on
			}
		})
	}
	wg.Wait()
	r := Result{Elapsed: time.Since(start)}
	if err := context.Cause(ctx); err != nil {
		return Result{}, err
	}
	for _, w := range workers {
		r.Requests += w.requests
		r.Latency.add(&w.latency)
		w.disconnect()
	}
	return r, nil
}
