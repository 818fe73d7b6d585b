package nbdload

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// Each latency is in a bucket whose bounds are a sixteenth apart at most.
func TestBuckets(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, 1<<50).Draw(rt, "d"))
		b := bucketOf(d)
		if u := upper(b); u < d || u > d+d/16+1 {
			rt.Errorf("%d is in bucket %d, up to %d", d, b, u)
		}
		if b > 0 && upper(b-1) >= d {
			rt.Errorf("%d is in bucket %d, but the one before goes up to %d", d, b, upper(b-1))
		}
	})
}

func TestPercentile(t *testing.T) {
	var h, other Histogram
	if h.Percentile(99) != 0 {
		t.Error("there is a latency before any was counted")
	}
	for i := range 99 {
		h.count(time.Duration(i + 1))
	}
	other.count(time.Second)
	h.add(&other)
	if p := h.Percentile(50); p < 45 || p > 56 {
		t.Errorf("half of 1 to 100 stay below %d", p)
	}
	if p := h.Percentile(98.5); p > 110 {
		t.Errorf("98.5 of 100 stay below %d", p)
	}
	if h.Percentile(99.5) != time.Second || h.Max() != time.Second {
		t.Errorf("the highest is %v, %v", h.Percentile(99.5), h.Max())
	}
}
