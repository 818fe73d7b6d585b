package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// catHost are the options that only host has.
const catHost category = "The node"

// hostOnly are the options that only host has.
var hostOnly = []option{
	{
		name: "mount", category: catHost, arg: "DIR", def: "none; it has to be given",
		usage: "Directory on which the tree is mounted. Handlers open DIR/scst_user. What a crashed process left mounted " +
			"there is taken away.",
		bind: func(c *config) value { return textValue{&c.Host.Mount} },
	},
	{
		name: "link", category: catHost, arg: "PATH", def: "none",
		usage: "Make PATH a symbolic link to the node, and remove it at the end: /dev/scst_user for programs that were " +
			"written for the kernel module. What is there already and is no such link stays, and is an error.",
		bind: func(c *config) value { return textValue{&c.Host.Link} },
	},
	{
		name: "mode", category: catHost, arg: "OCTAL",
		usage: "Permissions of the node. Whoever can open it can register devices.",
		bind:  func(c *config) value { return modeValue{&c.Host.Mode} },
	},
	{
		name: "owner", category: catHost, arg: "USER", def: "the user of this process",
		usage: "Owner of the node, as USER or USER:GROUP. This process reads and writes the memory of its handlers: it has " +
			"to be the same user, or root.",
		bind: func(c *config) value { return ownerValue{&c.Host.Owner} },
	},
	{
		name: "user_versions", category: catHost, arg: "VERSION", def: "3.11.",
		usage: "Accept handlers that were built for this interface version. The beginning of a release accepts all versions " +
			"of it; a whole version, with its two sums, only that very one. Repeat the option for more.",
		bind: func(c *config) value { return &listValue{p: &c.Host.Versions} },
	},
	{
		name: "record", category: catHost, arg: "FILE", def: "none",
		usage: "Record every ioctl of every handler to this file, as JSON lines; compressed when it ends in .gz or .zst. " +
			"It holds the beginning of the data of each command.",
		bind: func(c *config) value { return textValue{&c.Host.Record} },
	},
	{
		name: "handler_grace", category: catHost, arg: "TIME",
		usage: "When a handler dies, keep the commands that it had for this long: if a handler registers a device of the same " +
			"name in time they are sent to that one, in their order, and clients see only a pause. For handlers whose " +
			"completed writes outlive their process, in a file say: what one kept in its own memory is lost, and nobody is " +
			"told. 0: commands fail at once.",
		bind: func(c *config) value {
			return durationValue{p: &c.Host.HandlerGrace, min: time.Second, max: 24 * time.Hour, zeroOK: true}
		},
	},
	{
		name: "max_devices", category: catHost, arg: "COUNT",
		usage: "The most devices that handlers can have registered at once.",
		bind:  func(c *config) value { return intValue{&c.Host.MaxDevices, 1, 1 << 20} },
	},
}

// hostShares are the options that host has in common with the program itself.
var hostShares = []string{
	"listen", "max_connections", "max_inflight", "max_inflight_bytes", "max_buffers", "max_cached",
	"socket_mode", "socket_owner", "tls", "tls_certificates", "tls_verify_peer", "allow", "idle_timeout", "keepalive",
	"max_ucmds", "cmd_timeout", "cmd_timeout_action", "attach_timeout", "suspend_timeout", "release_timeout", "control", "metrics",
	"handshake_timeout", "drain_timeout", "at_shutdown", "log-level", "log-format", "log-file", "debug", "json", "pid-file", "help",
}

// hostOptions are all options of host.
func hostOptions() []*option {
	var l []*option
	for i := range hostOnly {
		l = append(l, &hostOnly[i])
	}
	for i := range options {
		if slices.Contains(hostShares, options[i].name) {
			l = append(l, &options[i])
		}
	}
	return l
}

// hostCommand is "fileio_tgt host". line is the program's own command line, of
// which nothing may be given in front of it.
func hostCommand(stdout io.Writer, program *commandLine, serve func(*config) error) *cli.Command {
	line := newCommandLine()
	c := &cli.Command{
		Name: "host", HideHelp: true, HideHelpCommand: true,
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usagef("host: %s", explainHostFlagError(err.Error()))
		},
		Action: func(ctx *cli.Context) error {
			if line.help {
				return writeAll(stdout, hostHelpText())
			}
			for name := range program.given {
				return usagef("--%s stands in front of host, whose options come behind it", name)
			}
			cfg, err := line.hostConfig(ctx.Args().Slice())
			if err != nil {
				return err
			}
			return serve(cfg)
		},
	}
	for _, opt := range hostOptions() {
		c.Flags = append(c.Flags, &boundFlag{line: line, opt: opt, v: line.value(opt)})
	}
	return c
}

// hostConfig is the outcome of host's command line.
func (l *commandLine) hostConfig(rest []string) (*config, error) {
	if l.err != nil {
		return nil, l.err
	}
	if len(rest) > 0 {
		return nil, usagef("host takes options only, not %s", shellQuote(rest[0]))
	}
	l.cfg.resolve(l.given)
	for _, check := range []func() error{l.cfg.checkDebug, l.cfg.checkCmdTimeout, l.cfg.checkMetrics, l.cfg.checkWays} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return l.cfg, l.cfg.checkHost()
}

// explainHostFlagError puts an error of package flag into our words.
func explainHostFlagError(msg string) string {
	if name, ok := strings.CutPrefix(msg, flagUnknown); ok {
		return "unknown option " + dashed(name) + "; " + programName + " host --help lists the options"
	}
	if name, ok := strings.CutPrefix(msg, flagNeedsArg); ok {
		return dashed(name) + " needs an argument"
	}
	return explainFlagError(msg)
}

const hostHelpHead = `fileio_tgt host serves the devices of scst_user handlers over NBD

usage: fileio_tgt host [OPTIONS] --mount DIR

DIR/scst_user behaves as the kernel module's /dev/scst_user does: a handler
program opens it and registers a device, which is exported over NBD under its
name, and is DIR/devices/NAME/lun, for as long as the handler has it open.

For a try: fileio_tgt host --mount /run/scst --link /dev/scst_user
`

const hostHelpTail = `
Signals: SIGTERM and SIGINT finish the commands in flight, unmount and exit, a
second one exits at once; SIGUSR1 tells all initiators that capacities have
changed; SIGHUP opens the log file anew.
`

// hostHelpText is what host --help prints.
func hostHelpText() string {
	var b strings.Builder
	b.WriteString(hostHelpHead)
	for _, cat := range append([]category{catHost}, categories...) {
		first := true
		for _, opt := range hostOptions() {
			if opt.category != cat {
				continue
			}
			if first {
				fmt.Fprintf(&b, "\n%s\n", cat)
				first = false
			}
			writeOption(&b, opt)
		}
	}
	b.WriteString(hostHelpTail)
	return b.String()
}
