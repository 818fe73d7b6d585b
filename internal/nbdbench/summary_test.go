package main

import (
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// sampleOf is a sample in which every request costs the server cpu.
func sampleOf(kiops float64, cpu, p99 time.Duration) Sample {
	return Sample{
		Measurement: Measurement{Requests: 1000, IOPS: kiops * 1000, BytesPerSecond: kiops * 1000 * 4096, P99: p99},
		ServerCPU:   1000 * cpu,
	}
}

// sampleResult has a read point that we win, a write point that we lose, and a
// large one for which a peer is missing.
func sampleResult() *Result {
	const us = time.Microsecond
	points, err := parsePoints("rr16,rw16,sr4")
	if err != nil {
		panic(err)
	}
	r := &Result{
		Client: "fio-3.33", CPUs: 2, Rounds: 3, TimeMS: 1500, ImageSize: 512 << 20, WritesOnTmpfs: true,
		Notes:   []string{"qemu-nbd/io_uring is left out: no | here"},
		Servers: []string{ours, "nbdkit", "qemu-nbd/threads"},
		PeakRSS: map[string]int64{ours: 20 << 20, "nbdkit": 30 << 20, "qemu-nbd/threads": 40<<20 + 1<<19},
	}
	for _, p := range points {
		r.Points = append(r.Points, &PointResult{Point: p, Samples: make(map[string][]Sample)})
	}
	for _, kiops := range []float64{150, 140, 160} {
		r.add(points[0], ours, sampleOf(kiops, 4*us, 200*us))
		r.add(points[0], "nbdkit", sampleOf(kiops-50, 8*us, 150*us))
		r.add(points[0], "qemu-nbd/threads", sampleOf(kiops-100, 10*us, 400*us))
		r.add(points[1], ours, sampleOf(kiops/4, 9*us, 300*us))
		r.add(points[1], "nbdkit", sampleOf(kiops/2, 9*us, 300*us))
		r.add(points[1], "qemu-nbd/threads", sampleOf(kiops/2, 9*us, 300*us))
		r.add(points[2], ours, sampleOf(kiops, 500*us, 9000*us))
	}
	return r
}

func TestCompare(t *testing.T) {
	r := sampleResult()
	tests := []struct {
		name   string
		point  int
		metric int
		median float64
		best   string
		ratio  float64
	}{
		{"rate, higher is better", 0, 0, 150, "nbdkit", 1.5},
		{"CPU time, lower is better", 0, 1, 4, "nbdkit", 0.5},
		{"latency, lower is better", 0, 2, 200, "nbdkit", 200.0 / 150},
		{"equal peers", 1, 0, 37.5, "nbdkit", 0.5},
		{"no peer", 2, 1, 500, "", 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := compare(r.Points[tt.point], metrics[tt.metric])
			if c.Stats[ours].Median != tt.median || c.Best != tt.best || c.Ratio != tt.ratio {
				t.Errorf("got %+v, want median %v, best %q, ratio %v", c, tt.median, tt.best, tt.ratio)
			}
		})
	}
}

func TestRateOfLargeRequestsIsInBytes(t *testing.T) {
	s := Sample{Measurement: Measurement{IOPS: 3000, BytesPerSecond: 5 << 20}}
	if got := rate(Point{BlockSize: 4096}, s); got != 3 {
		t.Errorf("4 KiB: got %v, want 3 kIOPS", got)
	}
	if got := rate(Point{BlockSize: 1 << 20}, s); got != 5 {
		t.Errorf("1 MiB: got %v, want 5 MiB/s", got)
	}
}

func TestCPUPerRequestWithoutRequests(t *testing.T) {
	if got := (Sample{ServerCPU: time.Second}).CPUPerRequest(); got != 0 {
		t.Errorf("got %v, want 0", got)
	}
}

func TestRequireLooksAtReads(t *testing.T) {
	r := sampleResult()
	r.Points = r.Points[:2] // the write point has a ratio of 0.5
	if err := r.require(1.5); err != nil {
		t.Errorf("1.5: %v", err)
	}
	if err := r.require(1.51); err == nil || !strings.Contains(err.Error(), "rr16 has 1.50") {
		t.Errorf("1.51: got %v, want an error with the point and its ratio", err)
	}
	r = sampleResult()
	if err := r.require(1); err == nil || !strings.Contains(err.Error(), "sr4 has 0.00") {
		t.Errorf("a point without a peer: got %v, want an error", err)
	}
	if err := r.require(0); err != nil {
		t.Errorf("nothing required: %v", err)
	}
}

// TestOutput compares the forms of a result with golden files.
func TestOutput(t *testing.T) {
	tests := []struct {
		golden string
		s      settings
	}{
		{"result.txt", settings{}},
		{"result.md", settings{md: true}},
	}
	for _, tt := range tests {
		t.Run(tt.golden, func(t *testing.T) {
			var b strings.Builder
			if err := write(&b, []*Result{sampleResult()}, tt.s); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join("testdata", tt.golden)
			if *rewrite {
				if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if b.String() != string(want) {
				t.Errorf("got:\n%s\nwant:\n%s", b.String(), want)
			}
		})
	}
}

func TestOutputJSON(t *testing.T) {
	var b strings.Builder
	if err := write(&b, []*Result{sampleResult()}, settings{json: true}); err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Servers     []string `json:"servers"`
		Points      []PointResult
		Comparisons []comparison
	}
	if err := json.Unmarshal([]byte(b.String()), &all); err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 {
		t.Fatalf("%d results, want 1", len(all))
	}
	got := all[0]
	if len(got.Servers) != 3 || len(got.Points) != 3 || len(got.Comparisons) != 9 {
		t.Errorf("%d servers, %d points, %d comparisons; want 3, 3 and 9",
			len(got.Servers), len(got.Points), len(got.Comparisons))
	}
	if s := got.Points[0].Samples[ours]; len(s) != 3 || s[1].IOPS != 140_000 {
		t.Errorf("samples %+v, want all three", s)
	}
	if c := got.Comparisons[0]; c.Ratio != 1.5 || c.Best != "nbdkit" || c.Unit != "kIOPS" {
		t.Errorf("first comparison %+v", c)
	}
}
