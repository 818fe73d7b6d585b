package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"scstuser/handlers"
)

// The end of the media. One that hangs (a broken disk, a lost network) must not
// keep the others from being released, nor the program from ending: a system call
// in it can't be called back, so it is left behind after --drain_timeout.

// mediaLinger is how long the media have at least to be released, when the
// clients of one that hangs have used up --drain_timeout. Those that work need
// far less.
const mediaLinger = time.Second

// releaser is a disk of this program, or of a node.
type releaser interface {
	// release ends what the disk is to others, and closes its medium. It
	// returns when ctx ends, if not before, and says what is left.
	release(ctx context.Context) error
}

var (
	_ releaser = (*exportedDisk)(nil)
	_ releaser = (*nodeDisk)(nil)
)

// releaseDisks releases all disks at the same time, within ctx and mediaLinger.
func releaseDisks[D releaser](ctx context.Context, disks []D) error {
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), mediaLinger)
		defer cancel()
	}
	errs := make([]error, len(disks))
	var wg sync.WaitGroup
	for i, d := range disks {
		wg.Go(func() { errs[i] = d.release(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// closeMedium makes durable what was answered, and closes the medium. When ctx
// ends first, that goes on by itself for as long as the process is there.
func (d *exportedDisk) closeMedium(ctx context.Context) error {
	closed := make(chan error, 1)
	go func() {
		var errs []error
		if s, ok := d.backing.(handlers.Syncer); ok && !d.backing.ReadOnly() {
			if err := s.Sync(); err != nil {
				errs = append(errs, fmt.Errorf("device %s: sync %s: %w", d.name, d.path, err))
			}
		}
		d.mediumMu.Lock()
		defer d.mediumMu.Unlock()
		d.mediumGone = true
		closed <- errors.Join(append(errs, d.backing.Close())...)
	}()
	select {
	case err := <-closed:
		return err
	case <-ctx.Done():
		return fmt.Errorf("device %s: sync %s: the disk does not answer: %w", d.name, d.path, ctx.Err())
	}
}

// resize reads the size of the medium again; ok is false once the medium is
// closed: a SIGUSR1 can come at any moment of the end.
func (d *exportedDisk) resize() (changed bool, size int64, ok bool, err error) {
	d.mediumMu.Lock()
	defer d.mediumMu.Unlock()
	if d.mediumGone {
		return false, 0, false, nil
	}
	changed, size, err = d.disk.Resize()
	return changed, size, true, err
}
