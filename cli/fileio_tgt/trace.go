package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"
)

const traceHelp = `fileio_tgt trace works with recordings of the scst_user interface

usage: fileio_tgt trace show [--json] FILE
       fileio_tgt trace stat [--json] FILE
       fileio_tgt trace diff [--json] FILE FILE
       fileio_tgt trace convert OLD NEW
       fileio_tgt trace replay [--json] FILE
       fileio_tgt trace replay [--json] --as host FILE -- PROGRAM [ARG]...
       fileio_tgt trace record -o FILE [--data BYTES] -- PROGRAM [ARG]...

show     a line per event: time, thread, ioctl, subcommands and replies with
         their handles, what matters of what they carry, result
stat     calls, errors, subcommands and replies per call, and how long the
         handler took for each kind of subcommand
diff     the first event in which two traces differ, whatever handles,
         sessions, buffers, threads and times are called in them
convert  rewrites a trace, packed as the new name says (.gz, .zst), and makes
         one of a recording in the older format
replay   plays the handler's side of a trace against a host of its own, while an
         initiator does what the host's side implies, and checks that the host
         answers as recorded; prints the first difference. --as host plays the
         other side, on a node of its own, against a handler program; {} in its
         arguments is the node's path
record   runs a handler program under a small C library, which is built with cc
         when it is needed first, and writes what it does with any scst_user
         node, the kernel's too; --data limits the bytes of each command's data
         that are kept (default 512)

A host records by itself: fileio_tgt host --record FILE.

FILE may be packed, and may be in the older format. --json prints for programs:
show an event a line, the others one object.

Exit status: 0, 1 after a failure or if there is a difference, 2 for a wrong
command line.
`

// traceCommand is "fileio_tgt trace": an action per verb, in trace*.go.
func traceCommand(stdout io.Writer) *cli.Command {
	json := &cli.BoolFlag{Name: "json"}
	return traceUsage(&cli.Command{
		Name: "trace",
		Subcommands: []*cli.Command{
			traceVerb("show", 1, traceShow, json),
			traceVerb("stat", 1, traceStat, json),
			traceVerb("diff", 2, traceDiff, json),
			traceVerb("convert", 2, traceConvert),
			replayVerb(),
			recordVerb(),
		},
		Action: func(c *cli.Context) error {
			if c.Bool("help") {
				return writeAll(stdout, traceHelp)
			}
			if c.Args().Present() {
				return usagef("trace %s: there is no such verb; %s trace --help lists them", shellQuote(c.Args().First()), programName)
			}
			return usagef("trace needs a verb; %s trace --help lists them", programName)
		},
	})
}

// traceVerb is one verb, with so many files.
func traceVerb(name string, files int, action func(c *cli.Context, stdout io.Writer, files []string) error, flags ...cli.Flag) *cli.Command {
	return traceUsage(&cli.Command{
		Name:  name,
		Flags: flags,
		Action: func(c *cli.Context) error {
			if c.Bool("help") {
				return writeAll(c.App.Writer, traceHelp)
			}
			if c.NArg() != files {
				return usagef("trace %s needs %s, got %d; %s trace --help says more", name, count(files, "file name"), c.NArg(), programName)
			}
			return action(c, c.App.Writer, c.Args().Slice())
		},
	})
}

// traceUsage gives c what all of these commands have: --help, and errors in
// our words.
func traceUsage(c *cli.Command) *cli.Command {
	c.HideHelp = true
	c.Flags = append(c.Flags, &cli.BoolFlag{Name: "help", Aliases: []string{"h"}})
	c.OnUsageError = func(_ *cli.Context, err error, _ bool) error {
		return usagef("trace: %s", strings.ReplaceAll(explainFlagError(err.Error()), programName+" --help", programName+" trace --help"))
	}
	return c
}

// count is a number of things in words.
func count(n int, thing string) string {
	if n == 1 {
		return "one " + thing
	}
	return fmt.Sprintf("%d %ss", n, thing)
}
