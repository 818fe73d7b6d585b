package node

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"scstuser/ucmd"
)

// attended is a device from its registration to the end of its release.
type attended struct {
	file  *File
	dev   *ucmd.Device // set before gone can end
	space *space
	// gone ends when the release begins; over is closed when nothing is left.
	gone   context.Context
	cancel context.CancelFunc
	over   chan struct{}
	// fetching is closed with the first get. Until then the handler may still
	// be setting itself up: an ATTACH_SESS would hold its SET_OPTIONS up, and
	// nobody would answer it.
	fetching chan struct{}
	fetched  atomic.Bool
}

func newAttended(f *File) *attended {
	a := &attended{file: f, over: make(chan struct{}), fetching: make(chan struct{})}
	a.gone, a.cancel = context.WithCancel(context.Background())
	return a
}

// fetches notes that the handler has asked for commands.
func (a *attended) fetches() {
	if !a.fetched.Load() && !a.fetched.Swap(true) {
		close(a.fetching)
	}
}

// leaving says whether the release has begun.
func (a *attended) leaving() bool { return a.gone.Err() != nil }

// attend is the goroutine of a device: it has it served, and clears away what
// is left when its handler has gone.
func (h *Host) attend(a *attended) {
	name := a.dev.Desc().Name
	log := h.opt.Log.WithField("device", name)
	log.Info("registered by a handler")
	var serving sync.WaitGroup
	if h.opt.Serve != nil {
		serving.Go(func() {
			select {
			case <-a.fetching:
				h.opt.Serve(a.gone, a.dev)
			case <-a.gone.Done():
			}
		})
	}
	<-a.gone.Done()
	a.dev.Release()
	serving.Wait()
	err := a.dev.Close(context.Background())
	var stuck *ucmd.StuckError
	if errors.As(err, &stuck) {
		log.WithError(err).Error("released, but not everything could be cleared away")
	} else {
		log.Info("released: its handler has closed the node or ended")
	}
	a.file.calls.Wait() // a call under way may be using the space
	h.leaveSpace(a.space)
	h.forget(name)
	close(a.over)
}
