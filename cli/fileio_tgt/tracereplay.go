package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"scstuser/ioctl/replay"
	"scstuser/ioctl/trace"
)

// errReplayDiffers is trace replay's exit status 1; the difference itself is on
// stdout.
var errReplayDiffers = errors.New("the host did not answer as recorded")

// replayVerb is trace replay: which side is played decides about its arguments.
func replayVerb() *cli.Command {
	return traceUsage(&cli.Command{
		Name: "replay",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "json"},
			&cli.StringFlag{Name: "as", Value: "handler"},
		},
		Action: func(c *cli.Context) error {
			args := c.Args().Slice()
			if len(args) > 1 && args[1] == "--" {
				args = append(args[:1:1], args[2:]...)
			}
			as := c.String("as")
			switch {
			case c.Bool("help"):
				return writeAll(c.App.Writer, traceHelp)
			case as != "handler" && as != "host":
				return usagef("trace replay: --as %s: want handler or host", shellQuote(as))
			case as == "handler" && len(args) != 1:
				return usagef("trace replay needs one file name, got %d; %s trace --help says more", len(args), programName)
			case as == "host" && len(args) < 2:
				return usagef("trace replay --as host needs a file name and a program; %s trace --help says more", programName)
			}
			return traceReplay(c, args[0], args[1:])
		},
	})
}

// traceReplay plays one side of a trace: the handler's against a host of its
// own, or the host's against a program.
func traceReplay(c *cli.Context, file string, program []string) error {
	rec, err := trace.Load(file)
	if err != nil {
		return err
	}
	if rec.Truncated {
		fmt.Fprintf(c.App.ErrWriter, "%s: %s ends in the middle of a line; the rest of it is missing\n", programName, oneLine(file))
	}
	var res *replay.Result
	differs := errReplayDiffers
	if len(program) == 0 {
		res, err = replay.Run(rec, replay.Options{})
	} else {
		differs = errHandlerDiffers
		res, err = replayAsHost(rec, program, c.App.ErrWriter)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	if c.Bool("json") {
		err = writeJSON(c.App.Writer, res)
	} else {
		err = writeReplay(c.App.Writer, res)
	}
	if res.Difference != nil {
		err = errors.Join(err, differs)
	}
	return err
}

// writeReplay prints the outcome for people.
func writeReplay(w io.Writer, res *replay.Result) error {
	if res.Difference != nil {
		return res.Difference.WriteText(w)
	}
	var b strings.Builder
	if res.Calls == 0 { // the host's side
		fmt.Fprintf(&b, "as recorded: %d events, %d commands\n", res.Events, res.Commands)
	} else {
		fmt.Fprintf(&b, "as recorded: %d events, %d calls, %d replies, %d subcommands of %d commands, %d listings\n",
			res.Events, res.Calls, res.Replies, res.Subcommands, res.Commands, res.Listings)
	}
	for _, name := range res.Expected {
		for _, x := range replay.Expectations {
			if x.Name == name {
				writeWrapped(&b, "  ", "different on purpose ("+name+"): "+x.Reason)
			}
		}
	}
	return writeAll(w, b.String())
}
