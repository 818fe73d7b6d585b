package powercut

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"

	"scstuser/nbd/nbdtest"
)

// ErrGone is what Run returns when a connection ended: the end of a run in which
// the power is cut.
var ErrGone = errors.New("the server is gone")

// Load is what is sent to a server.
type Load struct {
	Export string
	// Connections is how many there are, Depth how many requests each keeps
	// in flight.
	Connections, Depth int
	// BlockSize is the unit of offsets and lengths in bytes, a multiple of
	// SectorSize, and MaxBlocks the longest request in blocks.
	BlockSize, MaxBlocks int
	// Hot is a number of blocks at the start to which half of the requests
	// go, so that generations overlap. It is at most the disk.
	Hot int
	Mix Mix
	// Seed decides everything but the time.
	Seed uint64
}

// String tells the load on one line.
func (l Load) String() string {
	return fmt.Sprintf("%s; %d connections, depth %d, up to %d blocks of %d, half of it to the first %d; seed %d",
		l.Mix.Name, l.Connections, l.Depth, l.MaxBlocks, l.BlockSize, l.Hot, l.Seed)
}

// Run puts the load on an export and notes in the journal what becomes of it,
// until ctx ends, when what is in flight is waited for, or a connection ends,
// which is ErrGone. Any other error is the server's fault: it answered with an
// error, or not as the protocol wants it.
func Run(ctx context.Context, dial Dialer, j *Journal, l Load) error {
	workers := make([]*worker, l.Connections)
	for i := range workers {
		c, err := connect(ctx, dial, l.Export)
		if err == nil && c.size < uint64(j.Sectors())*SectorSize {
			err = fmt.Errorf("export %s has %d bytes, too few for the journal's %d sectors", l.Export, c.size, j.Sectors())
			c.conn.Close()
		}
		if err != nil {
			for _, w := range workers[:i] {
				w.c.close()
			}
			return err
		}
		workers[i] = newWorker(c, j, &l, i)
	}
	errs := make([]error, len(workers))
	var wg sync.WaitGroup
	for i, w := range workers {
		wg.Go(func() { errs[i] = w.run(ctx) })
	}
	wg.Wait()
	return worst(errs)
}

// worst prefers what is somebody's fault to the end of a connection.
func worst(errs []error) error {
	var gone error
	for _, err := range errs {
		switch {
		case errors.Is(err, ErrGone):
			gone = err
		case err != nil:
			return err
		}
	}
	return gone
}

// worker is one connection of a load.
type worker struct {
	c   *client
	j   *Journal
	l   *Load
	id  int
	rng *rand.Rand
	// inflight are the requests by their cookies; nil: a free one.
	inflight []*Op
	free     []uint64
}

func newWorker(c *client, j *Journal, l *Load, id int) *worker {
	w := &worker{c: c, j: j, l: l, id: id, rng: rand.New(rand.NewPCG(l.Seed, uint64(id))), inflight: make([]*Op, l.Depth)}
	for i := range l.Depth {
		w.free = append(w.free, uint64(i))
	}
	return w
}

// run keeps Depth requests in flight until the end.
func (w *worker) run(ctx context.Context) error {
	defer w.c.close()
	for {
		for len(w.free) > 0 && ctx.Err() == nil {
			if err := w.sendOne(); err != nil {
				return fmt.Errorf("%w: %w", ErrGone, err)
			}
		}
		if len(w.free) == len(w.inflight) {
			return nil
		}
		if err := w.receiveOne(); err != nil {
			return err
		}
	}
}

// commands are the protocol's numbers.
var commands = [numKinds]uint16{
	Write: nbdtest.CmdWrite, WriteZeroes: nbdtest.CmdWriteZeroes, Trim: nbdtest.CmdTrim, Flush: nbdtest.CmdFlush,
}

// sendOne makes up a request and sends it.
func (w *worker) sendOne() error {
	choice := w.l.Mix.pick(w.rng)
	first, count := 0, 0
	if choice.Kind != Flush {
		first, count = w.place()
	}
	op := w.j.Submit(w.id, choice.Kind, choice.FUA, first, count)
	cookie := w.free[len(w.free)-1]
	w.free = w.free[:len(w.free)-1]
	w.inflight[cookie] = op

	var flags uint16
	if choice.FUA {
		flags |= nbdtest.CmdFlagFUA
	}
	if choice.NoHole {
		flags |= nbdtest.CmdFlagNoHole
	}
	length, payload := count*SectorSize, 0
	if choice.Kind == Write {
		payload = length
	}
	b := w.c.begin(commands[choice.Kind], flags, cookie, uint64(first)*SectorSize, length, payload)
	if payload > 0 {
		w.j.Fill(b, op)
	}
	return w.c.send()
}

// place chooses the sectors of a request: short ones most of the time.
func (w *worker) place() (first, count int) {
	unit := w.l.BlockSize / SectorSize
	all := w.j.Sectors() / unit
	n := 1 + w.rng.IntN(w.l.MaxBlocks)
	if w.rng.IntN(2) == 0 {
		n = 1 + w.rng.IntN(min(8, w.l.MaxBlocks))
	}
	if w.l.Hot > 0 && w.rng.IntN(2) == 0 {
		all = w.l.Hot
	}
	n = min(n, all)
	return w.rng.IntN(all-n+1) * unit, n * unit
}

// receiveOne waits for a reply.
func (w *worker) receiveOne() error {
	cookie, errno, err := w.c.reply()
	switch {
	case errors.Is(err, errDesync):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", ErrGone, err)
	case cookie >= uint64(len(w.inflight)) || w.inflight[cookie] == nil:
		return fmt.Errorf("%w: a reply to nothing (cookie %d)", errDesync, cookie)
	}
	op := w.inflight[cookie]
	w.inflight[cookie] = nil
	w.free = append(w.free, cookie)
	if errno != nbdtest.OK {
		return fmt.Errorf("the server answers %v to %v", errno, op)
	}
	w.j.Acknowledge(op)
	return nil
}
