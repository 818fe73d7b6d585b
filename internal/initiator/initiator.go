package initiator

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"scstuser/ioctl/node"
	"scstuser/scsi"
	"scstuser/target"
	"scstuser/ucmd"
)

// patience is how long a line waits for what must come.
const patience = 10 * time.Second

// Initiator is an initiator with one session at a time. New makes one.
type Initiator struct {
	host  *node.Host
	dev   *ucmd.Device
	sess  *target.Session
	got   chan error // the end of NewSession
	gone  chan error // the end of Close
	cmds  map[int]*command
	mgmts map[int]*function

	mu     sync.Mutex
	events []target.UnitAttention // guarded by mu
}

// command is a SCSI command; what follows over is set when that is closed.
type command struct {
	target.Cmd
	held   bool
	over   chan struct{} // closed when the response is made
	status scsi.Status
	sense  scsi.Sense
	data   []byte
}

// function is a task management function.
type function struct {
	target.MgmtCmd
	over chan struct{}
}

var _ target.Frontend = (*Initiator)(nil)

// New makes an initiator for the devices of a host.
func New(host *node.Host) *Initiator { return &Initiator{host: host} }

// Serve does what the lines of r say and writes the answers to w, until r ends.
// The error is of a line that could not be done, the first one; a read or write
// that fails is the end of the other side.
func (i *Initiator) Serve(r io.Reader, w io.Writer) (err error) {
	for lines := bufio.NewScanner(r); lines.Scan(); {
		answer, e := i.Do(lines.Text())
		reply := "1 " + answer
		if e != nil {
			reply = "0 " + e.Error()
			err = errors.Join(err, e)
		}
		if _, e := fmt.Fprintln(w, strings.TrimSpace(reply)); e != nil {
			break
		}
	}
	return err
}

// RdyToXfer implements target.Frontend.
func (*Initiator) RdyToXfer(c *target.Cmd) target.Verdict {
	for n := range c.Buf {
		c.Buf[n] = 'w'
	}
	return target.Continue
}

// XmitResponse implements target.Frontend.
func (*Initiator) XmitResponse(c *target.Cmd) {
	x := c.Front.(*command)
	x.status, x.data = c.Status, append([]byte(nil), c.Data()...)
	if c.Status == scsi.CheckCondition {
		x.sense, _ = scsi.ParseSense(c.Sense())
	}
	close(x.over)
	if !x.held {
		c.Delivered(target.Delivered)
	}
}

// Freed implements target.Frontend.
func (*Initiator) Freed(*target.Cmd) {}

// AEN implements target.Frontend: every unit attention is an event, so that no
// command ends with one.
func (i *Initiator) AEN(_ *target.Session, ua target.UnitAttention) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.events = append(i.events, ua)
	return true
}

// SessionGone implements target.Frontend.
func (*Initiator) SessionGone(*target.Session) {}

// TMDone implements target.Frontend.
func (*Initiator) TMDone(m *target.MgmtCmd) { close(m.Front.(*function).over) }

// attach begins a session with a device that is registered.
func (i *Initiator) attach(name string) error {
	for _, d := range i.host.Devices() {
		if d.Desc().Name != name {
			continue
		}
		i.dev, i.cmds, i.mgmts = d, map[int]*command{}, map[int]*function{}
		i.got, i.gone = make(chan error, 1), make(chan error, 1)
		i.mu.Lock()
		i.events = nil
		i.mu.Unlock()
		go func(got chan<- error) {
			var err error
			i.sess, err = d.Target().NewSession(context.Background(), i, target.SessionInfo{Initiator: "test", Target: "target", LUN: 7})
			got <- err
		}(i.got)
		return nil
	}
	return fmt.Errorf("there is no device %s", name)
}

// event waits for the nth event.
func (i *Initiator) event(n int) (ua target.UnitAttention, err error) {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		i.mu.Lock()
		if n < len(i.events) {
			ua = i.events[n]
			i.mu.Unlock()
			return ua, nil
		}
		i.mu.Unlock()
	}
	return ua, fmt.Errorf("event %d does not come", n)
}

// released waits for the end of the device and counts what it left.
func (i *Initiator) released() (left int, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	select {
	case <-i.dev.Released():
	case <-ctx.Done():
		return 0, errors.New("the device is not released")
	}
	if err := i.dev.Close(ctx); err != nil {
		return -1, nil
	}
	return len(i.dev.Commands()), nil
}
