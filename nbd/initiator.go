package nbd

import (
	"context"
	"errors"
	"fmt"

	"scstuser/scsi"
	"scstuser/target"
)

// initiator asks a device about itself, one command at a time, the way a host
// does when it finds a disk. Each export has one.
type initiator struct {
	sess *target.Session
	// token is held by the command under way.
	token chan struct{}
	// changed is called when the device's capacity has changed.
	changed func()
	// gone is called when the device is being released.
	gone func()
}

// probe is a command of an initiator.
type probe struct {
	cmd   target.Cmd
	data  []byte
	sense scsi.Sense
	over  chan struct{}
}

func newInitiator(ctx context.Context, dev *target.Device, name string, changed, gone func()) (*initiator, error) {
	i := &initiator{token: make(chan struct{}, 1), changed: changed, gone: gone}
	s, err := dev.NewSession(ctx, i, target.SessionInfo{
		Initiator: "nbd-export", Target: name, TransportVersion: transportVersion,
	})
	i.sess = s
	return i, err
}

// do carries out a command that reads, or transfers nothing. It waits for the
// outcome even if ctx ends first: the command is the device's till then.
func (i *initiator) do(ctx context.Context, cdb scsi.CDB) (data []byte, err error) {
	select {
	case i.token <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	defer func() { <-i.token }()
	for range maxTries {
		p := &probe{over: make(chan struct{})}
		p.cmd.Init(cdb.Slice(), scsi.QueueSimple)
		p.cmd.Front = p
		i.sess.Submit(&p.cmd)
		<-p.over
		switch {
		case p.cmd.Status == scsi.Good || p.cmd.Status == scsi.ConditionMet:
			return p.data, nil
		case p.cmd.Status == scsi.CheckCondition && p.sense.Key == scsi.KeyUnitAttention:
			continue
		case p.cmd.Status == scsi.CheckCondition:
			return nil, &senseError{p.sense}
		}
		return nil, fmt.Errorf("%v: status %v", p.cmd.Op(), p.cmd.Status)
	}
	return nil, errors.New("the device answers nothing but unit attentions")
}

// senseError is CHECK CONDITION as an error.
type senseError struct{ sense scsi.Sense }

func (e *senseError) Error() string { return e.sense.String() }

func (i *initiator) RdyToXfer(c *target.Cmd) target.Verdict {
	clear(c.Buf) // it sends nothing
	return target.Continue
}

func (i *initiator) XmitResponse(c *target.Cmd) {
	p := c.Front.(*probe)
	p.data = append([]byte(nil), c.Data()...)
	if c.Status == scsi.CheckCondition {
		p.sense, _ = scsi.ParseSense(c.Sense())
	}
	c.Delivered(target.Delivered)
}

func (i *initiator) Freed(c *target.Cmd) { close(c.Front.(*probe).over) }

func (i *initiator) AEN(_ *target.Session, ua target.UnitAttention) bool {
	if ua == scsi.SenseCapacityChanged {
		i.changed()
	}
	return true
}

func (i *initiator) SessionGone(*target.Session) { i.gone() }
func (i *initiator) TMDone(*target.MgmtCmd)      {}
