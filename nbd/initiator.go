package nbd

import (
	"context"
	"errors"
	"fmt"
	"time"

	"scstuser/scsi"
	"scstuser/target"
)

// initiator asks a device about itself, one command at a time, the way a host
// does when it finds a disk. Each export has one.
type initiator struct {
	sess *target.Session
	// token is held by the command under way.
	token chan struct{}
	// changed is called when the device's capacity has changed, gone when it
	// is being released. They do not wait.
	changed, gone func()
}

var _ target.Frontend = (*initiator)(nil)

// question is a command of an initiator. It belongs to the target till it is
// freed, whether or not somebody still waits for the answer.
type question struct {
	cmd    target.Cmd
	status scsi.Status
	data   []byte
	sense  scsi.Sense
	over   chan struct{} // closed when cmd is freed
}

func newInitiator(ctx context.Context, dev *target.Device, name string, changed, gone func()) (*initiator, error) {
	i := &initiator{token: make(chan struct{}, 1), changed: changed, gone: gone}
	var err error
	i.sess, err = dev.NewSession(ctx, i, target.SessionInfo{
		Initiator: "nbd-export", Target: name, TransportVersion: transportVersion,
	})
	return i, err
}

// do carries out a command that reads, or transfers nothing. When ctx ends
// first the answer is not waited for; the next question is, for its turn.
func (i *initiator) do(ctx context.Context, cdb scsi.CDB) ([]byte, error) {
	var q *question
	for try := range maxTries {
		var err error
		if q, err = i.ask(ctx, cdb); err != nil {
			return nil, err
		}
		switch {
		case q.status == scsi.Good || q.status == scsi.ConditionMet || q.sense.Key == scsi.KeyRecovered:
			return q.data, nil
		case q.sense.Key == scsi.KeyUnitAttention:
			continue
		case q.status == scsi.CheckCondition:
			return nil, &senseError{q.sense}
		case q.status != scsi.Busy && q.status != scsi.TaskSetFull:
			return nil, fmt.Errorf("%v: status %v", q.cmd.Op(), q.status)
		}
		select {
		case <-time.After(backOff(try)):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return nil, fmt.Errorf("%v: status %v, every time", q.cmd.Op(), q.status)
}

// ask sends one command and waits for its outcome.
func (i *initiator) ask(ctx context.Context, cdb scsi.CDB) (*question, error) {
	select {
	case i.token <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	q := &question{over: make(chan struct{})}
	q.cmd.Init(cdb.Slice(), scsi.QueueSimple)
	q.cmd.Front = q
	i.sess.Submit(&q.cmd)
	select {
	case <-q.over:
		return q, nil
	case <-ctx.Done():
		return nil, fmt.Errorf("the device does not answer: %w", ctx.Err())
	}
}

// supports asks whether the device knows a command. One that can't be asked is
// taken not to: what it lacks is done another way, or not offered.
func (i *initiator) supports(ctx context.Context, op scsi.Opcode) bool {
	return i.supported(ctx, scsi.EncodeReportSupportedOpcodes(scsi.ReportOne, op, 0, false, 252))
}

// supported asks REPORT SUPPORTED OPERATION CODES about one command.
func (i *initiator) supported(ctx context.Context, question scsi.CDB) bool {
	b, err := i.do(ctx, question)
	if err != nil {
		return false
	}
	ok, err := scsi.ParseSupport(b)
	return err == nil && ok
}

// capacity asks for the number of blocks and their size.
func (i *initiator) capacity(ctx context.Context) (scsi.Capacity, error) {
	b, err := i.do(ctx, scsi.EncodeReadCapacity16(scsi.Capacity16Len))
	if err == nil {
		return capacityOf(scsi.ParseReadCapacity16(b))
	}
	var refused *senseError
	if !errors.As(err, &refused) || refused.sense.Key != scsi.KeyIllegalRequest {
		return scsi.Capacity{}, fmt.Errorf("read capacity: %w", err)
	}
	if b, err = i.do(ctx, scsi.EncodeReadCapacity10()); err != nil {
		return scsi.Capacity{}, fmt.Errorf("read capacity: %w", err)
	}
	c, err := scsi.ParseReadCapacity10(b)
	if err == nil && c.LastLBA == 0xffffffff {
		return c, errors.New("read capacity: the device is too large for READ CAPACITY(10) and refuses READ CAPACITY(16)")
	}
	return capacityOf(c, err)
}

// capacityOf wraps the error of a parser, and finds the one thing that a
// capacity can't be without.
func capacityOf(c scsi.Capacity, err error) (scsi.Capacity, error) {
	if err != nil {
		return c, fmt.Errorf("read capacity: %w", err)
	}
	if c.BlockSize == 0 {
		return c, errors.New("read capacity: the device says that its blocks have 0 bytes")
	}
	return c, nil
}

// senseError is CHECK CONDITION as an error.
type senseError struct{ sense scsi.Sense }

func (e *senseError) Error() string { return e.sense.String() }

// RdyToXfer implements target.Frontend.
func (i *initiator) RdyToXfer(c *target.Cmd) target.Verdict {
	clear(c.Buf) // it sends nothing
	return target.Continue
}

// XmitResponse implements target.Frontend.
func (i *initiator) XmitResponse(c *target.Cmd) {
	q := c.Front.(*question)
	q.status = c.Status
	q.data = append([]byte(nil), c.Data()...)
	if c.Status == scsi.CheckCondition {
		q.sense, _ = scsi.ParseSense(c.Sense())
	}
	c.Delivered(target.Delivered)
}

// Freed implements target.Frontend.
func (i *initiator) Freed(c *target.Cmd) {
	<-i.token
	close(c.Front.(*question).over)
}

// AEN implements target.Frontend.
func (i *initiator) AEN(_ *target.Session, ua target.UnitAttention) bool {
	if ua.Is(scsi.SenseCapacityChanged) {
		i.changed()
	}
	return true
}

// SessionGone implements target.Frontend.
func (i *initiator) SessionGone(*target.Session) { i.gone() }

// TMDone implements target.Frontend; an initiator sends no task management.
func (i *initiator) TMDone(*target.MgmtCmd) {}
