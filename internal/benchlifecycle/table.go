package main

import (
	"fmt"
	"slices"
	"strings"
)

// markdown is the tables. A cell is nanoseconds per command, of all goroutines
// together, and how many of processor time.
func (r *report) markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s processors. Nanoseconds per command (of processor time), median of %d.\n", r.cpu, r.procs, r.counts())
	for _, c := range r.commands {
		fmt.Fprintf(&b, "\n| %s |", c)
		for _, g := range r.goroutines {
			fmt.Fprintf(&b, " %s |", count(g, "goroutine"))
		}
		b.WriteString("\n|---|" + strings.Repeat("---|", len(r.goroutines)) + "\n")
		for _, d := range r.devices {
			fmt.Fprintf(&b, "| %s |", count(d, "device"))
			for _, g := range r.goroutines {
				b.WriteString(" " + r.cell(place{c, d, g}) + " |")
			}
			b.WriteString("\n")
		}
	}
	fmt.Fprintf(&b, "\nAllocations per command: %g.\n", r.mostAllocs())
	return b.String()
}

func (r *report) cell(p place) string {
	f := r.figures[p]
	if f == nil {
		return "-"
	}
	return fmt.Sprintf("%.0f (%.0f)", median(f.ns), median(f.cpu))
}

// counts is how often each benchmark was run.
func (r *report) counts() (n int) {
	for _, f := range r.figures {
		n = max(n, len(f.ns))
	}
	return n
}

func (r *report) mostAllocs() (n float64) {
	for _, f := range r.figures {
		n = max(n, slices.Max(f.allocs))
	}
	return n
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// check applies the limits: that of processor time to one goroutine on one
// device, that of allocations, none, to everything.
func (r *report) check(limit float64) error {
	for _, c := range r.commands {
		f := r.figures[place{c, 1, 1}]
		if limit <= 0 || f == nil {
			continue
		}
		if ns := median(f.cpu); ns > limit {
			return fmt.Errorf("%s takes %.0f ns of processor time on one device, the limit is %.0f", c, ns, limit)
		}
	}
	if n := r.mostAllocs(); limit > 0 && n > 0 {
		return fmt.Errorf("a command allocates %g times, it must not", n)
	}
	return nil
}
