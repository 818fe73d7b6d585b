package status

import (
	"time"

	"scstuser/target"
)

// Latency is a target.Histogram. Times are in microseconds.
type Latency struct {
	Count uint64 `json:"count"`
	Sum   uint64 `json:"sum_us"`
	Max   uint64 `json:"max_us"`
	// P50, P90 and P99: so many per cent took at most that long, as exactly
	// as buckets that double tell it.
	P50 uint64 `json:"p50_us"`
	P90 uint64 `json:"p90_us"`
	P99 uint64 `json:"p99_us"`
	// Buckets: number i counts those below 2^i microseconds that no bucket
	// before has; the last one, all others. Empty ones at the end are left
	// out.
	Buckets []uint64 `json:"buckets"`
}

// latencyOf takes a histogram over.
func latencyOf(h *target.Histogram) Latency {
	l := Latency{Count: h.Count(), Sum: micros(h.Sum), Max: micros(h.Max), Buckets: []uint64{}}
	last := len(h.Buckets)
	for last > 0 && h.Buckets[last-1] == 0 {
		last--
	}
	l.Buckets = append(l.Buckets, h.Buckets[:last]...)
	l.P50, l.P90, l.P99 = l.atMost(50), l.atMost(90), l.atMost(99)
	return l
}

func micros(d time.Duration) uint64 { return uint64(d / time.Microsecond) }

// atMost returns what percent per cent of the latencies do not exceed: the
// upper end of their bucket, or the maximum if that is lower.
func (l *Latency) atMost(percent uint64) uint64 {
	// As many as are needed, rounded up, without overflow.
	need := l.Count/100*percent + (l.Count%100*percent+99)/100
	seen := uint64(0)
	for i, n := range l.Buckets {
		if seen += n; n > 0 && seen >= need && i < target.HistogramBuckets-1 {
			return min(1<<i, l.Max)
		}
	}
	return l.Max
}
