package fusenode

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"syscall"
	"time"

	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

const (
	// maxIO is the longest read or write of one command, in bytes.
	maxIO = 1 << 20
	// askTimeout is how long a look at the size may take.
	askTimeout = 10 * time.Second
	// maxTries and busyPause: a command that finds the device busy, or hears
	// of a unit attention, is sent again.
	maxTries  = 20
	busyPause = 100 * time.Millisecond
	// transportVersion is what ATTACH_SESS tells: SAS, as the recordings show
	// for a transport without a code of its own.
	transportVersion = 0x0BE0
)

// disk is a device as the tree's own initiator sees it.
type disk struct {
	*ucmd.Device
	linger time.Duration // how long an unused session stays
	slots  chan struct{} // a token for each command under way
	door   chan struct{} // held by who attaches
	// edges keeps writes of whole blocks (readers) away from those that have
	// to read first.
	edges sync.RWMutex

	// mu guards what follows.
	mu    sync.Mutex
	users int
	sess  *target.Session // while there are users, and a little longer
	cap   scsi.Capacity   // as last asked
	known bool            // cap was asked, and has not changed since
}

var _ target.Frontend = (*disk)(nil)

func newDisk(d *ucmd.Device, o *Options) *disk {
	return &disk{Device: d, linger: o.Linger, slots: make(chan struct{}, o.MaxInflight), door: make(chan struct{}, 1)}
}

// enter attaches to the device for one more user. When ctx ends first it goes
// on by itself, and undoes what it did.
func (d *disk) enter(ctx context.Context) error {
	got := make(chan error, 1)
	go func() {
		err := d.attach()
		select {
		case got <- err:
		default:
		}
	}()
	select {
	case err := <-got:
		return err
	case <-ctx.Done():
	}
	go func() {
		if <-got == nil {
			d.leave()
		}
	}()
	return syscall.EINTR
}

func (d *disk) attach() error {
	d.door <- struct{}{}
	defer func() { <-d.door }()
	d.mu.Lock()
	if d.sess != nil {
		d.users++
		d.mu.Unlock()
		return nil
	}
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), askTimeout)
	defer cancel()
	s, err := d.Target().NewSession(ctx, d, target.SessionInfo{
		Initiator: "fuse", Target: d.Desc().Name, TransportVersion: transportVersion,
	})
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.sess, d.users = s, 1
	d.known = false
	d.mu.Unlock()
	return nil
}

// leave ends one use. The session stays a little after the last one: opening a
// file makes the kernel ask for its size first, and each would attach anew.
func (d *disk) leave() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.users--; d.users == 0 {
		s := d.sess
		time.AfterFunc(d.linger, func() { d.detach(s) })
	}
}

// detach closes a session that nobody has used since.
func (d *disk) detach(s *target.Session) {
	d.mu.Lock()
	if d.users > 0 || d.sess != s {
		d.mu.Unlock()
		return
	}
	d.sess = nil
	d.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	_ = s.Close(ctx) // if its commands don't end, the device's release will see to it
}

// capacity asks for the capacity, if it isn't known. The caller has entered.
func (d *disk) capacity(ctx context.Context) (scsi.Capacity, error) {
	d.mu.Lock()
	c, known := d.cap, d.known
	d.mu.Unlock()
	if known {
		return c, nil
	}
	b, err := d.do(ctx, scsi.EncodeReadCapacity16(scsi.Capacity16Len), nil)
	if err != nil {
		b, err = d.do(ctx, scsi.EncodeReadCapacity10(), nil)
		if err != nil {
			return c, err
		}
		c, err = scsi.ParseReadCapacity10(b)
	} else {
		c, err = scsi.ParseReadCapacity16(b)
	}
	switch {
	case err != nil:
		return c, err
	case c.BlockSize == 0 || c.BlockSize&(c.BlockSize-1) != 0 || c.BlockSize > maxIO:
		return c, fmt.Errorf("blocks of %d bytes can't be a file's: %w", c.BlockSize, syscall.EIO)
	case c.LastLBA >= math.MaxInt64/uint64(c.BlockSize):
		return c, fmt.Errorf("it ends beyond 2^63 bytes: %w", syscall.EFBIG)
	}
	d.mu.Lock()
	d.cap, d.known = c, true
	d.mu.Unlock()
	return c, nil
}

// size is the device's size in bytes. It attaches for the moment, if nobody is;
// what was found out is remembered while nobody is attached either.
func (d *disk) size(ctx context.Context) (int64, error) {
	d.mu.Lock()
	c, known := d.cap, d.known
	d.mu.Unlock()
	if !known {
		if err := d.enter(ctx); err != nil {
			return 0, err
		}
		defer d.leave()
		var err error
		if c, err = d.capacity(ctx); err != nil {
			return 0, err
		}
	}
	return sizeOf(c), nil
}

