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
	// gone ends when the handler has gone; over is closed when nothing is left,
	// or another handler has the device.
	gone   context.Context
	cancel context.CancelFunc
	over   chan struct{}
	name   string
	// former is the device that this one is to continue, nil if there is none.
	former *attended
	// service is what is done for the device's clients; a handler that
	// continues another one's device has that one's. Set with dev.
	service *service
}

// service has a device served, whoever its handler is.
type service struct {
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	// fetching is closed with the first get. Until then the handler may still
	// be setting itself up: an ATTACH_SESS would hold its SET_OPTIONS up, and
	// nobody would answer it.
	fetching chan struct{}
	fetched  atomic.Bool
}

func newAttended(f *File) *attended {
	a := &attended{file: f, over: make(chan struct{})}
	a.gone, a.cancel = context.WithCancel(context.Background())
	return a
}

// serve begins to serve a device.
func (h *Host) serve(d *ucmd.Device) *service {
	s := &service{fetching: make(chan struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if h.opt.Serve != nil {
		s.wg.Go(func() {
			select {
			case <-s.fetching:
				h.opt.Serve(s.ctx, d)
			case <-s.ctx.Done():
			}
		})
	}
	return s
}

// end ends the service and waits for that.
func (s *service) end() {
	s.cancel()
	s.wg.Wait()
}

// fetches notes that the handler has asked for commands.
func (s *service) fetches() {
	if !s.fetched.Load() && !s.fetched.Swap(true) {
		close(s.fetching)
	}
}

// leaving says whether the release has begun.
func (a *attended) leaving() bool { return a.gone.Err() != nil }

// attend is the goroutine of a device: it clears away what is left when its
// handler has gone, unless another handler has taken the device over.
func (h *Host) attend(a *attended) {
	log := h.opt.Log.WithField("device", a.dev.Desc().Name)
	log.Info("registered by a handler")
	select {
	case <-a.gone.Done():
	case <-a.dev.Released(): // it was cut off
		a.cancel()
	}
	if h.opt.Limits.HandlerGrace > 0 && a.dev.Grace().Waiting {
		log.WithField("grace", h.opt.Limits.HandlerGrace).Warn("its handler has closed the node or ended; commands wait for another one to register the device")
	}
	if h.opt.Limits.HandlerGrace <= 0 {
		a.service.cancel() // now: clients need not wait for the release
	}
	<-a.dev.Released()
	continued := h.continued(a.dev)
	if !continued {
		a.service.end()
	}
	err := a.dev.Close(context.Background())
	var stuck *ucmd.StuckError
	switch {
	case errors.As(err, &stuck):
		log.WithError(err).Error("released, but not everything could be cleared away")
	case continued:
		log.Info("another handler has the device")
	default:
		log.Info("released: its handler has closed the node or ended")
	}
	a.file.calls.Wait() // a call under way may be using the space
	h.leaveSpace(a.space)
	h.forget(a)
	close(a.over)
}

// continued says whether another device has taken d's place.
func (h *Host) continued(d *ucmd.Device) bool {
	for _, x := range h.reg.Devices() {
		if x != d && x.Target() == d.Target() {
			return true
		}
	}
	return false
}
