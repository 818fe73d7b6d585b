// Command nbdscale shows what a request costs fileio_tgt when there are many
// connections, and when there are many exports. It is behind `make bench-scale`.
//
//	go run ./internal/nbdscale [-most 1000] [-rounds 5] [-time 1s]
//
// One server has one export, another one as many as -most; each has the same
// bytes in all, in the page cache. Each row is a number of connections, each of
// which keeps 16 random reads of 4 KiB in flight (package nbdload), on one export
// or each on its own. The rows take turns, round by round. The table shows, as a median over the rounds with half the
// distance between the lowest and the highest, the server's processor time per
// request, and its ratio to that of the first row; and the rate, of which the
// client, on the same processors, has its share.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"scstuser/internal/proc"
	"scstuser/internal/sample"
	"scstuser/nbd/nbdload"
)

const (
	depth     = 16
	blockSize = 4096
	// imageBytes is how much all images of a server have.
	imageBytes = 256 << 20
	stopLimit  = time.Minute
)

// row is one load.
type row struct {
	connections int
	server      int // 0 has one export, 1 has many
	exports     int // that are used
	cpu, rate   []float64
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "nbdscale:", err)
		stop()
		os.Exit(1)
	}
}

// settings are the command line.
type settings struct {
	most, rounds int
	time         time.Duration
	bin          string
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) (err error) {
	var s settings
	flags := flag.NewFlagSet("nbdscale", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&s.most, "most", 1000, "the most connections and exports, up to 1024")
	flags.IntVar(&s.rounds, "rounds", 5, "how often each row is measured")
	flags.DurationVar(&s.time, "time", time.Second, "how long one measurement takes")
	flags.StringVar(&s.bin, "bin", "", "a fileio_tgt binary to measure instead of building one")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if s.most < 1 || s.most > 1024 || s.rounds < 1 || s.time < 100*time.Millisecond || flags.NArg() > 0 {
		return errors.New("-most is from 1 to 1024, -rounds at least 1, -time at least 100ms, and there are no other arguments")
	}
	dir, err := os.MkdirTemp("", "nbdscale")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if s.bin == "" {
		if s.bin, err = (&proc.Builder{Dir: dir}).Binary(ctx, false); err != nil {
			return err
		}
	}
	var servers [2]*proc.Server
	for i, exports := range []int{1, s.most} {
		if servers[i], err = start(ctx, s.bin, filepath.Join(dir, fmt.Sprint(i)), exports); err != nil {
			return err
		}
		defer func() { err = errors.Join(err, servers[i].Stop(stopLimit)) }()
	}
	rows := rowsUpTo(s.most)
	for round := range s.rounds {
		for i := range rows {
			if err := rows[i].measure(ctx, servers[rows[i].server], s.time); err != nil {
				return err
			}
		}
		fmt.Fprintf(stderr, "round %d of %d\n", round+1, s.rounds)
	}
	return write(stdout, rows, s.most)
}

// rowsUpTo are the rows of the table: powers of ten.
func rowsUpTo(most int) (rows []row) {
	var steps []int
	for n := 1; n < most; n *= 10 {
		steps = append(steps, n)
	}
	steps = append(steps, most)
	for _, n := range steps {
		rows = append(rows, row{connections: n, exports: 1})
	}
	for _, n := range steps {
		rows = append(rows, row{connections: n, exports: n, server: 1})
	}
	return rows
}

// start makes that many images, which are in the page cache then, and starts a
// server for them.
func start(ctx context.Context, bin, dir string, exports int) (*proc.Server, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c := proc.Config{
		Listen: []proc.Endpoint{proc.Unix(filepath.Join(dir, "socket"))},
		Args:   []string{"--max_connections=2048"},
	}
	data := make([]byte, imageBytes/exports&^(blockSize-1))
	for i := range data {
		data[i] = byte(i>>12 ^ i)
	}
	for i := range exports {
		file := filepath.Join(dir, name(i))
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return nil, err
		}
		c.Files = append(c.Files, file)
	}
	return proc.Start(ctx, proc.FileioTgt{Bin: bin}, c)
}

func name(i int) string { return fmt.Sprintf("e%d", i) }

// measure takes one sample.
func (r *row) measure(ctx context.Context, s *proc.Server, d time.Duration) error {
	l := nbdload.Load{Connections: r.connections, Depth: depth, BlockSize: blockSize, Random: true, Duration: d}
	for i := range r.exports {
		l.Exports = append(l.Exports, name(i))
	}
	// What connecting costs is not of interest.
	var before proc.Usage
	var failed error
	l.Begin = func() { before, failed = s.Usage() }
	result, err := nbdload.Run(ctx, func(ctx context.Context) (net.Conn, error) { return s.Endpoint(0).Dial(ctx) }, l)
	if err != nil {
		return fmt.Errorf("%d connections to %d exports: %w", r.connections, r.exports, err)
	}
	after, err := s.Usage()
	if err = errors.Join(failed, err); err != nil {
		return err
	}
	r.cpu = append(r.cpu, float64((after.CPU-before.CPU).Nanoseconds())/1000/float64(result.Requests))
	r.rate = append(r.rate, float64(result.Requests)/1000/result.Elapsed.Seconds())
	return nil
}

// write prints the table, in Markdown.
func write(w io.Writer, rows []row, most int) error {
	fmt.Fprintf(w, "| connections | exports used | of | CPU per request, us | ratio | kIOPS |\n| ---: | ---: | ---: | ---: | ---: | ---: |\n")
	first := sample.New(rows[0].cpu).Median
	for _, r := range rows {
		cpu, rate := sample.New(r.cpu), sample.New(r.rate)
		if _, err := fmt.Fprintf(w, "| %d | %d | %d | %.2f ±%.0f%% | %.2f | %.0f |\n",
			r.connections, r.exports, []int{1, most}[r.server], cpu.Median, 100*cpu.Spread, cpu.Median/first, rate.Median); err != nil {
			return err
		}
	}
	return nil
}
