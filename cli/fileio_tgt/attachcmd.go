package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"scstuser/nbd/kernel"
	"scstuser/nbd/nbdtls"
)

// The subcommands.
const (
	attachName = "attach"
	detachName = "detach"
)

const attachHelp = `fileio_tgt attach makes an NBD export a block device of this machine

usage: fileio_tgt attach [OPTIONS] URI DEVICE
       fileio_tgt attach --resize [OPTIONS] URI DEVICE
       fileio_tgt detach [--write_back_timeout TIME] DEVICE

URI is nbd://HOST[:PORT]/EXPORT or nbd+unix:///EXPORT?socket=PATH, of whatever
NBD server; nbds:// and nbds+unix:// are with TLS. DEVICE is /dev/nbd0, say.
It takes root, and the kernel's module nbd (modprobe nbd). Unmount a device
before you detach it.

  --connections COUNT       how many connections the device has (default: 1)
  --timeout TIME            give a connection up whose server does not answer a
                            request for this long (default: never, and 30s
                            with --reconnect)
  --reconnect TIME          make connections again that die; requests wait for
                            one for this long. What was under way on one that
                            died is repeated after --timeout. The program
                            stays while the device is attached (default:
                            requests fail)
  --ioctl                   attach by ioctls instead of netlink, for kernels and
                            containers without it. The program stays
  --resize                  the export has grown: tell the kernel its new size.
                            DEVICE is attached to it already, not by --ioctl
  --tls_certificates DIR    ca-cert.pem, which the server has to be signed by,
                            and client-cert.pem and client-key.pem if the
                            server wants to know us (default: the system's
                            authorities). With TLS the program stays too
  --write_back_timeout TIME detach, and a program with --ioctl, sends what was
                            written to the device and is in memory still. Give
                            that up, and lose it, when the server does nothing
                            for this long (default: 30s; 0: at once)

A program that stays detaches the device when it gets SIGTERM or SIGINT. A second
one (for detach, the first) gives up at once what is still to be sent.
`

// attachRequest is a command line of the subcommand.
type attachRequest struct {
	help         bool
	target       kernel.Target
	device       string
	certificates string
	resize       bool
	opt          kernel.Options
}

// newAttachApp makes the application of attach, or of detach.
func newAttachApp(name string, stdout io.Writer) *cli.App {
	app := &cli.App{
		Name: name, Writer: stdout,
		HideHelp: true, HideHelpCommand: true, HideVersion: true,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "help", Aliases: []string{"h"}}, &cli.StringFlag{Name: writeBackOption},
		},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usagef("%s %s: %v; %s %s --help lists the options", programName, name, err, programName, name)
		},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	if name == detachName {
		app.Action = func(c *cli.Context) error { return detach(c, stdout) }
		return app
	}
	for _, option := range []string{"connections", "timeout", "reconnect", "tls_certificates"} {
		app.Flags = append(app.Flags, &cli.StringFlag{Name: option})
	}
	for _, option := range []string{"ioctl", "resize"} {
		app.Flags = append(app.Flags, &cli.BoolFlag{Name: option})
	}
	app.Action = func(c *cli.Context) error {
		req, err := readAttachRequest(c)
		if err != nil {
			return err
		}
		if req.help {
			return writeAll(stdout, attachHelp)
		}
		return req.run(stdout)
	}
	return app
}

// readAttachRequest checks the command line.
func readAttachRequest(c *cli.Context) (*attachRequest, error) {
	req := &attachRequest{
		help: c.Bool("help"), certificates: c.String("tls_certificates"), resize: c.Bool("resize"),
		opt: kernel.Options{Connections: 1, Ioctl: c.Bool("ioctl"), WriteBack: defaultWriteBack},
	}
	if req.help {
		return req, nil
	}
	for _, o := range []struct {
		name string
		v    value
	}{
		{writeBackOption, writeBackValue(&req.opt)},
		{"connections", intValue{&req.opt.Connections, 1, 64}},
		{"timeout", durationValue{p: &req.opt.Timeout, min: time.Second, max: 24 * time.Hour, zeroOK: true}},
		{"reconnect", durationValue{p: &req.opt.Reconnect, min: time.Second, max: 24 * time.Hour, zeroOK: true}},
	} {
		if err := setOption(c, o.name, o.v); err != nil {
			return nil, err
		}
	}
	switch {
	case req.opt.Ioctl && req.opt.Reconnect > 0:
		return nil, usagef("--ioctl and --reconnect: connections can only be made again by netlink; leave one of the two out")
	case req.opt.Ioctl && req.resize:
		return nil, usagef("--ioctl and --resize: only a device that is attached by netlink can be resized; detach it and attach it again")
	}
	if err := wantArgs(c, attachName, "URI", "DEVICE"); err != nil {
		return nil, err
	}
	var err error
	if req.target, err = kernel.ParseURI(c.Args().Get(0)); err != nil {
		return nil, usagef("%v", err)
	}
	req.device = c.Args().Get(1)
	if err := kernel.CheckDevice(req.device); err != nil {
		return nil, usagef("%v", err)
	}
	if req.certificates != "" && !req.target.TLS {
		return nil, usagef("--tls_certificates is of no use without TLS: write nbds://")
	}
	return req, nil
}

