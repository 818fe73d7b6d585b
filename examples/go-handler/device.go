package main

import (
	"context"
	"errors"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/handlers/disk"
	"scstuser/ucmd"
)

// device is a device with a handler in service.
type device struct {
	*ucmd.Device
	stop   context.CancelFunc // ends the handler
	served chan error         // how it ended
}

// serve registers a disk and puts h into service.
func serve(name string, h handlers.Handler) (*device, error) {
	// The handler's data buffers. The device reaches them by their addresses,
	// as the kernel would those of a handler in another process.
	buffers := arena.New(arena.Options{})
	dev, err := ucmd.NewRegistry(ucmd.Limits{}).Register(describe(name), handlers.Memory{Arena: buffers}, nil)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &device{Device: dev, stop: stop, served: make(chan error, 1)}
	go func() {
		// Inline: a connection's goroutine runs its commands itself, unless
		// they might wait.
		d.served <- handlers.Serve(ctx, dev, h, handlers.Options{Arena: buffers, Inline: true})
	}()
	return d, nil
}

// close ends the handler, then the device: in this order no command loses the
// buffer that it is using.
func (d *device) close() error {
	d.stop()
	err := <-d.served
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, d.Close(ctx))
}

// describe says what is registered, here or at a node.
func describe(name string) ucmd.Desc {
	return ucmd.Desc{
		Name: name, Type: ucmd.TypeDisk, BlockSize: disk.DefaultBlockSize,
		Opt: ucmd.Opt{
			// Commands that the standard parser does not know go to the
			// handler's Parse.
			Parse: uint8(ucmd.ParseException),
			// Buffers serve one command after the other, so nobody needs to
			// hear when a command is freed.
			Reuse: uint8(ucmd.ReuseAll), OnFree: uint8(ucmd.OnFreeIgnore),
			// What the disk says in its control mode page.
			TST: 1, QueueAlg: 1,
		},
	}
}
