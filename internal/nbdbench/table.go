package main

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"scstuser/internal/sample"
)

// table is one table as strings, in whatever form it will be printed.
type table struct {
	title string
	head  []string
	rows  [][]string
}

// tables are the tables of a result.
func tables(r *Result) []table {
	var all []table
	for _, m := range metrics {
		t := table{title: m.title, head: append(append([]string{"point", "load", "unit"}, r.Servers...), "best peer", "ratio")}
		for _, pr := range r.Points {
			t.rows = append(t.rows, comparisonRow(r, compare(pr, m)))
		}
		all = append(all, t)
	}
	return append(all, memoryTable(r))
}

func comparisonRow(r *Result, c comparison) []string {
	row := []string{c.Point.Name, c.Point.Title(), c.Unit}
	for _, server := range r.Servers {
		cell := "-"
		if s, ok := c.Stats[server]; ok {
			cell = s.String()
		}
		row = append(row, cell)
	}
	if c.Best == "" {
		return append(row, "-", "-")
	}
	return append(row, c.Best, fmt.Sprintf("%.2f", c.Ratio))
}

func memoryTable(r *Result) table {
	t := table{title: "Peak memory", head: append([]string{"unit"}, r.Servers...), rows: [][]string{{"MiB"}}}
	for _, server := range r.Servers {
		t.rows[0] = append(t.rows[0], sample.Format(float64(r.PeakRSS[server])/(1<<20)))
	}
	return t
}

// writeText prints a result for a terminal.
func writeText(w io.Writer, r *Result) error {
	for _, t := range tables(r) {
		if _, err := fmt.Fprintf(w, "%s, %s\n\n", r.Client, t.title); err != nil {
			return err
		}
		columns := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, row := range append([][]string{t.head}, t.rows...) {
			// tabwriter keeps the first error for Flush.
			fmt.Fprintf(columns, "  %s\n", strings.Join(row, "\t"))
		}
		if err := columns.Flush(); err != nil {
			return err
		}
		if _, err := fmt.Fprintln(w); err != nil {
			return err
		}
	}
	for _, line := range r.conditions() {
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}
