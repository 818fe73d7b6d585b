package nbd

import (
	"context"
	"errors"
	"time"

	"scstuser/target"
)

// transportVersion is what ATTACH_SESS tells: SAS, as the recordings show for
// a transport without a code of its own.
const transportVersion = 0x0BE0

// attachTimeout is how long a new client waits for the device to be quiet.
const attachTimeout = 90 * time.Second

// While a client attaches, the device waits for the commands that are being
// executed and takes no new ones. If one of them hangs, all clients of the
// device would stand still with it: so the new one gives up after attachTry and
// lets the others have the device for attachPause before it tries again.
const (
	attachTry   = time.Second
	attachPause = time.Second
)

// attach attaches the connection to its export's device, one client at a time.
// The error says why not; ctx ends the wait.
func (c *conn) attach(ctx context.Context, initiator string) error {
	ctx, cancel := context.WithTimeout(ctx, attachTimeout)
	defer cancel()
	select {
	case c.exp.attaching <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-c.exp.attaching }()
	for {
		err := c.tryAttach(ctx, initiator)
		if !errors.Is(err, target.ErrBusy) || ctx.Err() != nil {
			return err
		}
		select {
		case <-time.After(attachPause):
		case <-ctx.Done():
			return err
		}
	}
}

func (c *conn) tryAttach(ctx context.Context, initiator string) error {
	ctx, cancel := context.WithTimeout(ctx, attachTry)
	defer cancel()
	var err error
	c.sess, err = c.exp.dev.NewSession(ctx, c, target.SessionInfo{
		Initiator: initiator, Target: c.exp.name, TransportVersion: transportVersion,
	})
	return err
}
