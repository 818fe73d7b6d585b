package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A handler that does not answer is cut off with --cmd_timeout_action kill. It
// is in this process and can't be stopped: a system call of its may go on with
// a buffer and the file. Its device releases itself (ucmd.Device.Sever) and sees
// to it that those buffers are never used again. What is left to do here: the
// export is taken from new clients (those that are there have been told by the
// device), the other exports go on, and the medium stays open as long as the
// handler does. The run counts as failed; it ends when no export is left, so
// that whoever started the program knows.

// errNothingLeft says why the program ends.
var errNothingLeft = errors.New("no export is left: the handlers of all devices were cut off (--cmd_timeout_action kill)")

// handlerLinger is how long the end of the program waits for a handler that was
// cut off.
const handlerLinger = time.Second

// cutOff notes that a device's handler is being cut off. It does not wait.
func (p *program) cutOff(device string) {
	for _, d := range p.disks {
		if d.name == device {
			d.cutOnce.Do(func() { close(d.cut) })
		}
	}
}

func (d *exportedDisk) isCutOff() bool {
	select {
	case <-d.cut:
		return true
	default:
		return false
	}
}

// watchHandlers removes the exports whose handlers are cut off.
func (p *program) watchHandlers() {
	p.accepting.Go(func() {
		for _, d := range p.disks {
			select {
			case <-d.cut:
			case <-p.over:
				return
			}
		}
		close(p.lost)
	})
	for _, d := range p.disks {
		p.accepting.Go(func() {
			select {
			case <-d.cut:
				p.removeExport(d)
			case <-p.over:
			}
		})
	}
}

// removeExport takes the export of a device that is being released from new
// clients.
func (p *program) removeExport(d *exportedDisk) {
	log := p.log.WithField("device", d.name)
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.ReleaseTimeout)
	defer cancel()
	if err := p.server.RemoveExport(ctx, d.export); err != nil {
		log.WithError(err).Warn("the export is gone, but the device still has its commands")
		return
	}
	log.Warn("the export is gone until the program is started again")
}

// shutdownInTime is Shutdown within --drain_timeout.
func (p *program) shutdownInTime() error {
	ctx := context.Background()
	if p.cfg.DrainTimeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, p.cfg.DrainTimeout)
		defer cancel()
	}
	return p.Shutdown(ctx)
}

// leave is release for a disk whose handler was cut off: it closes what can be
// closed. The error says what happened, in any case.
func (d *exportedDisk) leave(ctx context.Context) error {
	err := fmt.Errorf("device %s: its handler was cut off (--cmd_timeout_action kill)", d.name)
	if d.stop == nil {
		return err
	}
	d.stop()
	t := time.NewTimer(handlerLinger)
	defer t.Stop()
	select {
	case serveErr := <-d.served:
		return errors.Join(err, serveErr, d.close(ctx))
	case <-t.C:
	case <-ctx.Done():
	}
	return fmt.Errorf("%w, and still uses %s", err, d.path)
}
