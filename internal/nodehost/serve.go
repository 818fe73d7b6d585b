package nodehost

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sirupsen/logrus"

	"scstuser/internal/initiator"
	"scstuser/ioctl/fusenode"
	"scstuser/ioctl/node"
	"scstuser/nbd"
	"scstuser/ucmd"
)

// dirVariable is the environment variable that makes a process a host: the
// directory that it uses.
const dirVariable = "SCSTUSER_TEST_NODEHOST"

// Files of a host in its directory.
const (
	mountName  = "scst"
	socketName = "nbd.sock"
)

// readyLine is printed when handlers can register.
const readyLine = "ready"

// Main makes the process a host if Start has started it for that, and does not
// return then. It is the first thing in TestMain.
func Main() {
	dir := os.Getenv(dirVariable)
	if dir == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, dir); err != nil {
		fmt.Fprintln(os.Stderr, "host:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// closing is how long the parts of a host have to end.
const closing = 10 * time.Second

// serve is a host until ctx ends.
func serve(ctx context.Context, dir string) (err error) {
	config, err := readConfig()
	if err != nil {
		return err
	}
	log := logrus.New()
	log.SetOutput(io.Discard)
	server := nbd.NewServer(nbd.Options{Log: log})
	o := node.Options{Log: log, Serve: func(ctx context.Context, d *ucmd.Device) { export(ctx, server, d) }}
	config.apply(&o)
	host := node.New(o)
	mount, err := fusenode.Mount(fusenode.Options{Dir: filepath.Join(dir, mountName), Host: host, Log: log})
	if err != nil {
		return err
	}
	addr, err := nbd.ParseListen("unix:" + filepath.Join(dir, socketName))
	if err != nil {
		return err
	}
	l, err := nbd.Listen(addr)
	if err != nil {
		return err
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	fmt.Println(readyLine)
	// Ends with the process: there is no way to stop reading.
	go func() { _ = initiator.New(host).Serve(os.Stdin, os.Stdout) }() // the test has the error
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.Background(), closing)
	defer cancel()
	return errors.Join(host.Close(ctx), mount.Close(ctx), server.Shutdown(ctx), <-served)
}

// export offers a device while it lives.
func export(ctx context.Context, server *nbd.Server, d *ucmd.Device) {
	e, err := server.AddExport(ctx, nbd.ExportConfig{Name: d.Desc().Name, Device: d.Target()})
	if err != nil {
		if ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "export:", err)
		}
		return
	}
	<-ctx.Done()
	if err := server.RemoveExport(context.Background(), e); err != nil {
		fmt.Fprintln(os.Stderr, "take an export back:", err)
	}
}
