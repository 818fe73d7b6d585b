package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// place is where a figure belongs in the tables.
type place struct {
	command             string
	devices, goroutines int
}

// figure is what was measured at one place, one value for each count.
type figure struct{ ns, cpu, allocs []float64 }

// report is everything that was read.
type report struct {
	cpu, procs string
	// commands, devices and goroutines are in the order in which they came.
	commands            []string
	devices, goroutines []int
	figures             map[place]*figure
}

// line is one benchmark's result; without a -N behind its name there was one
// processor.
var line = regexp.MustCompile(`^BenchmarkLifecycle/(\w+)/goroutines=(\d+)/devices=(\d+)(?:-(\d+))?\s+\d+\s+([\d.]+) ns/op\s+([\d.]+) cpu-ns/op(?:.*\s(\d+) allocs/op)?`)

// parse reads the output of go test.
func parse(in io.Reader) (*report, error) {
	r := &report{procs: "1", figures: map[place]*figure{}}
	s := bufio.NewScanner(in)
	for s.Scan() {
		text := s.Text()
		if cpu, ok := strings.CutPrefix(text, "cpu: "); ok {
			r.cpu = cpu
		}
		if strings.HasPrefix(text, "FAIL") || strings.HasPrefix(text, "--- FAIL") {
			return nil, fmt.Errorf("the benchmarks failed: %q", text)
		}
		if m := line.FindStringSubmatch(text); m != nil {
			if err := r.add(m); err != nil {
				return nil, fmt.Errorf("benchmark line %q: %w", text, err)
			}
		}
	}
	if err := s.Err(); err != nil {
		return nil, fmt.Errorf("read the benchmarks: %w", err)
	}
	if len(r.figures) == 0 {
		return nil, errors.New("no BenchmarkLifecycle results in the input: run go test with -bench Lifecycle")
	}
	return r, nil
}

// add takes the parts of a line.
func (r *report) add(m []string) error {
	goroutines, err := strconv.Atoi(m[2])
	if err != nil {
		return err
	}
	devices, err := strconv.Atoi(m[3])
	if err != nil {
		return err
	}
	if m[4] != "" {
		r.procs = m[4]
	}
	ns, err := strconv.ParseFloat(m[5], 64)
	if err != nil {
		return err
	}
	cpu, err := strconv.ParseFloat(m[6], 64)
	if err != nil {
		return err
	}
	if m[7] == "" {
		return errors.New("it has no allocs/op")
	}
	allocs, err := strconv.ParseFloat(m[7], 64)
	if err != nil {
		return err
	}
	p := place{m[1], devices, goroutines}
	if r.figures[p] == nil {
		r.figures[p] = &figure{}
	}
	f := r.figures[p]
	f.ns, f.cpu, f.allocs = append(f.ns, ns), append(f.cpu, cpu), append(f.allocs, allocs)
	r.commands = appendNew(r.commands, p.command)
	r.devices = appendNew(r.devices, devices)
	r.goroutines = appendNew(r.goroutines, goroutines)
	return nil
}

func appendNew[T comparable](l []T, x T) []T {
	if slices.Contains(l, x) {
		return l
	}
	return append(l, x)
}

// median is that of an odd number of values, or the upper of the two.
func median(l []float64) float64 {
	l = slices.Clone(l)
	slices.Sort(l)
	return l[len(l)/2]
}