// writeBackOption is one of attach and detach.
const (
	writeBackOption  = "write_back_timeout"
	defaultWriteBack = 30 * time.Second
)

func writeBackValue(opt *kernel.Options) value {
	return durationValue{p: &opt.WriteBack, min: time.Second, max: 24 * time.Hour, zeroOK: true}
}

// setOption reads an option, if it is given.
func setOption(c *cli.Context, name string, v value) error {
	text := c.String(name)
	if text == "" {
		return nil
	}
	if err := v.set(text); err != nil {
		return usagef("--%s %s: %v", name, shellQuote(text), err)
	}
	return nil
}

// wantArgs requires just these arguments behind the options.
func wantArgs(c *cli.Context, name string, args ...string) error {
	for _, arg := range c.Args().Slice() {
		if strings.HasPrefix(arg, "-") {
			return usagef("%q comes after %s's arguments: put options before them", arg, name)
		}
	}
	if c.Args().Len() != len(args) {
		return usagef("%s takes %s (to export a file under the name %s: %s -- %s FILE)",
			name, strings.Join(args, " and "), name, programName, name)
	}
	return nil
}

// run attaches the device, and stays for as long as that needs.
func (r *attachRequest) run(stdout io.Writer) error {
	if r.target.TLS {
		cfg, err := nbdtls.ClientConfig(r.certificates, r.target.ServerName)
		if err != nil {
			return err
		}
		r.opt.TLS = cfg
	}
	heard, stop := signals(2)
	defer stop()
	ctx := heard[0]
	r.opt.Hurry = heard[1].Done()
	if r.resize {
		size, err := kernel.Resize(ctx, r.target, r.device, r.opt)
		if err != nil {
			return err
		}
		return writeAll(stdout, fmt.Sprintf("%s has %s now\n", r.device, humanSize(int64(size))))
	}
	a, err := kernel.Attach(ctx, r.target, r.device, r.opt)
	if err != nil {
		return err
	}
	rights := "read and write"
	if a.ReadOnly() {
		rights = "read-only"
	}
	text := fmt.Sprintf("%s is attached: %s, %s\n", r.device, humanSize(int64(a.Size())), rights)
	if a.Resident() {
		text += "it needs this program; stop with Ctrl-C, which detaches it\n"
	}
	if err := writeAll(stdout, text); err != nil {
		return errors.Join(fmt.Errorf("%w; the device is detached again", err), a.Detach())
	}
	return a.Wait(ctx)
}

// signals returns contexts, of which each SIGTERM or SIGINT ends another one; the
// one behind the last ends the program, as if nobody had asked.
func signals(n int) (heard []context.Context, stop func()) {
	cancels := make([]func(), n)
	heard = make([]context.Context, n)
	for i := range heard {
		heard[i], cancels[i] = context.WithCancel(context.Background())
	}
	come, over := make(chan os.Signal, n), make(chan struct{})
	signal.Notify(come, os.Interrupt, syscall.SIGTERM)
	go func() {
		defer signal.Stop(come)
		for _, cancel := range cancels {
			select {
			case <-come:
			case <-over:
			}
			cancel()
		}
	}()
	return heard, func() { close(over) }
}

// detach is the other subcommand.
func detach(c *cli.Context, stdout io.Writer) error {
	if c.Bool("help") {
		return writeAll(stdout, attachHelp)
	}
	if err := wantArgs(c, detachName, "DEVICE"); err != nil {
		return err
	}
	device := c.Args().First()
	if err := kernel.CheckDevice(device); err != nil {
		return usagef("%v", err)
	}
	opt := kernel.Options{WriteBack: defaultWriteBack}
	if err := setOption(c, writeBackOption, writeBackValue(&opt)); err != nil {
		return err
	}
	heard, stop := signals(1)
	defer stop()
	opt.Hurry = heard[0].Done()
	return kernel.Detach(device, opt)
}
