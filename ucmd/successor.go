package ucmd

import (
	"fmt"
	"time"
)

// The registry's side of a wait for another handler; the story is in grace.go.

// grace is one wait. What is not said to be guarded does not change.
type grace struct {
	old   *Device
	since time.Time
	// dead is closed when the old device's cleanup is over and its pools are
	// given back.
	dead chan struct{}
	// changed wakes lose; there is room for one token.
	changed chan struct{}
	// state is guarded by Registry.mu.
	state graceState
}

type graceState uint8

const (
	graceWaiting graceState = iota // for a registration, or the end of time
	graceClaimed                   // by a registration under way
	graceAdopted                   // by a successor
	graceOver                      // nobody came, or the device was released
)

// beginGrace makes the wait known, unless it has ended already.
func (r *Registry) beginGrace(g *grace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.state == graceWaiting {
		r.graces[g.old.desc.Name] = g
	}
}

// setGrace moves a wait on. Caller holds mu.
func (r *Registry) setGrace(g *grace, s graceState) {
	g.state = s
	if name := g.old.desc.Name; s >= graceAdopted && r.graces[name] == g {
		delete(r.graces, name)
	}
	select {
	case g.changed <- struct{}{}:
	default:
	}
}

// endGrace ends a wait that has no successor yet: Release was called.
func (r *Registry) endGrace(g *grace) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.state == graceWaiting || g.state == graceClaimed {
		r.setGrace(g, graceOver)
	}
}

// awaitSuccessor waits until the device has a successor; false: there won't be
// one.
func (r *Registry) awaitSuccessor(g *grace) bool {
	t := time.NewTimer(time.Until(g.since.Add(r.limits.HandlerGrace)))
	defer t.Stop()
	expired := false
	for {
		r.mu.Lock()
		if expired && g.state == graceWaiting {
			r.setGrace(g, graceOver)
		}
		state := g.state
		r.mu.Unlock()
		switch state {
		case graceAdopted:
			return true
		case graceOver:
			return false
		}
		select {
		case <-g.changed:
		case <-t.C:
			expired = true
		}
	}
}

// succeed registers d in the place of the device that died, whose wait the
// caller has claimed. It waits for that one's cleanup, which is bounded.
func (r *Registry) succeed(g *grace, d *Device) error {
	err := g.fits(&d.desc)
	if err == nil {
		<-g.dead
		r.awaitPools(&d.desc)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if g.state != graceClaimed {
		return fmt.Errorf("the device of that name is being released; register again when that is over: %w", errEAGAIN)
	}
	if err == nil {
		err = r.usePools(d)
	}
	if err != nil {
		r.setGrace(g, graceWaiting)
		return err
	}
	d.tdev = g.old.tdev
	// Here, not in adopt: what the handler sets from now on is newer.
	d.tdev.SetControl(d.opt.OwnOrder == 1, d.opt.DSense == 1, d.opt.TAS == 1)
	d.adopted = make(chan struct{})
	r.devices[d.desc.Name] = d
	d.superviseFrom()
	r.setGrace(g, graceAdopted)
	go d.adopt()
	return nil
}

// fits says whether initiators that know the old device can go on with a new
// one: what they asked about, and will not ask again, must be the same.
func (g *grace) fits(desc *Desc) error {
	old := &g.old.desc
	switch {
	case desc.Type != old.Type:
		return fmt.Errorf("the device waits for a handler of type %#x, not %#x: %w", uint8(old.Type), uint8(desc.Type), errEINVAL)
	case desc.hasBlocks() && desc.BlockSize != old.BlockSize:
		return fmt.Errorf("the device waits for a handler with a block size of %d, not %d: %w", old.BlockSize, desc.BlockSize, errEINVAL)
	case desc.Opt.TST != g.old.GetOptions().TST && len(g.old.tdev.Sessions()) > 0: // rule R19
		return fmt.Errorf("tst can't be changed while sessions exist: %w", errEINVAL)
	}
	return nil
}

// awaitPools waits for other devices that died with their handler and had the
// same pool: it belongs to that handler until then.
func (r *Registry) awaitPools(desc *Desc) {
	r.mu.Lock()
	var dying []<-chan struct{}
	for _, g := range r.graces {
		if g.old.desc.SGVName == desc.SGVName {
			dying = append(dying, g.dead)
		}
	}
	r.mu.Unlock()
	for _, dead := range dying {
		<-dead
	}
}

// waits says whether the device has no handler yet.
func (r *Registry) waits(g *grace) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return g.state == graceWaiting || g.state == graceClaimed
}