// op is one command. It belongs to the target until it is freed, whether or not
// somebody still waits for it.
type op struct {
	cmd    target.Cmd
	buf    []byte // what is sent, or was received
	sends  bool
	status scsi.Status
	sense  scsi.Sense
	over   chan struct{} // gets a token when cmd is freed
}

var ops = sync.Pool{New: func() any { return &op{over: make(chan struct{}, 1)} }}

// senseError is CHECK CONDITION as an error.
type senseError struct{ sense scsi.Sense }

func (e *senseError) Error() string { return e.sense.String() }

// errnoOf is what a user of a file gets.
func errnoOf(err error) syscall.Errno {
	var e syscall.Errno
	var s *senseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &s):
		switch {
		case s.sense.Is(scsi.SenseWriteProtected):
			return syscall.EROFS
		case s.sense.Is(scsi.SenseSpaceAllocFailed):
			return syscall.ENOSPC
		}
		return syscall.EIO
	case errors.As(err, &e):
		return e
	case errors.Is(err, context.Canceled):
		return syscall.EINTR
	case errors.Is(err, target.ErrReleased):
		return syscall.ENODEV
	case errors.Is(err, target.ErrBusy):
		return syscall.EBUSY
	}
	return syscall.EIO
}

// do carries out one command, again if the device asks for that, and returns
// what it reads. payload is what it writes, nil if it does not. The data is the
// caller's. A ctx that ends is EINTR; the command goes on by itself then.
func (d *disk) do(ctx context.Context, cdb scsi.CDB, payload []byte) ([]byte, error) {
	var status scsi.Status
	for try := range maxTries {
		o, err := d.send(ctx, cdb, payload)
		if err != nil {
			return nil, err
		}
		status = o.status
		sense, data := o.sense, o.buf
		if payload == nil {
			o.buf = nil // the caller's from here on
		}
		ops.Put(o)
		switch {
		case status == scsi.Good || status == scsi.ConditionMet || status == scsi.CheckCondition && sense.Key == scsi.KeyRecovered:
			return data, nil
		case status == scsi.CheckCondition && sense.Key == scsi.KeyUnitAttention:
			continue
		case status == scsi.CheckCondition:
			return nil, &senseError{sense}
		case status != scsi.Busy && status != scsi.TaskSetFull:
			return nil, fmt.Errorf("status %v: %w", status, syscall.EIO)
		}
		select {
		case <-time.After(busyPause * time.Duration(min(try+1, 5))):
		case <-ctx.Done():
			return nil, syscall.EINTR
		}
	}
	return nil, fmt.Errorf("status %v, every time: %w", status, syscall.EIO)
}

// send sends a command and waits for its end.
func (d *disk) send(ctx context.Context, cdb scsi.CDB, payload []byte) (*op, error) {
	d.mu.Lock()
	s := d.sess
	d.mu.Unlock()
	if s == nil {
		return nil, syscall.ENODEV
	}
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return nil, syscall.EINTR
	}
	o := ops.Get().(*op)
	o.buf, o.sends = append(o.buf[:0], payload...), payload != nil
	o.status, o.sense = 0, scsi.Sense{}
	o.cmd.Init(cdb.Slice(), scsi.QueueSimple)
	o.cmd.Front = o
	s.Submit(&o.cmd)
	select {
	case <-o.over:
		return o, nil
	case <-ctx.Done():
		return nil, syscall.EINTR
	}
}

// RdyToXfer implements target.Frontend.
func (d *disk) RdyToXfer(c *target.Cmd) target.Verdict {
	o := c.Front.(*op)
	if !o.sends || int(c.BufLen) != len(o.buf) || len(c.Buf) < len(o.buf) {
		// The handler's parse has an idea of its own of this command.
		c.SetSense(scsi.SenseHardwareInternalFailure)
		c.Complete()
		return target.Continue
	}
	copy(c.Buf, o.buf)
	return target.Continue
}

// XmitResponse implements target.Frontend.
func (d *disk) XmitResponse(c *target.Cmd) {
	o := c.Front.(*op)
	o.status = c.Status
	if !o.sends {
		o.buf = append(o.buf[:0], c.Data()...)
	}
	if c.Status == scsi.CheckCondition {
		o.sense, _ = scsi.ParseSense(c.Sense())
	}
	c.Delivered(target.Delivered)
}

// Freed implements target.Frontend.
func (d *disk) Freed(c *target.Cmd) {
	<-d.slots
	c.Front.(*op).over <- struct{}{}
}

// AEN implements target.Frontend.
func (d *disk) AEN(_ *target.Session, ua target.UnitAttention) bool {
	if ua.Is(scsi.SenseCapacityChanged) {
		d.mu.Lock()
		d.known = false
		d.mu.Unlock()
	}
	return true
}

// SessionGone implements target.Frontend: commands fail from here on.
func (d *disk) SessionGone(*target.Session) {}

// TMDone implements target.Frontend; this initiator sends no task management.
func (d *disk) TMDone(*target.MgmtCmd) {}
