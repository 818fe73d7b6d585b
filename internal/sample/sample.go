// Package sample reduces repeated measurements to what a table shows: for the
// benchmarks (internal/nbdbench, internal/nbdscale), whose machines are noisy.
package sample

import (
	"slices"
	"strconv"
)

// Stat is what a list of values comes down to.
type Stat struct {
	// Median is the middle value, or the mean of the two middle ones.
	Median float64 `json:"median"`
	// Spread is half the distance from the lowest to the highest value, as a
	// fraction of the median.
	Spread float64 `json:"spread"`
}

// New reduces values, which it leaves alone. Without any it is zero.
func New(values []float64) Stat {
	if len(values) == 0 {
		return Stat{}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	s := Stat{Median: v[n/2]}
	if n%2 == 0 {
		s.Median = (v[n/2-1] + v[n/2]) / 2
	}
	if s.Median != 0 {
		s.Spread = (v[n-1] - v[0]) / 2 / s.Median
	}
	return s
}

// Format writes a value with three significant digits, or all digits
// before the point.
func Format(v float64) string {
	digits := 0
	switch {
	case v < 9.995:
		digits = 2
	case v < 99.95:
		digits = 1
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// String is the median and, in percent, the spread.
func (s Stat) String() string {
	return Format(s.Median) + " ±" + strconv.FormatFloat(s.Spread*100, 'f', 0, 64) + "%"
}
