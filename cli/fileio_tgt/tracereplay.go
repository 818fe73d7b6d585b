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

// traceReplay plays a recording against a host of its own.
func traceReplay(c *cli.Context, stdout io.Writer, files []string) error {
	rec, err := trace.Load(files[0])
	if err != nil {
		return err
	}
	if rec.Truncated {
		fmt.Fprintf(c.App.ErrWriter, "%s: %s ends in the middle of a line; the rest of it is missing\n", programName, oneLine(files[0]))
	}
	res, err := replay.Run(rec, replay.Options{})
	if err != nil {
		return fmt.Errorf("%s: %w", files[0], err)
	}
	if c.Bool("json") {
		err = writeJSON(stdout, res)
	} else {
		err = writeReplay(stdout, res)
	}
	if res.Difference != nil {
		err = errors.Join(err, errReplayDiffers)
	}
	return err
}

// writeReplay prints the outcome for people.
func writeReplay(w io.Writer, res *replay.Result) error {
	if res.Difference != nil {
		return res.Difference.WriteText(w)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "as recorded: %d events, %d calls, %d replies, %d subcommands of %d commands, %d listings\n",
		res.Events, res.Calls, res.Replies, res.Subcommands, res.Commands, res.Listings)
	for _, name := range res.Expected {
		for _, x := range replay.Expectations {
			if x.Name == name {
				writeWrapped(&b, "  ", "different on purpose ("+name+"): "+x.Reason)
			}
		}
	}
	return writeAll(w, b.String())
}
