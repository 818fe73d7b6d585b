package nbdload

import (
	"math/bits"
	"time"
)

// subBits is how many bits below the highest one a bucket is told apart by:
// a latency is known to one part in sixteen.
const subBits = 4

// Histogram counts latencies.
type Histogram struct {
	buckets [64 << subBits]int64
	total   int64
	max     time.Duration
}

// count counts one latency.
func (h *Histogram) count(d time.Duration) {
	h.buckets[bucketOf(d)]++
	h.total++
	h.max = max(h.max, d)
}

// bucketOf returns the bucket of a latency.
func bucketOf(d time.Duration) int {
	n := uint64(max(d, 0))
	if n < 1<<subBits {
		return int(n)
	}
	shift := bits.Len64(n) - 1 - subBits
	return (shift+1)<<subBits + int(n>>shift) - 1<<subBits
}

// upper is the highest latency of a bucket.
func upper(bucket int) time.Duration {
	if bucket < 1<<subBits {
		return time.Duration(bucket)
	}
	shift := bucket>>subBits - 1
	return time.Duration((uint64(bucket&(1<<subBits-1))+1<<subBits+1)<<shift - 1)
}

func (h *Histogram) add(x *Histogram) {
	for i, n := range x.buckets {
		h.buckets[i] += n
	}
	h.total += x.total
	h.max = max(h.max, x.max)
}

// Percentile returns the latency that p of 100 requests stay below, 0 if there
// was none.
func (h *Histogram) Percentile(p float64) time.Duration {
	want := int64(float64(h.total) * p / 100)
	for i, n := range h.buckets {
		if want -= n; want < 0 {
			return min(upper(i), h.max)
		}
	}
	return h.max
}

// Max returns the highest latency.
func (h *Histogram) Max() time.Duration { return h.max }
