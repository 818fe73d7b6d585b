package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"scstuser/internal/status"
)

// statusName is the subcommand.
const statusName = "status"

const statusHelp = `fileio_tgt status tells what a running fileio_tgt does

usage: fileio_tgt status [--json] [--commands] [--watch SECONDS] [PID|SOCKET]

Without PID or SOCKET it asks the one fileio_tgt of this user that runs.
SOCKET, a path with a slash, is for one that was started with --control PATH.

  --commands        also list every ucmd: handle, state, references and owners
  --json            print one JSON object, for programs
  --watch SECONDS   tell again and again, until interrupted

Times are at most what is printed; one command in eight is measured. To see
the listing of SCST's module itself:

  curl --unix-socket SOCKET http://localhost/devices/NAME/commands
`

// statusRequest is a command line of the subcommand.
type statusRequest struct {
	help, json, commands bool
	watch                time.Duration // 0: once
	who                  string        // "", a PID or a path
}

// newStatusApp makes the application of the subcommand.
func newStatusApp(stdout io.Writer) *cli.App {
	return &cli.App{
		Name: statusName, Writer: stdout,
		HideHelp: true, HideHelpCommand: true, HideVersion: true,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "help", Aliases: []string{"h"}},
			&cli.BoolFlag{Name: "json"},
			&cli.BoolFlag{Name: "commands"},
			&cli.StringFlag{Name: "watch"},
		},
		OnUsageError: func(_ *cli.Context, err error, _ bool) error {
			return usagef("%s status: %v; %s status --help lists the options", programName, err, programName)
		},
		ExitErrHandler: func(*cli.Context, error) {},
		Action: func(c *cli.Context) error {
			req, err := readStatusRequest(c)
			if err != nil {
				return err
			}
			if req.help {
				return writeAll(stdout, statusHelp)
			}
			return req.run(c.Context, stdout)
		},
	}
}

// readStatusRequest checks the command line.
func readStatusRequest(c *cli.Context) (*statusRequest, error) {
	req := &statusRequest{help: c.Bool("help"), json: c.Bool("json"), commands: c.Bool("commands"), who: c.Args().First()}
	if text := c.String("watch"); text != "" {
		if err := (durationValue{p: &req.watch, min: time.Second, max: 24 * time.Hour}).set(text); err != nil {
			return nil, usagef("--watch %s: %v", shellQuote(text), err)
		}
	}
	for _, arg := range c.Args().Slice() {
		if strings.HasPrefix(arg, "-") {
			return nil, usagef("%q comes after %q: put options before it", arg, req.who)
		}
	}
	if c.Args().Len() > 1 {
		return nil, usagef("status takes one PID or SOCKET (to export a file under the name status: %s -- status FILE)", programName)
	}
	return req, nil
}

// run asks and prints, until ctx ends if it watches.
func (r *statusRequest) run(ctx context.Context, stdout io.Writer) error {
	path, err := r.socket()
	if err != nil {
		return err
	}
	client := status.NewClient(path)
	defer client.Close()
	for {
		text, err := r.ask(ctx, client)
		if err != nil {
			return err
		}
		switch {
		case r.watch == 0 || r.json:
		case isTerminal(stdout):
			text = "\x1b[H\x1b[2J" + text // from the top of an empty screen
		default:
			text += "\n"
		}
		if err := writeAll(stdout, text); err != nil {
			return fmt.Errorf("print the status: %w", err)
		}
		if r.watch == 0 {
			return nil
		}
		select {
		case <-time.After(r.watch):
		case <-ctx.Done():
			return nil
		}
	}
}

// isTerminal says that what is written to w is shown at once.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// ask returns what is printed. JSON is passed on as it came: a program of
// another version may have more to tell.
func (r *statusRequest) ask(ctx context.Context, client *status.Client) (string, error) {
	if r.json {
		path := "/status"
		if r.commands {
			path += "?commands=1"
		}
		text, err := client.Get(ctx, path)
		return string(text), err
	}
	s, err := client.Status(ctx, r.commands)
	if err != nil {
		return "", err
	}
	return s.Text(), nil
}

// socket decides whom to ask.
func (r *statusRequest) socket() (string, error) {
	if strings.Contains(r.who, "/") {
		return r.who, nil
	}
	pid := 0
	if r.who != "" {
		var err error
		if pid, err = strconv.Atoi(r.who); err != nil || pid <= 0 {
			return "", usagef("status %s: must be a process ID, or a path with a slash (./%s)", shellQuote(r.who), filepath.Base(r.who))
		}
	}
	dir, err := status.DefaultDir(programName)
	if err != nil {
		return "", fmt.Errorf("%w; name a socket: %s status SOCKET", err, programName)
	}
	if pid != 0 {
		return dir.Path(pid), nil
	}
	return onlyOne(dir)
}

// onlyOne is the socket of the one that runs, if one does.
func onlyOne(dir status.Dir) (string, error) {
	running, err := dir.Find()
	switch {
	case err != nil:
		return "", err
	case len(running) == 1:
		return running[0].Path, nil
	case len(running) == 0:
		return "", fmt.Errorf("no %s of this user runs, or none has its control socket in %s; name a socket: %s status SOCKET",
			programName, dir, programName)
	}
	var pids []string
	for _, one := range running {
		pids = append(pids, strconv.Itoa(one.PID))
	}
	return "", fmt.Errorf("%d run: %s; choose one: %s status %s", len(pids), strings.Join(pids, ", "), programName, pids[0])
}
