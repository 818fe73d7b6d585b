package main

import (
	"context"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"scstuser/ioctl/preload"
)

// recordVerb is trace record, the only verb with a program in its arguments.
func recordVerb() *cli.Command {
	return traceUsage(&cli.Command{
		Name: "record",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}},
			&cli.IntFlag{Name: "data", Value: 512},
		},
		Action: func(c *cli.Context) error {
			switch {
			case c.Bool("help"):
				return writeAll(c.App.Writer, traceHelp)
			case c.String("output") == "":
				return usagef("trace record needs -o FILE; %s trace --help says more", programName)
			case c.Int("data") < 0:
				return usagef("trace record: --data %d: want a number of bytes, at least 0", c.Int("data"))
			case !c.Args().Present():
				return usagef("trace record needs a program; %s trace --help says more", programName)
			}
			return traceRecord(c)
		},
	})
}

// traceRecord runs the program. It has the terminal; what is said about the
// recording goes to stderr.
func traceRecord(c *cli.Context) error {
	data := c.Int("data")
	if data == 0 {
		data = -1 // none
	}
	state, n, err := preload.Record(context.Background(), preload.Options{
		Out: c.String("output"), Program: c.Args().Slice(), Data: data,
		Stdin: os.Stdin, Stdout: c.App.Writer, Stderr: c.App.ErrWriter,
	})
	if err != nil {
		return fmt.Errorf("%s: %w", c.Args().First(), err)
	}
	fmt.Fprintf(c.App.ErrWriter, "%s: %d events in %s\n", programName, n, oneLine(c.String("output")))
	if !state.Success() {
		return fmt.Errorf("%s: %v", c.Args().First(), state)
	}
	return nil
}
