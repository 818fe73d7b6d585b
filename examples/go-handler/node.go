package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/arena"
	"scstuser/ioctl/client"
)

// serveNode registers a disk with an scst_user node and serves it until ctx ends:
// the program's other way, in which it is a handler and nothing else.
func serveNode(ctx context.Context, path string, h handlers.Handler, out io.Writer) error {
	// The node's host, or the kernel, reaches these buffers by their addresses.
	buffers := arena.New(arena.Options{})
	port, err := client.Open(path, describe("ram"), client.Options{})
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "serving the device ram at %s\n", path)

	// Two threads fetch; several subcommands and their replies travel together.
	err = handlers.Serve(ctx, port, h, handlers.Options{Arena: buffers, Threads: 2, Multi: 32})
	if err == nil && ctx.Err() == nil {
		err = errors.New("the host has released the device")
	}

	// Closing tells the host, which answers what is left.
	closing, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return errors.Join(err, port.Close(closing))
}
