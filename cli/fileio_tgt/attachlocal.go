package main

import (
	"context"
	"fmt"
	"net"
	"sync/atomic"

	"scstuser/nbd/kernel"
)

// localDevice is the kernel's device that --attach makes of the first export.
type localDevice struct {
	device string
	// connected counts the device's connections that are there. When there
	// is none the device is somebody else's by now, or nobody's.
	connected atomic.Int32
}

// attach is --attach.
func (p *program) attach(ctx context.Context) error {
	if p.cfg.Attach == "" {
		return nil
	}
	d := &localDevice{device: p.cfg.Attach}
	a, err := kernel.AttachLocal(ctx, func(c net.Conn) { p.server.ServeLocal(d.watch(c)) },
		p.disks[0].name, d.device, kernel.Options{Log: p.log})
	if err != nil {
		return fmt.Errorf("--attach: %w", err)
	}
	p.local = d
	p.log.WithField("device", d.device).Info("the kernel's device is attached")
	return a.Close() // the device goes on
}

// detach ends that. The device's last requests are served meanwhile. What somebody
// wrote who has not closed it is not waited for: the disk may hang.
func (p *program) detach() error {
	if p.local == nil || p.local.connected.Load() == 0 {
		return nil
	}
	return kernel.Detach(p.local.device, kernel.Options{Log: p.log})
}

// watch counts a connection.
func (d *localDevice) watch(c net.Conn) net.Conn {
	u, ok := c.(*net.UnixConn)
	if !ok {
		return c
	}
	d.connected.Add(1)
	return &localConn{UnixConn: u, d: d}
}

// localConn is a connection of a localDevice.
type localConn struct {
	*net.UnixConn
	d      *localDevice
	closed atomic.Bool
}

// Close implements net.Conn.
func (c *localConn) Close() error {
	if !c.closed.Swap(true) {
		c.d.connected.Add(-1)
	}
	return c.UnixConn.Close()
}
