// Program benchlifecycle reads the output of "go test -bench Lifecycle" and
// prints it as Markdown tables: one per kind of command, a row for each number
// of devices, a column for each number of goroutines.
//
//	go test -run '^$' -bench '^BenchmarkLifecycle$' -count 5 ./handlers | go run ./internal/benchlifecycle [-max 1000]
//
// Of several counts it takes the median. It fails if the tests did, if there is
// no benchmark in what it reads, or, with -max, if one goroutine on one device
// needs more nanoseconds of processor time than that, or anything allocates.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	limit := flag.Float64("max", 0, "most nanoseconds of processor time of a command with one goroutine on one device; 0: no limit")
	flag.Parse()
	if err := run(os.Stdin, os.Stdout, *limit); err != nil {
		fmt.Fprintln(os.Stderr, "benchlifecycle:", err)
		os.Exit(1)
	}
}

// run prints the tables of what it reads. They are printed even if limit is
// exceeded.
func run(in io.Reader, out io.Writer, limit float64) error {
	r, err := parse(in)
	if err != nil {
		return err
	}
	if _, err := io.WriteString(out, r.markdown()); err != nil {
		return err
	}
	return r.check(limit)
}
