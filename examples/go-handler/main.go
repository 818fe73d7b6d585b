// Command go-handler is a handler of one's own in a program of one's own, to
// be copied: a disk in memory, exported over NBD.
//
//	go run ./examples/go-handler -listen unix:/tmp/ram.sock
//	nbdinfo 'nbd+unix:///ram?socket=/tmp/ram.sock'
//
// There are two ways to bring something of your own, and this shows both.
//
//   - Your own medium: ram.go has a handlers.Backing. handlers/disk makes a SCSI
//     disk of it, with all its commands.
//   - Your own commands: counter.go has a handlers.Handler. It adds a vendor's
//     command to that disk; with -counter it stands in front of it.
//
// device.go puts a handler into service, and this file an NBD server in front.
//
// The same handler can serve a device of somebody else's: with -node it registers
// with the scst_user node of a running host, or of the kernel module (node.go).
//
//	fileio_tgt host --mount /run/scst
//	go run ./examples/go-handler -node /run/scst/scst_user
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"scstuser/handlers"
	"scstuser/handlers/disk"
	"scstuser/nbd"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "go-handler:", err)
		os.Exit(1)
	}
}

// run serves until ctx ends. It says on out where.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	flags := flag.NewFlagSet("go-handler", flag.ContinueOnError)
	listen := flags.String("listen", "tcp:127.0.0.1:10809", "where to serve: unix:/path or tcp:host:port")
	size := flags.Int64("size", 64<<20, "the size of the disk, in bytes")
	node := flags.String("node", "", "register with this scst_user node instead of serving NBD")
	count := flags.Bool("counter", false, "add the command READ COUNTERS (C0h)")
	if err := flags.Parse(args); err != nil {
		return err
	}
	addr, err := nbd.ParseListen(*listen)
	if err != nil {
		return err
	}

	// The medium and the handler.
	d, err := disk.New(newRAM(*size), disk.Options{Name: "ram"})
	if err != nil {
		return err
	}
	var h handlers.Handler = d
	if *count {
		h = &counter{Disk: d}
	}

	if *node != "" {
		return serveNode(ctx, *node, h, out)
	}

	// The device, and the handler at work behind it.
	dev, err := serve("ram", h)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dev.close()) }()

	// The NBD server in front of it.
	server := nbd.NewServer(nbd.Options{})
	if _, err := server.AddExport(ctx, nbd.ExportConfig{Name: "ram", Device: dev.Target()}); err != nil {
		return err
	}
	l, err := nbd.Listen(addr)
	if err != nil {
		return errors.Join(err, shutdown(server))
	}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	fmt.Fprintf(out, "serving %d bytes of memory; try: nbdinfo '%s'\n", d.Size(), nbd.ListenAddrOf(l).URI("ram"))

	// The end: the clients first, then (deferred) the handler and the device.
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, shutdown(server))
}

// shutdown lets the clients finish what they have begun, for a while.
func shutdown(server *nbd.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}
