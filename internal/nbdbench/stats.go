package main

import (
	"slices"
	"strconv"
)

// stat is what a list of values comes down to.
type stat struct {
	// Median is the middle value, or the mean of the two middle ones.
	Median float64 `json:"median"`
	// Spread is half the distance from the lowest to the highest value, as a
	// fraction of the median.
	Spread float64 `json:"spread"`
}

// newStat reduces values, which it leaves alone. Without any it is zero.
func newStat(values []float64) stat {
	if len(values) == 0 {
		return stat{}
	}
	v := slices.Sorted(slices.Values(values))
	n := len(v)
	s := stat{Median: v[n/2]}
	if n%2 == 0 {
		s.Median = (v[n/2-1] + v[n/2]) / 2
	}
	if s.Median != 0 {
		s.Spread = (v[n-1] - v[0]) / 2 / s.Median
	}
	return s
}

// formatValue writes a value with three significant digits, or all digits
// before the point.
func formatValue(v float64) string {
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
func (s stat) String() string {
	return formatValue(s.Median) + " ±" + strconv.FormatFloat(s.Spread*100, 'f', 0, 64) + "%"
}
