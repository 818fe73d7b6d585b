package kernel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// pollInterval is how often the kernel is asked whether the device is still
// attached, and a connection that could not be made is tried again.
const pollInterval = time.Second

const (
	cmdStatus       = 5
	attrDeviceList  = 9
	deviceItem      = 1
	deviceIndex     = 1
	deviceConnected = 2
)

// Wait does what a Resident device needs this process for, and returns nil once
// somebody has detached the device; when ctx ends it detaches it itself. The
// Attachment is closed then. For a device that is not Resident it only closes.
func (a *Attachment) Wait(ctx context.Context) error {
	switch {
	case !a.Resident():
		return a.Close()
	case a.dev != nil:
		return a.waitIoctl(ctx)
	case a.events == nil: // for the relays it is enough to look now and then
		events, err := openSocket(a.f.groups[groupName])
		if err != nil {
			return errors.Join(err, a.Detach())
		}
		a.events = events
	}
	return a.watch(ctx, a.events)
}

// waitIoctl is Wait for a device that is attached by ioctls. The kernel does not
// say whether somebody has detached it or its connections have died.
func (a *Attachment) waitIoctl(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return a.Detach()
	case <-a.dev.done:
	}
	if a.dev.err != nil {
		return errors.Join(fmt.Errorf("the device is not attached any more: %w", a.dev.err), a.Close())
	}
	a.opt.Log.Info("the device is not attached any more: it was detached, or its connections have ended")
	return a.Close()
}

// watch is Wait with the socket on which the kernel tells of dead connections.
func (a *Attachment) watch(ctx context.Context, events socket) error {
	dead := 0
	b := make([]byte, 32<<10)
	for {
		if ctx.Err() != nil {
			return a.Detach()
		}
		switch attached, err := a.f.attached(a.disk.index); {
		case err != nil:
			return errors.Join(err, a.Close())
		case !attached:
			return a.Close()
		}
		for dead > 0 && a.opt.Reconnect > 0 {
			if err := a.replace(ctx); err != nil {
				a.opt.Log.WithError(err).Warn("a connection has died and can't be made again yet")
				break
			}
			a.opt.Log.Info("a connection has died and was made again")
			dead--
		}
		if err := events.SetReadDeadline(time.Now().Add(pollInterval)); err != nil {
			return errors.Join(err, a.Detach())
		}
		n, err := events.Read(b)
		switch {
		case errors.Is(err, os.ErrDeadlineExceeded):
			continue
		case errors.Is(err, unix.ENOBUFS): // events were lost: there can't be more
			dead = max(a.opt.Connections, 1)
			continue
		case err != nil:
			return errors.Join(fmt.Errorf("hear from the kernel: %w", err), a.Detach())
		}
		died, err := a.deadLinks(b[:n])
		if err != nil {
			a.opt.Log.WithError(err).Warn("the kernel is not understood")
		}
		dead = min(dead+died, max(a.opt.Connections, 1))
	}
}

// replace makes a connection in place of one that has died. If the server was
// away to get a larger disk, the device grows.
func (a *Attachment) replace(ctx context.Context) error {
	f, info, err := a.connection(ctx)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := a.f.reconnect(&a.disk, int(f.Fd())); err != nil || info.size == a.info.size {
		return err
	}
	d, err := info.disk(a.disk.index, a.opt)
	if err == nil && d.size > a.disk.size {
		err = a.f.resize(&d)
	}
	if err != nil {
		a.opt.Log.WithError(err).Warn("the disk has grown, and the kernel does not take its new size: use attach --resize")
		return nil // the connection is there
	}
	a.disk, a.info = d, info
	return nil
}

// deadLinks counts the device's connections of which the kernel says that they
// have died.
func (a *Attachment) deadLinks(b []byte) (n int, err error) {
	for len(b) > 0 {
		var m message
		if m, b, err = nextMessage(b); err != nil {
			return n, err
		}
		if m.typ != a.f.id {
			continue
		}
		cmd, attrs, err := parseCommand(m.payload)
		if err != nil {
			return n, err
		}
		err = eachAttr(attrs, func(typ uint16, value []byte) error {
			if typ != attrIndex || cmd != cmdLinkDead {
				return nil
			}
			index, err := u32(value)
			if err == nil && index == a.disk.index {
				n++
			}
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// attached asks the kernel whether a device is in use.
func (f *family) attached(index uint32) (bool, error) {
	attrs, err := f.request(cmdStatus, familyVersion, appendU32(nil, attrIndex, index))
	if err != nil {
		return false, explain(index, err)
	}
	connected := false
	err = eachAttr(attrs, func(typ uint16, list []byte) error {
		if typ != attrDeviceList {
			return nil
		}
		return eachAttr(list, func(typ uint16, device []byte) error {
			if typ != deviceItem {
				return nil
			}
			var found, on bool
			err := eachAttr(device, func(typ uint16, value []byte) error {
				switch typ {
				case deviceIndex:
					n, err := u32(value)
					found = n == index
					return err
				case deviceConnected:
					on = len(value) == 1 && value[0] != 0
				}
				return nil
			})
			connected = connected || found && on
			return err
		})
	})
	return connected, err
}
