package main

import (
	"context"
	"io"

	"github.com/urfave/cli/v2"
)

// programName is what the program calls itself, whatever its file is called.
const programName = "fileio_tgt"

// urfave/cli would answer --help, wherever it stands, with a text of its own.
func init() { cli.HelpFlag = nil }

// runApp parses the command line and does what it says.
func runApp(args []string, stdout, stderr io.Writer, serve serveFunc) error {
	if len(args) > 1 {
		switch name := args[1]; name {
		case statusName:
			return newStatusApp(stdout).Run(args[1:])
		case attachName, detachName:
			return newAttachApp(name, stdout).Run(args[1:])
		}
	}
	app := newApp(stdout, func(cfg *config) error {
		return supervise(context.Background(), cfg, newEnvironment(stdout, stderr, serve))
	})
	app.ErrWriter = stderr
	return app.Run(expandArgs(args))
}

// newApp makes the application. Without a subcommand its action is to serve
// files; each of Commands has flags and an action of its own. A subcommand is
// the first word: behind an option, or --, the same word is the name of an
// export.
func newApp(stdout io.Writer, serve func(*config) error) *cli.App {
	line := newCommandLine()
	return &cli.App{
		Name:   programName,
		Flags:  line.flags(),
		Writer: stdout,
		// --help and --version are options like the others (help.go,
		// version.go), and "help" is a possible export name.
		HideHelp:        true,
		HideHelpCommand: true,
		HideVersion:     true,
		// File names may contain commas.
		DisableSliceFlagSeparator: true,
		Commands:                  []*cli.Command{hostCommand(stdout, line, serve), traceCommand(stdout)},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usagef("%s", explainFlagError(err.Error()))
		},
		// run turns the error into a line and a status, not cli.
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			switch {
			case line.help:
				return writeAll(stdout, helpText())
			case line.version:
				return writeAll(stdout, versionText())
			}
			cfg, err := line.config(c.Args().Slice())
			if err != nil {
				return err
			}
			return serve(cfg)
		},
	}
}

// expandArgs is splitShort behind the program's own name.
func expandArgs(args []string) []string {
	if len(args) < 2 {
		return args
	}
	return append(args[:1:1], splitShort(args[1:])...)
}

// writeAll writes text in one piece.
func writeAll(w io.Writer, text string) error {
	_, err := io.WriteString(w, text)
	return err
}
