package main

import (
	"fmt"
	"runtime"
	"slices"
	"strings"

	"scstuser/internal/sample"
)

// Result is the outcome of a whole run.
type Result struct {
	// Client is the load generator.
	Client string `json:"client"`
	// CPUs is how many processors the machine has.
	CPUs int `json:"cpus"`
	// Rounds is how many samples there are of each point and server.
	Rounds int `json:"rounds"`
	// TimeMS is how long each took, in milliseconds.
	TimeMS int64 `json:"time_ms"`
	// ImageSize is in bytes.
	ImageSize int64 `json:"image_size"`
	// WritesOnTmpfs says that the disk was not the limit for writes.
	WritesOnTmpfs bool `json:"writes_on_tmpfs"`
	// Notes say what could not be measured.
	Notes []string `json:"notes,omitempty"`
	// Servers are the contenders' names in the order of the columns, ours
	// first.
	Servers []string `json:"servers"`
	// Points are in the order of the rows.
	Points []*PointResult `json:"points"`
	// PeakRSS is the most memory of each server, in bytes.
	PeakRSS map[string]int64 `json:"peak_rss"`
}

// PointResult has all samples of one point.
type PointResult struct {
	Point   Point               `json:"point"`
	Samples map[string][]Sample `json:"samples"`
}

// newResult is a Result without samples.
func newResult(s settings, client string, rig *rig) *Result {
	r := &Result{
		Client:        client,
		CPUs:          runtime.NumCPU(),
		Rounds:        s.rounds,
		TimeMS:        s.time.Milliseconds(),
		ImageSize:     s.imageSize,
		WritesOnTmpfs: rig.images.onTmpfs,
		Notes:         rig.notes,
	}
	for _, c := range rig.contenders {
		r.Servers = append(r.Servers, c.name)
	}
	for _, p := range s.points {
		r.Points = append(r.Points, &PointResult{Point: p, Samples: make(map[string][]Sample)})
	}
	return r
}

// add adds a sample.
func (r *Result) add(p Point, server string, s Sample) {
	i := slices.IndexFunc(r.Points, func(pr *PointResult) bool { return pr.Point == p })
	r.Points[i].Samples[server] = append(r.Points[i].Samples[server], s)
}

// metric is one of the quantities that are compared, a table each.
type metric struct {
	title string
	// lowIsGood says which way is better.
	lowIsGood bool
	unit      func(p Point) string
	value     func(p Point, s Sample) float64
}

var metrics = []metric{
	{
		title: "Rate",
		unit:  rateUnit,
		value: rate,
	},
	{
		title: "Server CPU time per request", lowIsGood: true,
		unit:  func(Point) string { return "µs" },
		value: func(_ Point, s Sample) float64 { return micros(s.CPUPerRequest()) },
	},
	{
		title: "Latency, 99th percentile", lowIsGood: true,
		unit:  func(Point) string { return "µs" },
		value: func(_ Point, s Sample) float64 { return micros(s.P99) },
	},
}

// rateMetric is the one that -require looks at.
var rateMetric = metrics[0]

// comparison is one row of a table.
type comparison struct {
	Metric string                 `json:"metric"`
	Unit   string                 `json:"unit"`
	Point  Point                  `json:"point"`
	Stats  map[string]sample.Stat `json:"stats"`
	// Best is the peer that ours is compared with, "" if there is none.
	Best string `json:"best_peer"`
	// Ratio is our median by that of Best, 0 if there is none.
	Ratio float64 `json:"ratio"`
}

// compare makes the row of one point for one metric.
func compare(pr *PointResult, m metric) comparison {
	c := comparison{
		Metric: m.title,
		Unit:   m.unit(pr.Point),
		Point:  pr.Point,
		Stats:  make(map[string]sample.Stat, len(pr.Samples)),
	}
	for server, samples := range pr.Samples {
		values := make([]float64, len(samples))
		for i, s := range samples {
			values[i] = m.value(pr.Point, s)
		}
		c.Stats[server] = sample.New(values)
	}
	for server, s := range c.Stats {
		if server == ours {
			continue
		}
		best := c.Stats[c.Best].Median
		better := s.Median > best
		if m.lowIsGood {
			better = s.Median < best
		}
		// The name decides between equals, so that tables are reproducible.
		if c.Best == "" || better || s.Median == best && server < c.Best {
			c.Best = server
		}
	}
	if best := c.Stats[c.Best].Median; best > 0 {
		c.Ratio = c.Stats[ours].Median / best
	}
	return c
}

// require returns an error that names the read points at which our rate is less
// than ratio times that of the best peer.
func (r *Result) require(ratio float64) error {
	var below []string
	for _, pr := range r.Points {
		c := compare(pr, rateMetric)
		if !pr.Point.Write && c.Ratio < ratio {
			below = append(below, fmt.Sprintf("%s has %.2f", pr.Point.Name, c.Ratio))
		}
	}
	if len(below) > 0 {
		return fmt.Errorf("the required ratio of %.2f is not reached: %s", ratio, strings.Join(below, ", "))
	}
	return nil
}

// conditions say under which conditions the numbers were made.
func (r *Result) conditions() []string {
	where := "on a tmpfs, so that no disk is the limit"
	if !r.WritesOnTmpfs {
		where = "on the disk of the image, which may be the limit"
	}
	lines := []string{
		fmt.Sprintf("%s over unix sockets, %d processors, image of %s in the page cache",
			r.Client, r.CPUs, formatSize(r.ImageSize)),
		fmt.Sprintf("medians of %d rounds of %g s, ± half the distance from the lowest to the highest",
			r.Rounds, float64(r.TimeMS)/1000),
		"writes go to a scratch copy " + where,
		"a ratio is " + ours + " by the best peer: above 1 is better for rates, below 1 for times",
	}
	return append(lines, r.Notes...)
}
