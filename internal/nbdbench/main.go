// Command nbdbench compares fileio_tgt with nbdkit (its file plugin), qemu-nbd
// and go-nbd's example file server, in one run, on the same image. It is behind `make bench`.
//
//	go run ./internal/nbdbench [-rounds 5] [-time 2s] [-points rr1,rr16] [-client load] [-md] [-require 1.0]
//
// # How the numbers are made
//
// All servers run at the same time, each listening on a unix socket of its own;
// at any moment only one of them has a client. fileio_tgt is built from the
// source tree and runs with its default options, nbdkit with its default
// threads, qemu-nbd with --cache=writeback and, as two contenders,
// --aio=threads and --aio=io_uring (left out where it does not start).
//
// The image has random content and has just been written and read through every
// server, so that it is in the page cache: what is compared is the servers, not
// the disk. That first pass also compares each byte that a server returns with
// the image; a server that is wrong is not measured. The points that write go
// to one scratch copy that the servers share, on a tmpfs if /dev/shm has room,
// or else beside the image (the table says which).
//
// A round measures every point on every server, server after server; the order
// of the servers turns with each point and round, so that none always runs on a
// machine that another one has warmed up. A measurement is one run of the
// client (fio with its nbd engine, or package nbdload, with a new connection for
// each job) for the given time. The tables show, for each point, the median over the rounds and, behind
// ±, half the distance between the lowest and the highest one:
//
//   - the rate: completed requests (or MiB) per second, as the client counts;
//   - the server's CPU time per request: user and system time of all its
//     threads, from /proc/PID/stat, before and after the client's run, by the
//     number of requests. Its resolution is 10 ms over the run;
//   - the latency that 99 of 100 requests stay below, from submission to
//     completion at the client.
//
// A ratio is fileio_tgt's median by that of the best peer at that point: above
// 1 is better for rates, below 1 is better for CPU time and latency. The peak
// memory of a server (VmHWM) is that of the whole run.
//
// With its defaults a run takes about twenty minutes.
//
// The client competes with the server for the processors. Where there are few,
// a part of each rate is the client's: fio costs more per request than the
// servers do. That is why there are two clients, with a set of tables each:
// fio is the one that others can compare with, nbdload the one that leaves the
// server to be the limit.
//
// # Files
//
// point.go has the loads, client.go what a load generator is, fio.go and load.go
// the two that there are; rig.go starts the servers on what image.go makes; bench.go
// runs the rounds; package sample and summary.go reduce the samples; table.go,
// markdown.go and json.go print them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

// The exit statuses.
const (
	exitOK     = 0
	exitFailed = 1 // it could not measure, or -require is not met
	exitUsage  = 2
)

// settings are the command line.
type settings struct {
	rounds    int
	time      time.Duration
	imageSize int64
	dir       string
	points    []Point
	bin       string
	json, md  bool
	require   float64
	client    string // one of clientNames
}

// clientNames are the load generators that -client knows.
var clientNames = []string{"fio", "load", "both"}

// newClients returns the load generators to measure with.
func (s settings) newClients(ctx context.Context) (clients []Client, err error) {
	if s.client != "load" {
		f, err := newFio(ctx)
		if err != nil {
			return nil, err
		}
		clients = append(clients, f)
	}
	if s.client != "fio" {
		clients = append(clients, load{})
	}
	return clients, nil
}

func main() {
	// The servers and the directories have to go whatever ends us.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	status := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(status)
}

// run is the program without the exit.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	s, err := parseSettings(args, stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	if err := benchmark(ctx, s, stdout, stderr); err != nil {
		fmt.Fprintln(stderr, "nbdbench:", err)
		return exitFailed
	}
	return exitOK
}

// benchmark measures, prints the result to stdout and judges it.
func benchmark(ctx context.Context, s settings, stdout, progress io.Writer) error {
	results, err := measure(ctx, s, progress)
	if ctx.Err() != nil {
		// Whatever was under way has failed for this reason.
		return errors.New("interrupted")
	}
	if err != nil {
		return err
	}
	if err := write(stdout, results, s); err != nil {
		return err
	}
	var errs []error
	for _, r := range results {
		errs = append(errs, r.require(s.require))
	}
	return errors.Join(errs...)
}

// parseSettings reads the command line. It has told about an error when it
// returns one.
func parseSettings(args []string, stderr io.Writer) (settings, error) {
	s := settings{imageSize: 512 << 20, points: allPoints}
	flags := flag.NewFlagSet("nbdbench", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.rounds, "rounds", 5, "how often every point is measured on every server")
	flags.DurationVar(&s.time, "time", 2*time.Second, "how long one measurement takes")
	flags.Func("image-size", "size of the image, which has to stay in the page cache (default 512MiB)",
		func(text string) (err error) { s.imageSize, err = parseSize(text); return err })
	flags.StringVar(&s.dir, "dir", os.TempDir(), "directory for the image, on a disk like that of a real one")
	flags.Func("points", "comma-separated list of points (default "+pointNames(allPoints)+")",
		func(text string) (err error) { s.points, err = parsePoints(text); return err })
	flags.StringVar(&s.bin, "bin", "", "a fileio_tgt binary to measure instead of building one")
	flags.StringVar(&s.client, "client", "both", "load generator: fio, with its nbd engine; load, this project's own, which costs less; or both")
	flags.BoolVar(&s.json, "json", false, "print every sample as JSON instead of the tables")
	flags.BoolVar(&s.md, "md", false, "print the tables in Markdown")
	flags.Float64Var(&s.require, "require", 0, "fail unless the rate ratio of each read point is at least this")
	if err := flags.Parse(args); err != nil {
		return s, err
	}
	err := s.validate(flags.Args())
	if err != nil {
		fmt.Fprintln(stderr, "nbdbench:", err)
	}
	return s, err
}

func (s settings) validate(rest []string) error {
	switch {
	case len(rest) > 0:
		return fmt.Errorf("unexpected argument %q: there are only options", rest[0])
	case !slices.Contains(clientNames, s.client):
		return fmt.Errorf("-client %q: there are %s", s.client, strings.Join(clientNames, ", "))
	case s.rounds < 1:
		return errors.New("-rounds must be at least 1")
	case s.time < 100*time.Millisecond:
		return errors.New("-time must be at least 100ms: the CPU time is counted in steps of 10ms")
	case s.json && s.md:
		return errors.New("-json and -md exclude each other")
	case s.require < 0:
		return errors.New("-require must not be negative")
	}
	return nil
}

// write prints the result in the form that was asked for.
func write(w io.Writer, results []*Result, s settings) error {
	if s.json {
		return writeJSON(w, results)
	}
	for _, r := range results {
		write := writeText
		if s.md {
			write = writeMarkdown
		}
		if err := write(w, r); err != nil {
			return err
		}
	}
	return nil
}
