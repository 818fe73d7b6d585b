package main

import (
	"fmt"
	"slices"
	"strings"
)

// Point is one load: what a client does to a server for a while.
type Point struct {
	// Name is what -points calls it.
	Name string `json:"name"`
	// Write says that it writes; else it reads.
	Write bool `json:"write"`
	// Random says that the offsets are; else they follow each other.
	Random bool `json:"random"`
	// BlockSize is the size of each request, in bytes.
	BlockSize int `json:"block_size"`
	// Depth is how many requests each job has in flight.
	Depth int `json:"depth"`
	// Jobs is how many connections there are.
	Jobs int `json:"jobs"`
}

// allPoints are the points, in the order of the tables. In a name r or s is
// random or sequential, r or w read or write; then come the depth and, if it
// is not the usual one of the kind (4 KiB or 1 MiB), the block size, and
// the number of jobs.
var allPoints = []Point{
	{Name: "rr1", Random: true, BlockSize: 4 << 10, Depth: 1, Jobs: 1},
	{Name: "rr16", Random: true, BlockSize: 4 << 10, Depth: 16, Jobs: 1},
	{Name: "rr64", Random: true, BlockSize: 4 << 10, Depth: 64, Jobs: 1},
	{Name: "rr16x4", Random: true, BlockSize: 4 << 10, Depth: 16, Jobs: 4},
	{Name: "rr16-64k", Random: true, BlockSize: 64 << 10, Depth: 16, Jobs: 1},
	{Name: "sr4", BlockSize: 1 << 20, Depth: 4, Jobs: 1},
	{Name: "rw1", Random: true, Write: true, BlockSize: 4 << 10, Depth: 1, Jobs: 1},
	{Name: "rw16", Random: true, Write: true, BlockSize: 4 << 10, Depth: 16, Jobs: 1},
	{Name: "rw64", Random: true, Write: true, BlockSize: 4 << 10, Depth: 64, Jobs: 1},
	{Name: "rw16x4", Random: true, Write: true, BlockSize: 4 << 10, Depth: 16, Jobs: 4},
	{Name: "sw4", Write: true, BlockSize: 1 << 20, Depth: 4, Jobs: 1},
}

// Title describes the point to a reader of the tables.
func (p Point) Title() string {
	order, verb := "sequential", "read"
	if p.Random {
		order = "random"
	}
	if p.Write {
		verb = "write"
	}
	title := fmt.Sprintf("%s %s %s, depth %d", formatSize(int64(p.BlockSize)), order, verb, p.Depth)
	if p.Jobs > 1 {
		title += fmt.Sprintf(" x %d", p.Jobs)
	}
	return title
}

// perSecond says whether the rate is best told in requests per second; for
// large requests it is in bytes.
func (p Point) perSecond() bool { return p.BlockSize < 64<<10 }

// parsePoints reads a comma-separated list of names.
func parsePoints(text string) ([]Point, error) {
	var points []Point
	for name := range strings.SplitSeq(text, ",") {
		i := slices.IndexFunc(allPoints, func(p Point) bool { return p.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("no point is called %q; there are %s", name, pointNames(allPoints))
		}
		if slices.Contains(points, allPoints[i]) {
			return nil, fmt.Errorf("%q is there twice", name)
		}
		points = append(points, allPoints[i])
	}
	return points, nil
}

// pointNames is the list that parsePoints reads.
func pointNames(points []Point) string {
	names := make([]string, len(points))
	for i, p := range points {
		names[i] = p.Name
	}
	return strings.Join(names, ",")
}
